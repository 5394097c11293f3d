-- A process that works shows itself, and hears what it is asked to do.
--
-- KEYS[1]  the root of what belongs to no queue
-- ARGV     1 process  2 what it says of itself, JSON; '' when it ends
-- Returns  what it is asked to do: "quiet", "stop" or ''
-- Cost     O(log n) of the processes

define('beat', function(ARGV)
  local process = ARGV[1]
  local key = root .. 'process:' .. process
  call('ZREMRANGEBYSCORE', root .. 'processes', '-inf', now - PROCESS_MS)
  if ARGV[2] == '' then
    call('ZREM', root .. 'processes', process)
    call('UNLINK', key)
    return ''
  end
  call('ZADD', root .. 'processes', now, process)
  call('HSET', key, 'about', ARGV[2])
  call('PEXPIRE', key, PROCESS_MS)
  return call('HGET', key, 'signal') or ''
end)
