-- Ends runs of jobs, each if it is still the run that holds the lease.
--
-- KEYS[1]  the queue's root
-- ARGV     for each fetch: 1 run, as fetched  2 how many of its jobs end now, then for each of
--       them: 1 id  2 outcome, and unless that is "done": 3 body  4 delay in ms (retry, deferred)
--       5 last progress ('' none)
--          outcome   body
--          done      completed with the result null, which is not kept, and without progress
--          completed the result, JSON
--          refused   the handler's answer "no", JSON: the job is completed and never retried
--          retry     what went wrong: retrying, or dead after the last attempt
--          deferred  what was away: as retry, but the attempt does not count for the first OUTAGES
--          times
--          dead      what went wrong: dead at once
--          cancelled - released  -: back to its place in line, and the attempt does not count
--          yielded   -: as released, but to the end of its line, and its workers were not lost
-- Returns  1 when all are completed; else for each job its new state, or "lost" when another run
--       holds the lease. Asked again after a lost answer, it changes nothing and returns the state
--       the job has now.
-- Cost     O(log n) for each run

-- Of the run at hand:
local stopped -- jobs that do not run any more
local completed -- of these: now and id of each that is completed
local ran -- for how long they did, as marks.lua counts it

local WANTED = { letters = 'gqancs' }

local function finish(id, run, outcome, body, delay, progress)
  local key = root .. 'job:' .. id
  local found = fields(id, 'run', 'finished_at', 'has')
  if found[1] ~= run then return 'lost' end
  local more = read_more(key, found[3], WANTED)
  if more.state or found[2] then return more.state or 'completed' end

  local group, unique, batch, next_job = more.group, more.unique, more.batch, more.next
  stopped[#stopped + 1] = id
  if progress and progress ~= '' then call('HSET', key, 'progress', progress) end

  if outcome == 'done' or outcome == 'completed' or outcome == 'refused' then
    if outcome == 'done' then
      call('HSET', key, 'finished_at', now)
    elseif outcome == 'refused' then
      call('HSET', key, 'finished_at', now, 'error', body)
    else
      call('HSET', key, 'finished_at', now, 'result', body)
    end
    if more.checkpoint then call('HDEL', key, 'checkpoint') end
    if more ~= PLAIN or meta(USER_LIMIT) then release_claims(id, group, unique, 'completed') end
    completed[#completed + 1] = now
    completed[#completed + 1] = id
    mark(field(outcome == 'refused' and 'r' or 'c', ran))
    local told = outcome == 'done' and done or ended
    told[#told + 1] = id
    if batch or next_job then follow_up(id, 'completed', batch, next_job) end
    return 'completed'
  end

  local job = call('HMGET', key, 'max_attempts', 'cancel', 'priority', 'seat')
  local cancelled = job[2]
  local goes_on = outcome == 'released' or outcome == 'yielded'
  if goes_on and not cancelled then
    local seat = job[4]
    if outcome == 'yielded' then
      call('HDEL', key, 'losses')
      seat = next_seat()
    end
    put_back(id, job[3], seat)
    return 'available'
  end
  if outcome == 'deferred' and not cancelled and call('HINCRBY', key, 'deferred', 1) <= OUTAGES then
    note(id, number(call('HGET', key, 'attempts'), 0) + 1, body)
    call('HDEL', key, 'losses')
    mark(field('f', ran))
    park(id, 'retrying', now + tonumber(delay))
    give_up_place(id)
    return 'retrying'
  end
  if outcome == 'deferred' then outcome = 'retry' end
  local attempts = not goes_on and count_attempt(id)
  if outcome == 'dead' or outcome == 'retry' then
    note(id, attempts, body)
    mark(field('f', ran))
  end
  local state = 'cancelled'
  if outcome == 'dead' then
    state = 'dead'
  elseif outcome == 'retry' and not cancelled then
    call('HDEL', key, 'losses')
    if attempts < number(job[1], MAX_ATTEMPTS) then
      park(id, 'retrying', now + tonumber(delay))
      give_up_place(id)
      return 'retrying'
    end
    state = 'dead'
  end
  conclude(id, state, group, unique, batch, next_job)
  return state
end

define('finish', function(ARGV)
  stopped, completed = {}, {}
  local count, answers, at = 0, nil, 1
  while ARGV[at] do
    local run, ends = ARGV[at], ARGV[at + 1]
    at = at + 2
    ran = size_of(now - number(string.match(run, '^%d+'), now))
    for _ = 1, ends do
      local id, outcome = ARGV[at], ARGV[at + 1]
      at = at + 2
      local state
      if outcome == 'done' then
        state = finish(id, run, outcome)
      else
        state = finish(id, run, outcome, ARGV[at], ARGV[at + 1], ARGV[at + 2])
        at = at + 3
      end
      count = count + 1
      answers = add_answer(answers, count, state, 'completed')
    end
  end
  if stopped[1] then call('ZREM', root .. 'running', unpack(stopped)) end
  if completed[1] then list_ended('completed', completed) end

  -- Under a limit of the queue, whoever has a free slot may have found no job for it before.
  if meta(LIMIT) and call('ZCARD', root .. 'available') > 0 then wake = true end
  announce()
  return answers or 1
end)
