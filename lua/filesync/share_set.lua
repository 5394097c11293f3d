-- Changes settings of a share.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups, then fields and their values: `name`, `quota`, `portable`, `guard`
-- Returns 'not_found'; 'forbidden' for a caller below level 3; 'changed'.
-- Cost  O(groups). May be repeated.

define('share_set', function(KEYS, ARGV)
  local denial = fs.denial(fs.level(KEYS[1], ARGV[1], ARGV[2]), 3)
  if denial then return denial end
  for at = 3, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
  return 'changed'
end)
