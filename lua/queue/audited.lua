-- What operators did, the latest first.
--
-- KEYS[1]  the root of what belongs to no queue
-- ARGV     1 how many  2 the action behind which to begin ('' the latest)
-- Returns  { action, { field, value... } }...
-- Cost     O(log n + how many)

define('audited', function(ARGV)
  local log, from = root .. 'audit', 0
  if ARGV[2] ~= '' then
    local rank = call('ZREVRANK', log, ARGV[2])
    -- It was so long ago that it is not kept.
    if not rank then return {} end
    from = rank + 1
  end
  local answer = {}
  for _, action in ipairs(call('ZREVRANGE', log, from, from + ARGV[1] - 1)) do
    answer[#answer + 1] = { action, call('HGETALL', log .. ':' .. action) }
  end
  return answer
end, { 'no-writes' })
