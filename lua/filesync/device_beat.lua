-- Enters that a device is there, which wakes it when the clock has put it to sleep.
--
-- KEYS  1 device  2 devices by when they were seen
-- ARGV  1 user  2 device id  3 its place in the devices by when they were seen  4 channel of what
--       live sockets have to know
-- Returns 1, or 0 when there is no such device.
-- Cost  O(log devices of the tenant). May be repeated.

define('device_beat', function(KEYS, ARGV)
  if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
  need('ZADD', KEYS[2], 0, ARGV[3])
  need('SPUBLISH', ARGV[4], '')
  if device.see(KEYS[1], KEYS[2], ARGV[3], fs.text(fs.now())) then
    device.announce(ARGV[4], ARGV[1], ARGV[2])
  end
  return 1
end)
