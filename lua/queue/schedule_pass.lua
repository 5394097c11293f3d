-- Notes that the ticks of a schedule up to a time have passed, and what came of the last one.
--
-- KEYS[1]  the root of what belongs to no queue
-- ARGV     1 name  2 the time, in ms since 1970  3 the tick, likewise ('' none)  4 its job ('' none)
--       5 why it has none ('' otherwise)
-- Returns  1; 0 when there is no such schedule, or another worker noted as much
-- Cost     O(1)

define('schedule_pass', function(ARGV)
  local state = root .. 'schedule:' .. ARGV[1]
  if call('HEXISTS', root .. 'schedules', ARGV[1]) == 0 then return 0 end
  local passed = number(call('HGET', state, 'passed'), 0)
  if passed >= tonumber(ARGV[2]) then return 0 end
  call('HSET', state, 'passed', ARGV[2])
  if ARGV[3] ~= '' then
    call('HSET', state, 'tick', ARGV[3], 'job', ARGV[4], 'left_out', ARGV[5])
  end
  return 1
end)
