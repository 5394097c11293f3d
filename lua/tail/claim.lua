-- Gives the lease on the tail to a worker, with a token greater than all before it, and what the
-- worker before left off at.
--
-- KEYS  1 lease  2 state
-- ARGV  1 the worker's name  2 lease, ms
-- Returns {'granted', token, progress ('' when there is none)}; {'held', 0, ''} when another worker
--       has the lease.
-- Cost  O(1). A call whose answer was lost leaves a lease that nobody extends.

define('claim', function(KEYS, ARGV)
  local call = redis.call
  if call('EXISTS', KEYS[1]) == 1 then return { 'held', 0, '' } end
  local time = call('TIME')
  local state = call('HMGET', KEYS[2], 'token', 'progress')
  -- The time as token: greater also than one that was forgotten with the data.
  local token =
    math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), tonumber(state[1] or 0) + 1)
  local text = string.format('%.0f', token)
  call('SET', KEYS[1], text, 'PX', ARGV[2])
  call('HSET', KEYS[2], 'token', text, 'worker', ARGV[1])
  return { 'granted', token, state[2] or '' }
end)
