-- What a device wants of the shares that its user may see.
--
-- KEYS  1 device  2 its preferences
-- ARGV  1 user  2 groups  3 what the key of a share begins with
-- Returns 'found' and the shares, each with its preference as JSON; 'no_device' and nothing.
-- Cost  O(preferences × groups).

define('preference_list', function(KEYS, ARGV)
  local call = redis.call
  if call('EXISTS', KEYS[1]) == 0 then return { 'no_device', {} } end
  local kept, found = call('HGETALL', KEYS[2]), {}
  for at = 1, #kept, 2 do
    if fs.level(ARGV[3] .. kept[at], ARGV[1], ARGV[2]) > 0 then
      found[#found + 1] = kept[at]
      found[#found + 1] = kept[at + 1]
    end
  end
  return { 'found', found }
end, { 'no-writes' })
