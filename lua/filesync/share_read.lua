-- What a share is, for a caller who may see it.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups
-- Returns {'not_found', nil, nil}, or {'found', level, the fields of the share and their values}.
-- Cost  O(groups).

define('share_read', function(KEYS, ARGV)
  local level = fs.level(KEYS[1], ARGV[1], ARGV[2])
  if level == 0 then return { 'not_found', false, false } end
  return { 'found', level, redis.call('HGETALL', KEYS[1]) }
end, { 'no-writes' })
