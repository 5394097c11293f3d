-- Keeps what a device wants of shares: all of it, or nothing when one of them is not for its user to
-- see.
--
-- KEYS  1 device  2 its preferences
-- ARGV  1 user  2 groups  3 device id  4 what the key of a share begins with  5 channel of what live
--       sockets have to know, then shares and preferences, as JSON objects
-- Returns 'kept' and the time, ms; 'no_device' and ''; 'not_found' and the share.
-- Cost  O(shares × groups). May be repeated.

define('preference_put', function(KEYS, ARGV)
  local call = redis.call
  if call('EXISTS', KEYS[1]) == 0 then return { 'no_device', '' } end
  need('HSET', KEYS[2], '', '')
  need('SPUBLISH', ARGV[5], '')
  for at = 6, #ARGV, 2 do
    local level = fs.level(ARGV[4] .. ARGV[at], ARGV[1], ARGV[2])
    if level == 0 then return { 'not_found', ARGV[at] } end
  end

  local now = fs.text(fs.now())
  for at = 6, #ARGV, 2 do
    local fields = string.sub(ARGV[at + 1], 1, -2)
    call('HSET', KEYS[2], ARGV[at], fields .. ',"updated_at":' .. now .. '}')
  end
  device.announce(ARGV[5], ARGV[1], ARGV[3])
  return { 'kept', now }
end)
