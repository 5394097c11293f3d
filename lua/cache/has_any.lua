-- Whether anything is cached for a user.
--
-- KEYS  1 live info  2 single expiry
-- Returns 1 when any entry is cached for the user, else 0.
-- Cost  O(log singles).

define('has_any', function(KEYS, ARGV)
  if tonumber(redis.call('HGET', KEYS[1], 'entries') or 0) > 0 then return 1 end
  local time = redis.call('TIME')
  local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
  return redis.call('ZCOUNT', KEYS[2], now_us, '+inf') > 0 and 1 or 0
end, { 'no-writes' })
