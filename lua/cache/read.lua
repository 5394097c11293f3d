-- Looks an entry up, first in the live set, then among the single ones; on a miss one caller gets the lease to fetch it.
--
-- KEYS  1 epoch  2 live entries  3 single entries  4 single expiry  5 activity  6 fetch lease of the id
-- ARGV  1 id  2 nonce of this call  3 lease, ms  4 record the access: 0 | 1
--       5 half-life, ms  6 most ids in the ranking  7 TTL of the ranking, ms
-- Returns {epoch, 1 | 2, JSON} for a hit in the live set | among the singles; {epoch, 0, 1 | 0} for a miss with | without lease.
-- Cost  O(log ids in the ranking).
local call = redis.call
local time = call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

if ARGV[4] == '1' then
  -- A score is log2 of the sum of 2^(time of access in half-lives). Everything decays alike, so the order needs no upkeep,
  -- and adding in the logarithm never overflows.
  local score = now_us / 1000 / tonumber(ARGV[5])
  local old = tonumber(call('ZSCORE', KEYS[5], ARGV[1]) or nil)
  if old then score = math.max(score, old) + math.log(1 + 2 ^ -math.abs(score - old)) / math.log(2) end
  call('ZADD', KEYS[5], string.format('%.17g', score), ARGV[1])
  local excess = call('ZCARD', KEYS[5]) - tonumber(ARGV[6])
  if excess > 0 then call('ZREMRANGEBYRANK', KEYS[5], 0, excess - 1) end
  call('PEXPIRE', KEYS[5], ARGV[7])
end

local epoch = tonumber(call('HGET', KEYS[1], 'value') or 0)
local json = call('HGET', KEYS[2], ARGV[1])
if json and json ~= '' then return {epoch, 1, json} end
local expires = call('ZSCORE', KEYS[4], ARGV[1])
if expires and tonumber(expires) > now_us then
  json = call('HGET', KEYS[3], ARGV[1])
  if json then return {epoch, 2, json} end
end
-- The nonce lets a repeated call see that the lease is its own.
if call('SET', KEYS[6], ARGV[2], 'NX', 'PX', ARGV[3]) or call('GET', KEYS[6]) == ARGV[2] then return {epoch, 0, 1} end
return {epoch, 0, 0}
