-- The devices of a user.
--
-- KEYS  1 devices of the user
-- ARGV  1 what the key of a device begins with, before its id
-- Returns each as of HGETALL, in no order.
-- Cost  O(devices of the user), which are few.

define('device_list', function(KEYS, ARGV)
  local found = {}
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    found[#found + 1] = redis.call('HGETALL', ARGV[1] .. id)
  end
  return found
end, { 'no-writes' })
