-- What happens to jobs in more than one function.

-- How many jobs of one user may run or be in line, nil when only those in line are bounded.
local function user_limit()
  local limit = number(meta(USER_LIMIT), 0)
  return limit > 0 and limit or nil
end

-- Whose turn a job takes: that of its `turn`, or else of its user; false when it takes none.
local function party_of(id)
  local job = fields(id, 'turn', 'user')
  return job[1] or job[2]
end

-- Who has a place of a user, under a limit per user and without one.
local function places_of(user) return root .. (user_limit() and 'places:' or 'turns:') .. user end

-- Users take turns: of each, only so many jobs have a place. Without a limit per user that is one
-- of TURN places in line, which a job gives up as it starts, and only jobs of the usual priority
-- need one, so that no job waits for one behind it. Under a limit it is one of as many places as
-- the limit says, in line or running. Gives a job a place if it has none and one is left. Returns
-- whether it may be in line, and its user.
local function take_place(id, priority)
  local limit = user_limit()
  if not limit and number(priority, PRIORITY) ~= PRIORITY then return true end
  local user = party_of(id)
  if not user then return true end
  local places = places_of(user)
  if call('SISMEMBER', places, id) == 1 then return true end
  if call('SCARD', places) >= (limit or TURN) then return false, user end
  call('SADD', places, id)
  return true
end

-- Sets a job aside until another one of its user gives up its place.
local function crowd(id, user, score)
  -- It may have a place of the other kind, from before a limit was set or taken away.
  call('SREM', root .. 'turns:' .. user, id)
  call('SREM', root .. 'places:' .. user, id)
  call('ZADD', root .. 'crowded', score, id)
  call('ZADD', root .. 'crowded:' .. user, score, id)
end

-- Sets a job aside until the rate lets its user start another one, at `at` as far as is known.
local function throttle(id, user, score, at)
  call('ZADD', root .. 'throttled', score, id)
  call('ZADD', root .. 'throttled:' .. user, score, id)
  call('ZADD', root .. 'throttled_users', 'NX', at, user)
  look_at(at)
end

-- Puts a job (of the usual priority, if none is given) among those that a worker may take. Waking
-- is needed only when there was nothing to take before: a worker with a free slot fetches until
-- there is nothing left.
local function offer(id, priority, seat)
  local score = number(priority, PRIORITY) * SEATS + number(seat, 0)
  moved[#moved + 1] = id
  local has_place, user = take_place(id, priority)
  if not has_place then return crowd(id, user, score) end
  -- While the rate holds a user back, jobs are set aside at once. One that has a place among those
  -- of its user keeps it.
  if meta(USER_RATE) then
    user = call('HGET', root .. 'job:' .. id, 'user')
    local held_until = user and call('ZSCORE', root .. 'throttled_users', user)
    if held_until then return throttle(id, user, score, tonumber(held_until)) end
  end
  call('ZADD', root .. 'available', score, id)
  if call('ZCARD', root .. 'available') == 1 then offered = true end
end

-- Puts a job back in line that left it, at the place that it had.
local function put_back(id, priority, seat)
  call('HSET', root .. 'job:' .. id, 'state', 'available', 'has', '*')
  offer(id, priority, seat)
end

-- Gives a job its place in line. Of a group only the first in line is offered, the others are held.
local function seat_at(id, priority, group, seat)
  if group then
    local line = root .. 'group:' .. group
    call('ZADD', line, seat, id)
    if call('ZCARD', line) > 1 then
      call('ZADD', root .. 'held', seat, id)
      moved[#moved + 1] = id
      return
    end
  end
  offer(id, priority, seat)
end

-- Gives a job the next place in line.
local function line_up(id, priority, group)
  local seat = next_seat()
  call('HSET', root .. 'job:' .. id, 'state', 'available', 'seat', seat, 'has', '*')
  seat_at(id, priority, group, seat)
end

-- Parks a job until `at`, in the set `scheduled` or `retrying`.
local function park(id, set, at)
  call('HSET', root .. 'job:' .. id, 'state', set, 'run_at', at, 'has', '*')
  call('ZADD', root .. set, at, id)
  look_at(at)
  moved[#moved + 1] = id
end

-- Lets jobs of a user join the line again, at its end, for as long as the user has free places. So
-- users take turns.
local function admit(user)
  local limit = user_limit() or TURN
  local places = places_of(user)
  while call('SCARD', places) < limit do
    local id = call('ZPOPMIN', root .. 'crowded:' .. user)[1]
    if not id then return end
    call('ZREM', root .. 'crowded', id)
    local job = fields(id, 'seat', 'priority')
    if job[1] then
      call('SADD', places, id)
      offer(id, job[2], next_seat())
    end
  end
end

-- Gives up the place that a job that starts has in line, to the user's next job.
local function give_up_turn(id, user)
  if call('SREM', root .. 'turns:' .. user, id) == 1 then admit(user) end
end

-- Gives up the place that a job may have among those of its user, to the user's next job.
local function give_up_place(id)
  local user = party_of(id)
  if not user then return end
  -- The other kind of place is from before a limit was set or taken away.
  local given_up = call('SREM', root .. 'turns:' .. user, id)
    + call('SREM', root .. 'places:' .. user, id)
  if given_up > 0 then admit(user) end
end

-- Removes finished jobs, at once or when the last key that answers with them has run out.
local function forget(ids)
  local gone = {}
  local keeps = tonumber(meta(KEPT_UNTIL) or 0) > now
  for _, id in ipairs(ids) do
    local key = root .. 'job:' .. id
    local keep_until = keeps and number(fields(id, 'keep_until')[1], 0)
    if keep_until and keep_until > now then
      call('PEXPIREAT', key, keep_until)
    else
      gone[#gone + 1] = key
    end
  end
  if gone[1] then call('UNLINK', unpack(gone)) end
end

-- Forgets the `count` oldest jobs of a finished state.
local function drop(state, count)
  local old = call('ZRANGE', root .. state, 0, count - 1)
  call('ZREMRANGEBYRANK', root .. state, 0, count - 1)
  forget(old)
end

-- Forgets at most CHUNK jobs of a finished state, beyond its count or its age.
local function trim(state)
  local excess = call('ZCARD', root .. state) - KEEP[state].count
  if excess <= 0 then excess = call('ZCOUNT', root .. state, '-inf', now - KEEP[state].age) end
  if excess > 0 then drop(state, math.min(excess, CHUNK)) end
end

-- Frees the unique key of a job that has ended in `state`, or is to be deleted (none); or keeps it
-- for as long as such a job counts.
local function free_unique(id, unique, state)
  local key = root .. 'unique:' .. unique
  if try('GET', key) ~= id then return end
  local counts = state and call('HGET', root .. 'job:' .. id, 'unique_in')
  if counts == 'any' or (counts and counts == state) then
    -- One of a period has its time to live from the start.
    if call('PTTL', key) < 0 then call('PEXPIRE', key, KEEP[state].age) end
  else
    call('DEL', key)
  end
end

-- Lets go of what a job holds that ended in `state`, or is to be deleted (none): its unique key,
-- its place among its user's, and its place in its group, whose next one moves up.
local function release_claims(id, group, unique, state)
  give_up_place(id)
  if unique then free_unique(id, unique, state) end
  if group then
    local line = root .. 'group:' .. group
    call('ZREM', line, id)
    local head = call('ZRANGE', line, 0, 0)[1]
    -- The head is held only if the job that left was the head before.
    if head and call('ZREM', root .. 'held', head) == 1 then
      local next_job = fields(head, 'priority', 'seat')
      if next_job[2] then offer(head, next_job[1], next_job[2]) end
    end
  end
end

-- Lists jobs that ended, given as { now, id, now, id, ... }. A finished state is let outgrow its
-- count by a hundredth, so that not every job that ends has to look for another one to forget.
local function list_ended(state, jobs)
  call('ZADD', root .. state, unpack(jobs))
  local excess = call('ZCARD', root .. state) - KEEP[state].count
  if excess > KEEP[state].count / 100 then drop(state, math.min(excess, CHUNK + #jobs)) end
end

local follow_up -- of links.lua

-- Ends a job. Whoever calls this has taken it out of the set of its former state.
local function conclude(id, state, group, unique, batch, next_job)
  call('HSET', root .. 'job:' .. id, 'state', state, 'finished_at', now, 'has', '*')
  list_ended(state, { now, id })
  mark(state == 'dead' and 'd' or 'x')
  release_claims(id, group, unique, state)
  ended[#ended + 1] = id
  if batch or next_job then follow_up(id, state, batch, next_job) end
end

-- Counts an attempt that did not complete the job. Returns how many there were.
local function count_attempt(id)
  local key = root .. 'job:' .. id
  call('HSET', key, 'has', '*')
  local count = try('HINCRBY', key, 'attempts', 1)
  if type(count) == 'number' then return count end
  call('HSET', key, 'attempts', 1)
  return 1
end

-- Appends to the bounded list of what went wrong; the oldest entries go first.
local function note(id, attempt, message)
  local key = root .. 'job:' .. id
  local entry = cjson.encode({ at = now, attempt = attempt, message = message })
  local errors = (call('HGET', key, 'errors') or '') .. entry .. '\n'
  if #errors > ERRORS_BYTES then
    errors = string.gsub(string.sub(errors, -ERRORS_BYTES), '^[^\n]*\n', '', 1)
  end
  call('HSET', key, 'errors', errors)
end

-- Makes a job that cannot be run as it is kept a dead letter.
local function bury(id, reason)
  local job = fields(id, 'group', 'unique', 'batch', 'next', 'attempts')
  note(id, number(job[5], 0), reason)
  conclude(id, 'dead', job[1], job[2], job[3], job[4])
end

-- Adds the answer of number `count` to those that are returned; there are none for as long as all
-- are the usual one.
local function add_answer(answers, count, answer, usual)
  if answer ~= usual and not answers then
    answers = {}
    for i = 1, count - 1 do
      answers[i] = usual
    end
  end
  if answers then answers[count] = answer end
  return answers
end

-- Whether any job of the queue is watched.
local function is_watched()
  local left = number(meta(WATCHED_UNTIL), 0) - now
  return left > 0 and left <= WATCH_MS
end

-- Keeps what was counted, and tells workers and watchers; the last step of every function that
-- changes something.
local function announce()
  keep_marks()
  if wake or offered then call('SPUBLISH', root .. 'events', 'wake') end
  if moved[1] and is_watched() then
    call('SPUBLISH', root .. 'events', 'moved ' .. table.concat(moved, ' '))
  end
  if ended[1] then call('SPUBLISH', root .. 'events', 'ended ' .. table.concat(ended, ' ')) end
  if done[1] then call('SPUBLISH', root .. 'events', 'done ' .. table.concat(done, ' ')) end
end
