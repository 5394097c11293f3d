-- Enters a document that is about to be created into the index of its service, behind all others.
--
-- KEYS  1 index
-- ARGV  1 id
-- Returns 0.
-- Cost  O(log documents of the service). Repeated, it only moves the id to the end again.

define('announce', function(KEYS, ARGV)
  local call = redis.call
  local time = call('TIME')
  local place = tonumber(time[1]) * 1000000 + tonumber(time[2])
  -- Places differ, so that a cursor may point between any two.
  local last = call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
  if last then place = math.max(place, tonumber(last) + 1) end
  call('ZADD', KEYS[1], string.format('%.0f', place), ARGV[1])
  return 0
end)
