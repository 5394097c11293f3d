-- Adds accesses of a user's files to the ranking.
--
-- KEYS  1 epoch  2 activity
-- ARGV  1 epoch the files were read in  2 half-life, ms  3 most ids in the ranking  4 TTL of the
--       ranking, ms
--       then for each id: id, accesses
-- Returns {'recorded', the time, s, in which the epoch still held}; {'superseded', 0} when the
--       epoch moved, since which nothing of the user is to be kept.
-- Cost  O(ids * log ids in the ranking).

define('record', function(KEYS, ARGV)
  local call = redis.call
  if (call('HGET', KEYS[1], 'value') or '0') ~= ARGV[1] then return { 'superseded', 0 } end
  local time = call('TIME')
  -- A score is log2 of the sum of 2^(time of access in half-lives). Everything decays alike, so the
  -- order needs no upkeep, and adding in the logarithm never overflows.
  local now = (tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000) / tonumber(ARGV[2])
  for at = 5, #ARGV, 2 do
    local score = now + math.log(tonumber(ARGV[at + 1])) / math.log(2)
    local old = tonumber(call('ZSCORE', KEYS[2], ARGV[at]) or nil)
    if old then
      score = math.max(score, old) + math.log(1 + 2 ^ -math.abs(score - old)) / math.log(2)
    end
    call('ZADD', KEYS[2], string.format('%.17g', score), ARGV[at])
  end
  -- One whose limit was lowered shrinks in steps: others wait for as long as that takes.
  local excess = math.min(call('ZCARD', KEYS[2]) - tonumber(ARGV[3]), 1000 + #ARGV)
  if excess > 0 then call('ZREMRANGEBYRANK', KEYS[2], 0, excess - 1) end
  call('PEXPIRE', KEYS[2], ARGV[4])
  return { 'recorded', tonumber(time[1]) }
end)
