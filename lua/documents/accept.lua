-- Accepts a write that a job will make: until then, writes that are made at once have to wait.
--
-- KEYS  1 record of this write  2 accepted writes
-- ARGV  1 token  2 fingerprint of the request  3 how long a write may wait, ms
-- Returns 'accepted'; 'known' when it was before, or is made already; 'reused' when the record is
--       of another request.
-- Cost  O(log n). Repeated, it returns 'known'.

define('accept', function(KEYS, ARGV)
  local call = redis.call
  local fingerprint = call('HGET', KEYS[1], 'fingerprint')
  if fingerprint then return fingerprint == ARGV[2] and 'known' or 'reused' end
  -- Without a time to end, it would hold up others for ever.
  need('PEXPIRE', KEYS[2], ARGV[3])
  local time = call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  -- Sent again it counts from now: its job may be enqueued only now.
  local before = tonumber(call('ZSCORE', KEYS[2], ARGV[1]) or 0)
  call('ZADD', KEYS[2], now, ARGV[1])
  call('PEXPIRE', KEYS[2], ARGV[3])
  return before > 0 and 'known' or 'accepted'
end)
