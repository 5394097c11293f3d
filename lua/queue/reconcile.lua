-- Finds and mends what the functions alone cannot bring about: keys that were deleted by hand, or
-- lost with a part of the data. `fetch` takes one step at most every RECONCILE_MS, whichever worker
-- it is that fetches; so a pass over all jobs needs no command of its own. Cost of a step:
-- O(SCAN_COUNT).

-- Puts a job that is in none of its state's sets back where it belongs. A running one gets a lease,
-- so that its worker, should it live, can extend it.
local function relist(id, state, job, lease)
  if state == 'running' then
    call('ZADD', root .. 'running', now + lease, id)
  elseif state == 'available' then
    if job.group and call('ZRANGE', root .. 'group:' .. job.group, 0, 0)[1] ~= id then
      call('ZADD', root .. 'held', number(job.seat, 0), id)
    else
      offer(id, job.priority, job.seat)
    end
  elseif KEEP[state] then
    forget({ id })
  elseif state == 'waiting' then
    call('ZADD', root .. 'waiting', now, id)
  else
    call('ZADD', root .. state, number(job.run_at, now), id)
    wake = true
  end
end

local function is_listed(id, state, key)
  if state == 'available' then
    for _, set in ipairs({ 'available', 'held', 'newer', 'crowded', 'throttled' }) do
      if call('ZSCORE', root .. set, id) then return true end
    end
    return false
  end
  -- A finished job that is not listed any more has a time to live, for as long as an idempotency
  -- key leads to it.
  return call('ZSCORE', root .. state, id) or (KEEP[state] and call('PTTL', key) >= 0)
end

-- Sees to it that a job of a group has its place in it, and that those before it are there. Returns
-- whether it was not so.
local function mend_group(id, job)
  local line = root .. 'group:' .. job.group
  local mended = call('ZADD', line, 'NX', number(job.seat, 0), id) == 1
  local head = call('ZRANGE', line, 0, 0)[1]
  while head ~= id do
    local state = state_of(head)
    if state and not KEEP[state] and state ~= 'scheduled' then return mended end
    call('ZREM', line, head)
    mended = true
    head = call('ZRANGE', line, 0, 0)[1]
  end
  -- The one behind it may have been offered while this one was missing.
  local second = call('ZRANGE', line, 1, 1, 'WITHSCORES')
  if second[1] and call('ZREM', root .. 'available', second[1]) == 1 then
    call('ZADD', root .. 'held', second[2], second[1])
    mended = true
  end
  if call('ZREM', root .. 'held', id) == 1 then
    offer(id, job.priority, job.seat)
    mended = true
  end
  return mended
end

-- Takes places away from jobs that are gone or have ended, or run and need none. Returns whether
-- there were any.
local function tidy_places(user)
  local places, limit, mended = places_of(user), user_limit(), false
  for _, holder in ipairs(call('SMEMBERS', places)) do
    local state = state_of(holder)
    if state ~= 'available' and not (limit and state == 'running') then
      call('SREM', places, holder)
      mended = true
    end
  end
  return mended
end

-- Sees to it that a job that waits for a place of its user is in the user's line, and that the
-- places are taken by jobs that are there. Returns whether it was not so.
local function mend_places(id, user)
  local score = user and call('ZSCORE', root .. 'crowded', id)
  if not score then return false end
  local mended = call('ZADD', root .. 'crowded:' .. user, 'NX', score, id) == 1
  mended = tidy_places(user) or mended
  admit(user)
  return mended
end

-- Sees to it that a job that waits for the rate of its user is in the user's line, and the user is
-- looked at. Returns whether it was not so.
local function mend_throttled(id, user)
  local score = user and call('ZSCORE', root .. 'throttled', id)
  if not score then return false end
  local missing = call('ZADD', root .. 'throttled:' .. user, 'NX', score, id)
  return missing + call('ZADD', root .. 'throttled_users', 'NX', now, user) > 0
end

-- Cancels a job that waits for one, or for a batch, that is gone. Returns whether it was so.
local function mend_waiting(id)
  local waits_for = fields(id, 'previous', 'callback_of')
  local key = waits_for[1] and root .. 'job:' .. waits_for[1]
    or root .. 'batch:' .. (waits_for[2] or '')
  if call('EXISTS', key) == 1 then return false end
  stop(id)
  return true
end

-- Returns whether there was something to mend.
local function mend(id, lease)
  local key = root .. 'job:' .. id
  local is, unreadable = fields(id, 'priority', 'seat', 'group', 'run_at', 'user', 'turn')
  if unreadable then return false end
  local state, user = state_of(id), is[5]
  local job = { priority = is[1], seat = is[2], group = is[3], run_at = is[4] }
  if not state then
    call('UNLINK', key)
    return true
  end
  if not STATES[state] then
    bury(id, 'its state cannot be read')
    return true
  end
  local in_line = state == 'available' or state == 'running' or state == 'retrying'
  local mended = in_line and job.group and mend_group(id, job)
  mended = mend_places(id, is[6] or user) or mended
  mended = mend_throttled(id, user) or mended
  if not is_listed(id, state, key) then
    relist(id, state, job, lease)
    mended = true
  end
  return (state == 'waiting' and mend_waiting(id)) or mended
end

-- Drops the entries of lists whose job is gone, and lets users go on whose places such jobs had.
-- Lists are walked one after the other, over and over, CHUNK entries or a few more in a step.
-- Returns how many were dropped.
local function drop_gone()
  local at = call('HMGET', root .. 'meta', 'swept_list', 'swept_cursor')
  local index, cursor = number(at[1], 1), at[2] or '0'
  local left, lists, dropped = CHUNK, #LISTS, 0
  while left > 0 and lists > 0 do
    local list = root .. (LISTS[index] or LISTS[1])
    local page = try('ZSCAN', list, cursor, 'COUNT', CHUNK)
    if page.err then page = { '0', {} } end
    local gone, parties = {}, {}
    for i = 1, #page[2], 2 do
      local id = page[2][i]
      if call('EXISTS', root .. 'job:' .. id) == 0 then
        gone[#gone + 1] = id
      elseif LISTS[index] == 'crowded' then
        parties[party_of(id) or ''] = true
      end
    end
    if gone[1] then call('ZREM', list, unpack(gone)) end
    for party in pairs(parties) do
      tidy_places(party)
      admit(party)
    end
    dropped, left, cursor = dropped + #gone, left - #page[2] / 2, page[1]
    if cursor == '0' then
      index, lists = index % #LISTS + 1, lists - 1
    end
  end
  call('HSET', root .. 'meta', 'swept_list', index, 'swept_cursor', cursor)
  return dropped
end

-- Takes the next step. Returns how many jobs were mended.
local function reconcile(lease)
  local cursor = call('HGET', root .. 'meta', 'reconcile_cursor')
  local prefix = root .. 'job:'
  local page = call('SCAN', cursor or 0, 'MATCH', prefix .. '*', 'COUNT', SCAN_COUNT)
  call('HSET', root .. 'meta', 'reconciled_at', now, 'reconcile_cursor', page[1])
  local mended = drop_gone()
  for _, key in ipairs(page[2]) do
    if mend(string.sub(key, #prefix + 1), lease) then mended = mended + 1 end
  end
  return mended
end
