-- Keeps a session, and ends the oldest ones of its operator beyond those that one may have.
--
-- KEYS  1 session  2 sessions of its operator
-- ARGV  1 what is kept of it  2 its lifetime, ms  3 most sessions of an operator
-- Returns 0.
-- Cost  O(most sessions of an operator). Repeated, it only begins the lifetime anew.

define('open', function(KEYS, ARGV)
  local call = redis.call
  call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  local time = call('TIME')
  call('ZADD', KEYS[2], tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), KEYS[1])
  call('PEXPIRE', KEYS[2], math.max(call('PTTL', KEYS[2]), tonumber(ARGV[2])))

  local open = {}
  for _, session in ipairs(call('ZRANGE', KEYS[2], 0, -1)) do
    if call('EXISTS', session) == 1 then
      open[#open + 1] = session
    else
      call('ZREM', KEYS[2], session)
    end
  end
  for at = 1, #open - tonumber(ARGV[3]) do
    call('DEL', open[at])
    call('ZREM', KEYS[2], open[at])
  end
  return 0
end)
