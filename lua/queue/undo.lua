-- One step of undoing an action: cancelled jobs are retried, deleted ones restored.
--
-- KEYS[1]  the queue's root
-- ARGV     1 the action  2 the operation that undoes it
-- Returns  { jobs done, how many are left }
-- Cost     O(log n) for each of the CHUNK jobs it looks at

define('undo', function(ARGV)
  local key, operation = root .. 'action:' .. ARGV[1], operations[ARGV[2]]
  local done = 0
  for _, id in ipairs(call('SPOP', key, CHUNK)) do
    if operation(id, '') == 'done' then done = done + 1 end
  end
  announce()
  return { done, call('SCARD', key) }
end)
