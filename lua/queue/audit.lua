-- Writes down what an operator does, or what came of it.
--
-- KEYS[1]  the root of what belongs to no queue
-- ARGV     1 action  2 how many actions are kept, then names and values of its fields
-- Returns  1
-- Cost     O(log n) of the actions

define('audit', function(ARGV)
  local log, action = root .. 'audit', ARGV[1]
  if call('ZADD', log, 'NX', now, action) == 1 then
    call('HSET', log .. ':' .. action, 'at', now)
    local excess = math.min(call('ZCARD', log) - tonumber(ARGV[2]), CHUNK)
    if excess > 0 then
      for _, old in ipairs(call('ZRANGE', log, 0, excess - 1)) do
        call('UNLINK', log .. ':' .. old)
      end
      call('ZREMRANGEBYRANK', log, 0, excess - 1)
    end
  end
  call('HSET', log .. ':' .. action, unpack(ARGV, 3))
  return 1
end)
