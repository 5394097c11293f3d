-- Ends runs of jobs, each if it is still the run that holds the lease.
--
-- KEYS[1]  the queue's root
-- ARGV     for each run: 1 id  2 run, as fetched  3 outcome  4 body  5 delay in ms (retry)
--          6 last progress ('' none)
--          outcome   body
--          completed the result, JSON; null is not kept
--          refused   the handler's answer "no", JSON: the job is completed and never retried
--          retry     what went wrong: retrying, or dead after the last attempt
--          dead      what went wrong: dead at once
--          cancelled -
--          released  -: back to its place in line, and the attempt does not count
-- Returns  for each run the job's new state, or "lost" when another run holds the lease.
--          Asked again after a lost answer, it changes nothing and returns the state the job has now.
-- Cost     O(log n) for each run

local FIELDS = 6

-- Of the run at hand:
local stopped   -- jobs that do not run any more
local completed -- of these: now and id of each that is completed

local function finish(id, run, outcome, body, delay, progress)
  local key = root .. 'job:' .. id
  local found = call('HMGET', key, 'state', 'run', 'group', 'unique', 'batch', 'next', 'checkpoint')
  local group, unique, batch, next_job = found[3], found[4], found[5], found[6]

  if found[2] ~= run then return 'lost' end
  if found[1] ~= 'running' then return found[1] end

  stopped[#stopped + 1] = id
  if progress ~= '' then call('HSET', key, 'progress', progress) end

  if outcome == 'completed' or outcome == 'refused' then
    if outcome == 'refused' then
      call('HSET', key, 'state', 'completed', 'finished_at', now, 'error', body)
    elseif body == 'null' then
      call('HSET', key, 'state', 'completed', 'finished_at', now)
    else
      call('HSET', key, 'state', 'completed', 'finished_at', now, 'result', body)
    end
    if found[7] then call('HDEL', key, 'checkpoint') end
    let_go(id, group, unique, 'completed')
    completed[#completed + 1] = now
    completed[#completed + 1] = id
    ended[#ended + 1] = id
    if batch or next_job then follow_up(id, 'completed', batch, next_job) end
    return 'completed'
  end

  local job = call('HMGET', key, 'attempts', 'max_attempts', 'cancel', 'priority', 'seat')
  local state = 'cancelled'
  if outcome == 'dead' then
    note(id, job[1], body)
    state = 'dead'
  elseif outcome == 'retry' then
    note(id, job[1], body)
    if not job[3] and tonumber(job[1]) >= tonumber(job[2] or MAX_ATTEMPTS) then
      state = 'dead'
    elseif not job[3] then
      park(id, 'retrying', now + tonumber(delay))
      give_up_place(id)
      return 'retrying'
    end
  elseif outcome == 'released' then
    call('HSET', key, 'attempts', job[1] - 1)
    if not job[3] then
      call('HSET', key, 'state', 'available')
      offer(id, job[4], job[5])
      return 'available'
    end
  end
  conclude(id, state, group, unique, batch, next_job)
  return state
end

define('finish', function(ARGV)
  stopped, completed = {}, {}
  local answers = {}
  for i = 1, #ARGV, FIELDS do
    answers[#answers + 1] = finish(unpack(ARGV, i, i + FIELDS - 1))
  end
  if stopped[1] then call('ZREM', root .. 'running', unpack(stopped)) end
  if completed[1] then list_ended('completed', completed) end

  -- Under a limit of the queue, whoever has a free slot may have found no job for it before.
  if meta(LIMIT) and call('ZCARD', root .. 'available') > 0 then wake = true end
  announce()
  return answers
end)
