-- Makes a user's cache empty and moves the epoch, so that what was begun before (syncs, prefetches,
-- fetches) is refused.
--
-- KEYS  1 epoch  2-5 live: info, entries, order, docs  6-8 single: entries, expiry, docs  9
--       activity  10 live stamps 11-15 staging: info, entries, order, docs, skipped
-- ARGV  1 token of this invalidate  2 TTL of the epoch, ms  3 drop the activity ranking too: 0 | 1
-- Returns the number of distinct ids that were cached.
-- Cost  O(log singles): values are freed by another thread. Repeated with the same token it returns
--       the same number.

define('invalidate', function(KEYS, ARGV)
  local call = redis.call
  local old = call('HMGET', KEYS[1], 'value', 'token', 'removed')
  if old[2] == ARGV[1] then return tonumber(old[3]) end
  local time = call('TIME')
  local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

  -- No id is both in the live set and single, so that the sum counts distinct ids.
  local removed = call('ZCOUNT', KEYS[7], now_us, '+inf')
  if call('EXISTS', KEYS[3]) == 1 then
    removed = removed + tonumber(call('HGET', KEYS[2], 'entries') or 0)
  end
  call(
    'UNLINK',
    KEYS[2],
    KEYS[3],
    KEYS[4],
    KEYS[5],
    KEYS[6],
    KEYS[7],
    KEYS[8],
    KEYS[10],
    KEYS[11],
    KEYS[12],
    KEYS[13],
    KEYS[14],
    KEYS[15]
  )
  if ARGV[3] == '1' then call('UNLINK', KEYS[9]) end

  -- The time as epoch: it does not repeat even when the key expires in between.
  local epoch = string.format('%.0f', math.max(now_us, tonumber(old[1] or 0) + 1))
  call('HSET', KEYS[1], 'value', epoch, 'token', ARGV[1], 'removed', removed)
  call('PEXPIRE', KEYS[1], ARGV[2])
  return removed
end, { 'allow-oom' })
