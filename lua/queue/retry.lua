-- Puts a job that ended without a result back in line, with all its attempts before it.
--
-- KEYS[1]  the queue's root
-- ARGV     1 id
-- Returns  1, or 0 when the job has a result, has not ended, or another one has its unique key by now;
--          -1 when there is none
-- Cost     O(log n)

local id = ARGV[1]
local key = root .. 'job:' .. id
local job = call('HMGET', key, 'state', 'priority', 'group', 'unique', 'error')
local state = job[1]

if not state then return -1 end
if not KEEP[state] or (state == 'completed' and not job[5]) then return 0 end
if job[4] and not call('SET', root .. 'unique:' .. job[4], id, 'NX') then return 0 end

call('ZREM', root .. state, id)
call('PERSIST', key)
call('HDEL', key, 'error', 'progress', 'finished_at', 'started_at', 'worker', 'token', 'cancel')
call('HSET', key, 'attempts', 0, 'run_at', now)
line_up(id, job[2], job[3])
announce()
return 1
