-- Jobs that wait for other jobs: the next one of a chain, and the callbacks of a batch. They are
-- there from the start, in the set `waiting`.

local tally

-- Lets a job go that waited, with what it waited for as its input; or one that was cancelled
-- because that could not happen, until a job before it was retried.
local function release(id, input)
  local key = root .. 'job:' .. id
  local job = fields(id, 'state', 'priority', 'group', 'delay', 'stopped', 'batch', 'run_at')
  if job[1] == 'cancelled' and job[5] then
    call('ZREM', root .. 'cancelled', id)
    call('PERSIST', key)
    call('HDEL', key, 'stopped', 'finished_at')
    if job[6] then tally(job[6], 'cancelled', -1) end
  elseif job[1] == 'waiting' then
    call('ZREM', root .. 'waiting', id)
  else
    return
  end
  call('HSET', key, 'has', '*', 'input', input, 'run_at', now)
  local due = math.max(now + number(job[4], 0), number(job[7], 0))
  if due > now then
    park(id, 'scheduled', due)
  else
    line_up(id, job[2], job[3])
  end
end

-- Cancels a job that waits for what cannot happen any more, and with it what waits for this job.
-- Cost: O(log n) for each.
local function stop(id)
  local key = root .. 'job:' .. id
  local job = fields(id, 'state', 'group', 'unique', 'batch', 'next')
  if job[1] ~= 'waiting' then return end
  call('ZREM', root .. 'waiting', id)
  call('HSET', key, 'stopped', 1)
  conclude(id, 'cancelled', job[2], job[3], job[4], job[5])
end

-- Calls back if the batch is closed and all of its jobs have ended: once for that, and once when
-- all have completed, be it that some did so only after an operator had retried them.
local function settle(batch)
  local key = root .. 'batch:' .. batch
  local is = call(
    'HMGET',
    key,
    'closed_at',
    'jobs',
    'completed',
    'refused',
    'dead',
    'cancelled',
    'ended_at',
    'succeeded_at',
    'on_end',
    'on_success'
  )
  if not is[1] then return end
  local counts = {}
  for i, name in ipairs({ 'jobs', 'completed', 'refused', 'dead', 'cancelled' }) do
    counts[name] = tonumber(is[i + 1] or 0)
  end
  if counts.jobs > counts.completed + counts.refused + counts.dead + counts.cancelled then
    return
  end
  if not is[7] then
    call('HSET', key, 'ended_at', now)
    call('PEXPIRE', key, BATCH_MS)
    if is[9] then release(is[9], cjson.encode(counts)) end
  end
  if counts.jobs > counts.completed then
    if is[10] then stop(is[10]) end
  elseif not is[8] then
    call('HSET', key, 'succeeded_at', now)
    if is[10] then release(is[10], cjson.encode(counts)) end
  end
end

-- Counts one job more (or less) of a batch that ended as `outcome`. O(1).
function tally(batch, outcome, by)
  local key = root .. 'batch:' .. batch
  if try('HEXISTS', key, 'created_at') ~= 1 then return end
  call('HINCRBY', key, outcome, by)
  settle(batch)
end

-- What follows from a job that has ended in `state`, or is deleted before it has (as if cancelled).
function follow_up(id, state, batch, next_job)
  local ended = fields(id, 'result', 'error')
  local outcome = state == 'completed' and ended[2] and 'refused' or state
  if next_job and outcome == 'completed' then
    release(next_job, ended[1] or 'null')
  elseif next_job then
    stop(next_job)
  end
  if batch then tally(batch, outcome, 1) end
end
