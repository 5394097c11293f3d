-- Pauses a schedule, or lets it go on from now.
--
-- KEYS[1]  the root of what belongs to no queue
-- ARGV     1 name  2 "1" to pause, "0" to resume
-- Returns  "done"; "not_found" when there is none
-- Cost     O(1)

define('schedule_pause', function(ARGV)
  local state = root .. 'schedule:' .. ARGV[1]
  if call('HEXISTS', root .. 'schedules', ARGV[1]) == 0 then return 'not_found' end
  if ARGV[2] == '1' then
    call('HSETNX', state, 'paused_at', now)
  elseif call('HDEL', state, 'paused_at') == 1 then
    call('HSET', state, 'passed', now)
  end
  return 'done'
end)
