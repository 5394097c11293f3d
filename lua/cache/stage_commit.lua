-- Puts a staging set in the place of the live one, for all readers at once. The user's single
-- entries go: the set replaces them, unless nothing at all fitted into it.
--
-- KEYS  1 epoch  2-6 staging: info, entries, order, docs, skipped  7-10 live: info, entries, order,
--       docs 11-13 single: entries, expiry, docs  14 live stamps
-- ARGV  1 token of the attempt  2 epoch it began in  3 kind of the sync  4 a kind that holds every
--       file: 0 | 1
--       5 TTL of the set, ms  6 time (ns) up to which the set holds every change
--       7 number of the last step
-- Returns {'staged', entries, skipped, bytes, generation}; {'superseded'} when the epoch moved on;
--       {'lost'} when the set is gone, in part or whole, or another attempt's; {'refused', limit}
--       when it was refused.
-- Cost  O(1): names change, old values are freed by another thread. A commit that happened already
--       answers as it did.

define('stage_commit', function(KEYS, ARGV)
  local call = redis.call
  local live = call('HMGET', KEYS[7], 'token', 'entries', 'skipped', 'bytes', 'generation')
  if live[1] == ARGV[1] then
    return { 'staged', tonumber(live[2]), tonumber(live[3]), tonumber(live[4]), tonumber(live[5]) }
  end
  local set, why = staging(KEYS, ARGV)
  if not set then return { why } end
  local entries, skipped, bytes = set.entries, set.skipped, set.bytes
  if set.refused or bytes > set.limit then
    drop_staging(KEYS)
    return { 'refused', set.limit }
  end
  -- A server that took over from another one may lack the last steps.
  if set.seq ~= tonumber(ARGV[7]) then return { 'lost' } end

  local time = call('TIME')
  local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local generation = math.max(now_us, tonumber(live[5] or 0) + 1)
  local expires_at = string.format('%.0f', math.floor(now_us / 1000) + tonumber(ARGV[5]))

  -- UNLINK first: RENAME over a big value frees it at once where lazyfree-lazy-server-del is off.
  call('UNLINK', KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[14])
  if entries > 0 or skipped == 0 then call('UNLINK', KEYS[11], KEYS[12], KEYS[13]) end
  for part = 3, 5 do
    if call('EXISTS', KEYS[part]) == 1 then
      call('RENAME', KEYS[part], KEYS[part + 5])
      call('PEXPIREAT', KEYS[part + 5], expires_at)
    end
  end
  call(
    'HSET',
    KEYS[7],
    'token',
    ARGV[1],
    'kind',
    ARGV[3],
    'complete',
    (ARGV[4] == '1' and skipped == 0) and 1 or 0,
    'entries',
    entries,
    'skipped',
    skipped,
    'bytes',
    bytes,
    'as_of',
    ARGV[6],
    'parts',
    call('EXISTS', KEYS[8], KEYS[9], KEYS[10]),
    'generation',
    string.format('%.0f', generation),
    'committed_at',
    string.format('%.0f', math.floor(now_us / 1000))
  )
  call('PEXPIREAT', KEYS[7], expires_at)
  call('UNLINK', KEYS[2], KEYS[6])
  return { 'staged', entries, skipped, bytes, generation }
end)
