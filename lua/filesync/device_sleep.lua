-- Puts devices to sleep that were not seen for long, those of the longest time first.
--
-- KEYS  1 devices by when they were seen
-- ARGV  1 how long, ms  2 how many to look at  3 what the tenant's keys begin with  4 channel of
--       what live sockets have to know
-- Returns how many were looked at, and how many of them it put to sleep.
-- Cost  O(devices looked at). May be repeated.

define('device_sleep', function(KEYS, ARGV)
  local call = redis.call
  need('ZREM', KEYS[1], '')
  need('SPUBLISH', ARGV[4], '')
  local before = fs.text(fs.now() - tonumber(ARGV[1]))
  local places = call('ZRANGE', KEYS[1], '-inf', '(' .. before, 'BYSCORE', 'LIMIT', 0, ARGV[2])
  local asleep = 0
  for _, place in ipairs(places) do
    local user, id = string.match(place, '^(.*) (.-)$')
    local key = ARGV[3] .. 'user:' .. user .. ':device:' .. id
    local found = call('HMGET', key, 'active', 'user', 'id')
    if found[1] == '1' then
      call('HSET', key, 'active', '0', 'by_clock', '1')
      device.announce(ARGV[4], found[2], found[3])
      asleep = asleep + 1
    end
    -- It comes back when it is seen again.
    call('ZREM', KEYS[1], place)
  end
  return { #places, asleep }
end)
