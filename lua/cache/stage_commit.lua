-- Puts a staging set in the place of the live one, for all readers at once. The user's single entries go: the set replaces them.
--
-- KEYS  1 epoch  2-6 staging: info, entries, order, docs, skipped  7-10 live: info, entries, order, docs
--       11-13 single: entries, expiry, docs  14 live stamps
-- ARGV  1 token of the staging set  2 kind of the sync  3 a kind that holds every file: 0 | 1  4 TTL of the set, ms
--       5 time (ns) up to which the set holds every change
-- Returns {0, entries, skipped, bytes, generation}; {1} when the epoch moved or the set is gone; {2, limit} when it was refused.
-- Cost  O(1): names change, old values are freed by another thread. A commit that happened already answers as it did.
local call = redis.call
local live = call('HMGET', KEYS[7], 'token', 'entries', 'skipped', 'bytes', 'generation')
if live[1] == ARGV[1] then
  return {0, tonumber(live[2]), tonumber(live[3]), tonumber(live[4]), tonumber(live[5])}
end
local info = call('HMGET', KEYS[2], 'epoch', 'limit', 'refused', 'entries', 'skipped', 'bytes')
local limit, entries, skipped, bytes = tonumber(info[2]), tonumber(info[4]), tonumber(info[5]), tonumber(info[6])
local refusal
if info[1] ~= (call('HGET', KEYS[1], 'value') or '0') then
  refusal = {1}
elseif info[3] or bytes > limit then
  refusal = {2, limit}
elseif entries > 0 and call('EXISTS', KEYS[3], KEYS[4]) < 2 then
  -- Evicted in part: the counters alone are not the set.
  refusal = {1}
end
if refusal then
  call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
  return refusal
end

local time = call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local generation = math.max(now_us, tonumber(live[5] or 0) + 1)
local expires_at = string.format('%.0f', math.floor(now_us / 1000) + tonumber(ARGV[4]))

-- UNLINK first: RENAME over a big value frees it at once where lazyfree-lazy-server-del is off.
call('UNLINK', KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14])
for part = 3, 5 do
  if call('EXISTS', KEYS[part]) == 1 then
    call('RENAME', KEYS[part], KEYS[part + 5])
    call('PEXPIREAT', KEYS[part + 5], expires_at)
  end
end
call('HSET', KEYS[7], 'token', ARGV[1], 'kind', ARGV[2], 'complete', (ARGV[3] == '1' and skipped == 0) and 1 or 0,
  'entries', entries, 'skipped', skipped, 'bytes', bytes, 'as_of', ARGV[5],
  'generation', string.format('%.0f', generation), 'committed_at', string.format('%.0f', math.floor(now_us / 1000)))
call('PEXPIREAT', KEYS[7], expires_at)
call('UNLINK', KEYS[2], KEYS[6])
return {0, entries, skipped, bytes, generation}
