-- What an operator may do to a job. Each operation returns "done"; "wrong_state" when the state of
-- the job does not allow it; "not_found" when there is no such job. `retry` also returns "key_taken"
-- when another job has the unique key, and "follows" when the job waits for one before it in its
-- chain, or for its batch. Cost: O(log n).

local operations = {}

-- Notes that an action ('' none) was about a job, so that it can be undone.
local function note_action(action, id)
  if action == '' then return end
  local key = root .. 'action:' .. action
  call('SADD', key, id)
  call('PEXPIRE', key, UNDO_MS)
end

-- Takes a job that does not run out of the set of its state.
local function withdraw(id, state)
  call('ZREM', root .. state, id)
  if state == 'available' then
    call('ZREM', root .. 'held', id)
    call('ZREM', root .. 'newer', id)
    for _, aside in ipairs({ 'crowded', 'throttled' }) do
      if call('ZREM', root .. aside, id) == 1 then
        local user = aside == 'crowded' and party_of(id) or fields(id, 'user')[1]
        if user then call('ZREM', root .. aside .. ':' .. user, id) end
      end
    end
  end
end

-- Cancels a job that waits at once, and one that runs through its worker.
function operations.cancel(id, action)
  local key = root .. 'job:' .. id
  local job = fields(id, 'group', 'unique', 'batch', 'next')
  local state = state_of(id)
  if not state then return 'not_found' end
  if KEEP[state] then return 'wrong_state' end
  note_action(action, id)
  if state == 'running' then
    call('HSET', key, 'cancel', 1)
    call('SPUBLISH', root .. 'events', 'cancel ' .. id)
    return 'done'
  end
  withdraw(id, state)
  conclude(id, 'cancelled', job[1], job[2], job[3], job[4])
  return 'done'
end

-- Puts a job that ended without a result back in line, with all its attempts before it; not if
-- another one has its unique key by now, nor one that was cancelled because of another, which comes
-- back with that one.
function operations.retry(id)
  local key = root .. 'job:' .. id
  local job = fields(id, 'priority', 'group', 'unique', 'error', 'stopped', 'batch', 'seat')
  local state = state_of(id)
  if not state then return 'not_found' end
  if not KEEP[state] or (state == 'completed' and not job[4]) then return 'wrong_state' end
  if job[5] then return 'follows' end
  if job[3] then
    local holder = try('GET', root .. 'unique:' .. job[3])
    if type(holder) == 'string' and holder ~= id then return 'key_taken' end
    call('SET', root .. 'unique:' .. job[3], id)
  end
  withdraw(id, state)
  call('PERSIST', key)
  call('HDEL', key, 'error', 'progress', 'finished_at', 'run', 'cancel', 'attempts', 'losses')
  call('HSET', key, 'run_at', now)
  -- The place that it gets now is not as old as the job.
  if job[7] then call('HSETNX', key, 'created_at', time_of(job[7])) end
  if job[6] then tally(job[6], job[4] and 'refused' or state, -1) end
  line_up(id, job[1], job[2])
  return 'done'
end

-- Removes what is left of a job that cannot be read, or whose hash is gone: its places in all
-- lists, and its key.
local function remove_listed(id)
  local found = call('UNLINK', root .. 'job:' .. id)
  for _, list in ipairs(LISTS) do
    found = found + call('ZREM', root .. list, id)
  end
  if found == 0 then return 'not_found' end
  ended[#ended + 1] = id
  return 'done'
end

-- Has a job that waits for its time, or for its next attempt, do so no longer.
function operations.run(id)
  local state = state_of(id)
  if not state then return 'not_found' end
  if state ~= 'scheduled' and state ~= 'retrying' then return 'wrong_state' end
  call('ZADD', root .. state, now, id)
  call('HSET', root .. 'job:' .. id, 'has', '*', 'run_at', now)
  look_at(now)
  moved[#moved + 1] = id
  return 'done'
end

-- Removes a job that does not run, and with it what its idempotency keys lead to. One that has
-- ended is put aside for a while, where `restore` finds it.
function operations.delete(id, action)
  local key = root .. 'job:' .. id
  local job = fields(id, 'group', 'unique', 'batch', 'next')
  local state = state_of(id)
  if not state then return remove_listed(id) end
  if state == 'running' then return 'wrong_state' end
  withdraw(id, state)
  if not KEEP[state] then
    release_claims(id, job[1], job[2])
    if job[3] or job[4] then follow_up(id, 'cancelled', job[3], job[4]) end
    call('UNLINK', key)
  else
    if job[2] then free_unique(id, job[2]) end
    if action == '' then
      call('UNLINK', key)
    else
      note_action(action, id)
      call('RENAME', key, root .. 'deleted:' .. id)
      call('PEXPIRE', root .. 'deleted:' .. id, UNDO_MS)
    end
  end
  ended[#ended + 1] = id
  return 'done'
end

-- Puts a job back that was deleted.
function operations.restore(id)
  local aside, key = root .. 'deleted:' .. id, root .. 'job:' .. id
  if call('EXISTS', aside) == 0 or call('RENAMENX', aside, key) == 0 then return 'not_found' end
  call('PERSIST', key)
  local state, at = state_of(id), number(fields(id, 'finished_at')[1], now)
  if not KEEP[state] then state = 'dead' end
  list_ended(state, { at, id })
  moved[#moved + 1] = id
  return 'done'
end
