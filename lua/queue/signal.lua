-- Asks a process to fetch no more ("quiet"), to end ("stop"), or to go on ('').
--
-- KEYS[1]  the root of what belongs to no queue
-- ARGV     1 process  2 signal
-- Returns  "done"; "not_found" when there is no such process; "wrong_state" when it was asked to
--       end
-- Cost     O(1)

define('signal', function(ARGV)
  local key = root .. 'process:' .. ARGV[1]
  local process = call('HMGET', key, 'about', 'signal')
  if not process[1] then return 'not_found' end
  if process[2] == 'stop' and ARGV[2] ~= 'stop' then return 'wrong_state' end
  if ARGV[2] == '' then
    call('HDEL', key, 'signal')
  else
    call('HSET', key, 'signal', ARGV[2])
  end
  return 'done'
end)
