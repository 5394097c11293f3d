-- Keeps a schedule, or takes it away. What is known of its ticks stays when its definition changes.
--
-- KEYS[1]  the root of what belongs to no queue
-- ARGV     1 name  2 definition as JSON, '' none  3 how many schedules there may be
-- Returns  "done"; "not_found" when there is none to take away; "full" when there are as many
-- Cost     O(1)

define('schedule_put', function(ARGV)
  local name, definition = ARGV[1], ARGV[2]
  local schedules, state = root .. 'schedules', root .. 'schedule:' .. name
  if definition == '' then
    call('UNLINK', state)
    return call('HDEL', schedules, name) == 1 and 'done' or 'not_found'
  end
  local is_new = call('HEXISTS', schedules, name) == 0
  if is_new and call('HLEN', schedules) >= tonumber(ARGV[3]) then return 'full' end
  call('HSET', schedules, name, definition)
  -- Ticks count from now on.
  call('HSETNX', state, 'passed', now)
  return 'done'
end)
