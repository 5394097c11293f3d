-- Ends one run of a job, if it is still the run that holds the lease.
--
-- KEYS[1]  the queue's root
-- ARGV     1 id  2 token  3 outcome  4 body  5 delay in ms (retry)  6 last progress ('' none)
--          outcome   body
--          completed the result, JSON
--          refused   the handler's answer "no", JSON: the job is completed and never retried
--          retry     what went wrong: retrying, or dead after the last attempt
--          dead      what went wrong: dead at once
--          cancelled -
--          released  -: back to its place in line, and the attempt does not count
-- Returns  the job's new state, or "lost" when another run holds the lease.
--          Asked again after a lost answer, it changes nothing and returns the state the job has now.
-- Cost     O(log n)

local id, token, outcome, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = root .. 'job:' .. id
local job = call('HMGET', key, 'state', 'token', 'group', 'unique', 'attempts', 'max_attempts', 'cancel', 'priority', 'seat')
local group, unique = job[3], job[4]

if job[2] ~= token then return 'lost' end
if job[1] ~= 'running' then return job[1] end

call('ZREM', root .. 'running', id)
if ARGV[6] ~= '' then call('HSET', key, 'progress', ARGV[6]) end

local state
if outcome == 'completed' or outcome == 'refused' then
  state = 'completed'
  call('HSET', key, outcome == 'completed' and 'result' or 'error', body)
  call('HDEL', key, 'checkpoint')
elseif outcome == 'dead' then
  note(id, job[5], body)
  state = 'dead'
elseif outcome == 'retry' then
  note(id, job[5], body)
  if job[7] then
    state = 'cancelled'
  elseif tonumber(job[5]) >= tonumber(job[6]) then
    state = 'dead'
  else
    park(id, 'retrying', now + tonumber(ARGV[5]))
    give_up_place(id)
  end
elseif outcome == 'released' then
  call('HSET', key, 'attempts', job[5] - 1)
  call('HDEL', key, 'worker', 'started_at')
  if job[7] then
    state = 'cancelled'
  else
    call('HSET', key, 'state', 'available')
    offer(id, job[8], job[9])
  end
else
  state = 'cancelled'
end

if state then conclude(id, state, group, unique) end

-- Under a limit of the queue, whoever has a free slot may have found no job for it before.
if limit_of(1) and call('ZCARD', root .. 'available') > 0 then wake = true end
announce()
return state or (outcome == 'retry' and 'retrying' or 'available')
