-- Deletes a device with its preferences and cursors.
--
-- KEYS  1 device  2 devices of its user  3 devices by when they were seen  4 its preferences
--       5 its cursors
-- ARGV  1 user  2 device id  3 its place in the devices by when they were seen  4 channel of what
--       live sockets have to know  5 id of this call
-- Returns 1, or 0 when there is no such device.
-- Cost  O(shares that it has preferences and cursors of). Repeated, it returns what the first call did.

define('device_delete', function(KEYS, ARGV)
  local call, tenant = redis.call, fs.tenant(KEYS[1])
  if fs.made(tenant, ARGV[5]) then return 1 end
  if call('EXISTS', KEYS[1]) == 0 then return 0 end
  need('SPUBLISH', ARGV[4], '')
  call('DEL', KEYS[1], KEYS[4], KEYS[5])
  call('SREM', KEYS[2], ARGV[2])
  call('ZREM', KEYS[3], ARGV[3])
  device.announce(ARGV[4], ARGV[1], ARGV[2])
  fs.remember(tenant, ARGV[5], '1')
  return 1
end, { 'allow-oom' })
