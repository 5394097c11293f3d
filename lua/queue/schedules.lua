-- The schedules.
--
-- KEYS[1]  the root of what belongs to no queue
-- Returns  { now, { name, definition as JSON, { field, value... } of its state }... }
-- Cost     O(n) of the schedules

define('schedules', function()
  local answer = { now }
  local kept = call('HGETALL', root .. 'schedules')
  for i = 1, #kept, 2 do
    local state = call('HGETALL', root .. 'schedule:' .. kept[i])
    answer[#answer + 1] = { kept[i], kept[i + 1], state }
  end
  return answer
end, { 'no-writes' })
