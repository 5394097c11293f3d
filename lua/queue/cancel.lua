-- Cancels a job: one that waits at once, one that runs through its worker.
--
-- KEYS[1]  the queue's root
-- ARGV     1 id
-- Returns  1 when the job is or will be cancelled, 0 when it has ended before, -1 when there is none
-- Cost     O(log n)

local id = ARGV[1]
local key = root .. 'job:' .. id
local job = call('HMGET', key, 'state', 'group', 'unique')
local state = job[1]

if not state then return -1 end
if KEEP[state] then return 0 end

if state == 'running' then
  call('HSET', key, 'cancel', 1)
  call('PUBLISH', root .. 'events', 'cancel ' .. id)
  return 1
end

call('ZREM', root .. state, id)
if state == 'available' then call('ZREM', root .. 'held', id) end
conclude(id, 'cancelled', job[2], job[3])
announce()
return 1
