-- Moves what is due, rescues what was abandoned, and leases up to n jobs to a worker: by priority,
-- then first come first served. The attempts of lost workers are counted here, so that a crash
-- counts, too. A paused queue leases nothing, one with a limit or a rate no more than that; jobs of
-- users who have no place left, or have used up their rate, are set aside.
--
-- KEYS[1]  the queue's root
-- ARGV     1 n (0: housekeeping only)  2 worker  3 instance of the worker, at times ('' else): it
--       counts as alive
--       4 lease in ms  5 token of this fetch
--       6 "1" when a fetch with this token was sent before and its answer got lost, else "0"
--       7 highest payload version that the worker knows; newer jobs are set aside for a newer
--       worker
--       8 "1" when jobs were added of which this worker alone knows, else "0"
--       9 how many leases in a row a job may lose before it is dead
-- Returns  { ms until the next job is due or lease runs out (-1: none), rescued, buried, set aside,
--       mended, damaged, run, { job... } } with each job as "<id> <seat>", payload; or as "<id>
--       <seat> <n>", payload, and n names and values by turns of other fields that it has and a
--       worker needs. Before the jobs: what their field `run` is, by which they are ended
-- Cost     O(log n) for each job moved; at most CHUNK are promoted, retried, rescued and forgotten
--       each, and set aside about as many; a step of reconcile.lua now and then; O(jobs that run)
--       after a lost answer. While nothing falls due, only what is leased costs something

-- What a worker gets of a job that has it.
local WANTED = { letters = 'vumbticrkw' }

-- Which of its fields are numbers.
local NUMBERS = { 'version', 'max_attempts', 'attempts', 'run_at' }

-- What a lost answer leased was never started: it goes back as if it had not been fetched.
local function put_back_lost(token)
  for _, id in ipairs(call('ZRANGE', root .. 'running', 0, -1)) do
    local job = fields(id, 'run', 'priority', 'seat')
    if job[1] and string.find(job[1], '/' .. token .. '/', 1, true) then
      call('ZREM', root .. 'running', id)
      put_back(id, job[2], job[3])
    end
  end
end

-- The first CHUNK of a set that are due.
local function due(set)
  return call('ZRANGE', root .. set, '-inf', now, 'BYSCORE', 'LIMIT', 0, CHUNK)
end

-- When the first of a set is due.
local function first_of(set)
  return tonumber(call('ZRANGE', root .. set, 0, 0, 'WITHSCORES')[2] or NEVER)
end

-- An entry whose job is gone (its key was deleted by hand) is dropped wherever it turns up: it must
-- not stop the others.
local function promote()
  -- A delayed job joins the line, and its group, when it becomes due.
  for _, id in ipairs(due('scheduled')) do
    local job = fields(id, 'state', 'priority', 'group')
    call('ZREM', root .. 'scheduled', id)
    if job[1] then line_up(id, job[2], job[3]) end
  end
  -- A retried one goes back to the place it had; it stayed at the head of its group.
  for _, id in ipairs(due('retrying')) do
    local job = fields(id, 'priority', 'seat')
    call('ZREM', root .. 'retrying', id)
    if job[2] then put_back(id, job[1], job[2]) end
  end
end

-- Takes away jobs whose lease ran out. One that lost `losses` in a row, whatever its attempts,
-- probably ends its workers, and is dead. Returns how many go back in line, and how many are dead.
local function rescue(losses)
  local rescued, buried = 0, 0
  for _, id in ipairs(due('running')) do
    local key = root .. 'job:' .. id
    local job = fields(
      id,
      'priority',
      'seat',
      'group',
      'unique',
      'batch',
      'next',
      'max_attempts',
      'cancel',
      'run',
      'losses'
    )
    local runs = state_of(id) == 'running'
    call('ZREM', root .. 'running', id)
    if runs then
      call('HDEL', key, 'run')
      local attempts = count_attempt(id)
      local lost = number(job[10], 0) + 1
      call('HSET', key, 'losses', lost)
      local worker = string.match(job[9] or '', '/.-/(.*)') or '?'
      local last = lost >= losses
          and string.format('; it lost %d in a row, and probably ends its workers', lost)
        or ''
      mark('f')
      note(id, attempts, 'the lease of worker ' .. worker .. ' ran out' .. last)
      if job[8] then
        conclude(id, 'cancelled', job[3], job[4], job[5], job[6])
      elseif lost >= losses or attempts >= number(job[7], MAX_ATTEMPTS) then
        buried = buried + 1
        conclude(id, 'dead', job[3], job[4], job[5], job[6])
      else
        rescued = rescued + 1
        put_back(id, job[1], job[2])
      end
    end
  end
  return rescued, buried
end

-- Users whom the rate lets go on: as many of their jobs as may start join the line, at its end. So
-- users take turns.
local function let_go_on(user_rate)
  for _, user in ipairs(due('throttled_users')) do
    local line = root .. 'throttled:' .. user
    local may, next_at = CHUNK, now
    if user_rate then
      may, next_at = allowance(user_rate, user)
    end
    if may > CHUNK then
      may, next_at = CHUNK, now
    end
    call('ZREM', root .. 'throttled_users', user)
    local ids = may > 0 and call('ZPOPMIN', line, may) or {}
    for i = 1, #ids, 2 do
      call('ZREM', root .. 'throttled', ids[i])
      local job = fields(ids[i], 'seat', 'priority')
      if job[1] then offer(ids[i], job[2], next_seat()) end
    end
    if call('EXISTS', line) == 1 then call('ZADD', root .. 'throttled_users', next_at, user) end
  end
end

-- What an older worker set aside goes back to its place.
local function bring_back(version, count)
  for _, id in
    ipairs(call('ZRANGE', root .. 'newer', '-inf', version, 'BYSCORE', 'LIMIT', 0, count))
  do
    local job = fields(id, 'priority', 'seat')
    call('ZREM', root .. 'newer', id)
    if job[2] then offer(id, job[1], job[2]) end
  end
end

-- Whether the rate lets a job of a user start, which then counts. Else it is set aside.
local function may_start(id, user, score, user_rate)
  if not user then return true end
  local may, next_at = allowance(user_rate, user)
  if may > 0 then
    spend(user_rate, user, { id })
    return true
  end
  throttle(id, user, score, next_at)
  return false
end

-- Why a job cannot be handed to a worker as it is kept, if so.
local function damage(job, more)
  if not job[1] then return 'it has no payload' end
  if not job[2] or string.find(job[2], '%D') then return 'its field seat is not a number' end
  if more == PLAIN then return nil end
  for _, name in ipairs(NUMBERS) do
    if more[name] and not number(more[name]) then
      return 'its field ' .. name .. ' is not a number'
    end
  end
end

-- Appends what goes out of a job to `rows`, which has `last` values. Returns how many it has then.
local function add_row(rows, last, id, job, more)
  local head, first = id .. ' ' .. (job[2] or 0), last + 1
  rows[first], rows[first + 1] = head, job[1]
  last = first + 1
  if more == PLAIN then return last end
  for name, value in pairs(more) do
    rows[last + 1], rows[last + 2] = name, value
    last = last + 2
  end
  rows[first] = head .. ' ' .. last - first - 1
  return last
end

-- Leases up to `want` jobs. Returns their rows, how many they are, how many were set aside: newer
-- ones, and throttled ones, and all; and how many cannot be run.
local function lease_next(want, version, run, lease, rate, user_rate)
  local rows, last, leased, started, count = {}, 0, {}, {}, 0
  local newer, throttled, aside, damaged = 0, 0, 0, 0
  local prefix, until_ms = root .. 'job:', now + lease
  local limited = user_limit()
  while count < want and aside < CHUNK do
    local asked, passed, looks_on = want - count, aside, false
    local popped = call('ZPOPMIN', root .. 'available', asked)
    for i = 1, #popped, 2 do
      local id = popped[i]
      local key = prefix .. id
      local job, unreadable = fields(id, 'payload', 'seat', 'has', 'state')
      local more = read_more(key, job[3], WANTED)
      local wrong = damage(job, more)
      local party = more.turn or more.user
      if unreadable then
        damaged, aside = damaged + 1, aside + 1
      elseif wrong then
        -- Without any field, it was deleted by hand.
        if call('EXISTS', key) == 1 then
          bury(id, wrong)
          damaged, aside = damaged + 1, aside + 1
        end
      elseif more.version and number(more.version) > version then
        newer, aside = newer + 1, aside + 1
        call('ZADD', root .. 'newer', more.version, id)
        give_up_place(id)
      elseif limited and party and not take_place(id) then
        -- It was in line without a place: the limit was set after it joined.
        aside = aside + 1
        crowd(id, party, popped[i + 1])
      elseif user_rate and not may_start(id, more.user, popped[i + 1], user_rate) then
        throttled, aside = throttled + 1, aside + 1
      else
        call('HSET', key, 'run', run)
        if job[4] then call('HDEL', key, 'state') end
        count = count + 1
        started[count] = id
        leased[2 * count - 1], leased[2 * count] = until_ms, id
        mark(field('w', size_of(now - (tonumber(more.run_at) or SEATS_SINCE + job[2] / 1000))))
        last = add_row(rows, last, id, job, more)
        if party and not limited then
          give_up_turn(id, party)
          looks_on = true
        end
      end
      looks_on = looks_on or aside > passed
    end
    -- The line is at its end, unless what started or was set aside let others join it.
    if #popped == 0 or (#popped < 2 * asked and not looks_on) then break end
  end
  if count > 0 then
    call('ZADD', root .. 'running', unpack(leased))
    if rate then spend(rate, nil, started) end
    for i = 1, is_watched() and count or 0 do
      moved[#moved + 1] = started[i]
    end
  end
  return rows, count, newer, throttled, aside, damaged
end

-- A change of the server's clock, or another server with a clock behind, leaves marks in the
-- future. What counts from a moment that the queue passed before is moved back by as much as the
-- clock was, so that it is due when it would have been: leases, pauses between attempts, delays. A
-- time that a job is to run at stays. Cost: O(n log n) of the retrying and delayed jobs.
local function set_back(by, longest)
  call('ZREMRANGEBYSCORE', root .. 'workers', now + 1, '+inf')
  call('ZUNIONSTORE', root .. 'throttled_users', 1, root .. 'throttled_users', 'WEIGHTS', 0)
  for _, set in ipairs({ 'running', 'retrying', 'scheduled' }) do
    local listed = call('ZRANGE', root .. set, 0, -1, 'WITHSCORES')
    for i = 1, #listed, 2 do
      local id, due_at = listed[i], math.max(tonumber(listed[i + 1]) - by, 0)
      if set == 'running' then
        call('ZADD', root .. set, math.min(due_at, now + longest), id)
      elseif set == 'retrying' or fields(id, 'delay')[1] then
        call('ZADD', root .. set, due_at, id)
        call('HSET', root .. 'job:' .. id, 'run_at', string.format('%.0f', due_at))
      end
    end
  end
end

-- No lease is longer than the longest that any worker of the queue asks for.
local function cut_leases(longest)
  local long =
    call('ZRANGE', root .. 'running', '(' .. now + longest, '+inf', 'BYSCORE', 'LIMIT', 0, CHUNK)
  for _, id in ipairs(long) do
    call('ZADD', root .. 'running', now + longest, id)
  end
end

define('fetch', function(ARGV)
  local want, worker, lease, token = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[4]), ARGV[5]
  local version, losses = tonumber(ARGV[7]), tonumber(ARGV[9])
  local run = string.format('%.0f/%s/%s', now, token, worker)

  known = call(
    'HMGET',
    root .. 'meta',
    'limit',
    'user_limit',
    'rate',
    'user_rate',
    'kept_until',
    'next_at',
    'watched_until',
    'fetched_at',
    'rescue_after',
    'paused_at',
    'reconciled_at',
    'lease',
    'rolled_minute'
  )
  local limit, rate, next_at = tonumber(known[LIMIT]), known[RATE], number(known[NEXT_AT])
  local throttled_ever = known[USER_RATE]
  local user_rate = throttled_ever ~= '0' and throttled_ever
  local fetched_at, rescue_after = number(known[8]), number(known[9], 0)
  local paused, reconciled_at, longest = known[10], number(known[11]), number(known[12], 0)
  if lease > longest then
    longest = lease
    call('HSET', root .. 'meta', 'lease', lease)
  end

  wake = ARGV[8] == '1'
  if ARGV[3] ~= '' then call('ZADD', root .. 'workers', now, ARGV[3]) end
  if ARGV[6] == '1' then put_back_lost(token) end

  local was_set_back = fetched_at and fetched_at - now > CLOCK_SLACK_MS
  if was_set_back then set_back(fetched_at - now, longest) end
  -- A mark in the future says nothing.
  if fetched_at and fetched_at > now then fetched_at = nil end
  if reconciled_at and reconciled_at > now then reconciled_at = nil end
  if rescue_after > now + longest then rescue_after = 0 end

  -- When no worker fetched for longer than a lease, it was probably the server that was away, not
  -- the workers. They get half a lease to extend theirs before anything is taken from them.
  if fetched_at and now - fetched_at > lease then
    rescue_after = now + math.floor(lease / 2)
    call('HSET', root .. 'meta', 'rescue_after', rescue_after)
  end
  if now - (fetched_at or 0) >= lease / 20 then call('HSET', root .. 'meta', 'fetched_at', now) end

  -- Now and then also what somebody brought about who did not say so in `next_at`.
  local keeps_house = not reconciled_at or now - reconciled_at >= RECONCILE_MS
  local looks = was_set_back or keeps_house or not next_at or now >= next_at
  local rescued, buried, mended = 0, 0, 0
  if looks then
    promote()
    if now >= rescue_after then
      rescued, buried = rescue(losses)
    end
    if throttled_ever then let_go_on(user_rate) end
  end
  if keeps_house then
    call('ZREMRANGEBYSCORE', root .. 'workers', '-inf', now - 10 * WORKER_MS)
    for state in pairs(KEEP) do
      trim(state)
    end
    cut_leases(longest)
    roll_up(number(known[13], 0))
    mended = reconcile(lease)
  end

  if paused then want = 0 end
  if limit then
    want = math.min(want, limit - call('ZCARD', root .. 'running'))
    -- Runs that were taken away left room for others, too.
    wake = wake or rescued + buried > 0
  end
  local next_start
  if rate and want > 0 then
    local may, later = allowance(rate)
    if may < want then
      want, next_start = may, later
    end
  end
  if want > 0 then bring_back(version, want) end
  local rows, count, newer, throttled, aside, damaged =
    lease_next(want, version, run, lease, rate, user_rate)

  -- When to look for what falls due. Throttling may have brought it forward.
  if looks then
    next_at = math.min(
      first_of('scheduled'),
      first_of('retrying'),
      math.max(first_of('running'), rescue_after)
    )
    if throttled_ever then next_at = math.min(next_at, first_of('throttled_users')) end
  else
    next_at = number(known[NEXT_AT], NEVER)
    if count > 0 then next_at = math.min(next_at, now + lease) end
  end
  if next_at ~= tonumber(known[NEXT_AT]) then note_meta(NEXT_AT, 'next_at', next_at) end

  local look_again = next_at
  if next_start and call('ZCARD', root .. 'available') > 0 then
    look_again = math.min(look_again, next_start)
  end
  -- This worker has more to look through, behind what it set aside.
  if count < want and aside >= CHUNK then look_again = now end

  -- Others need to know only of what this worker left, and of what it may have no place for when it
  -- is due.
  wake = newer > 0
    or (throttled > 0 and count == want)
    or ((wake or offered) and not paused and call('ZCARD', root .. 'available') > 0)
  offered = false
  announce()
  local next_in = look_again < NEVER and math.ceil(math.max(look_again - now, 0)) or -1
  return { next_in, rescued, buried, newer, mended, damaged, run, rows }
end)
