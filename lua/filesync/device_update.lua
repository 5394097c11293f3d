-- Renames a device, or switches it on or off.
--
-- KEYS  1 device
-- ARGV  1 user  2 device id  3 name, '' to keep it  4 '1' on, '0' off, '' to keep it  5 channel of
--       what live sockets have to know
-- Returns 'updated' and the device as of HGETALL, or 'not_found' and nothing.
-- Cost  O(1). May be repeated.

define('device_update', function(KEYS, ARGV)
  local call = redis.call
  if call('EXISTS', KEYS[1]) == 0 then return { 'not_found', {} } end
  need('SPUBLISH', ARGV[5], '')
  if ARGV[3] ~= '' then call('HSET', KEYS[1], 'name', ARGV[3]) end
  if ARGV[4] ~= '' then
    call('HSET', KEYS[1], 'active', ARGV[4], 'by_clock', '')
    device.announce(ARGV[5], ARGV[1], ARGV[2])
  end
  return { 'updated', call('HGETALL', KEYS[1]) }
end)
