-- The processes that work.
--
-- KEYS[1]  the root of what belongs to no queue
-- Returns  { now, { process, when it was last seen, what it says of itself, what it is asked to
--       do }... }
-- Cost     O(n) of the processes

define('processes', function()
  local answer = { now }
  local seen =
    call('ZRANGE', root .. 'processes', '(' .. now - PROCESS_MS, '+inf', 'BYSCORE', 'WITHSCORES')
  for i = 1, #seen, 2 do
    local process = call('HMGET', root .. 'process:' .. seen[i], 'about', 'signal')
    if process[1] then
      answer[#answer + 1] = { seen[i], tonumber(seen[i + 1]), process[1], process[2] or '' }
    end
  end
  return answer
end, { 'no-writes' })
