-- Adds jobs, or finds those that are already there.
--
-- KEYS[1]  the queue's root
-- ARGV     for each job: 1 id  2 payload  3 version  4 user  5 unique key  6 idempotency key  7 fingerprint  8 group
--          9 priority  10 max attempts  11 delay in ms  12 trace  13 more; an empty string means none
--          more is a JSON object of what few jobs have: backoff (the JSON to keep), unique_in ("completed" or "any", when
--          the unique key counts longer than the job is unfinished), period (of the unique key, in ms)
-- Returns  for each job { outcome, id }: "new"; "existing" with the id of the job that has the unique or idempotency
--          key; "conflict" when the idempotency key was used with another fingerprint.
--          Running it twice with one id adds one job, so a lost answer is safe to ask for again.
-- Cost     O(log n) of the jobs waiting, for each job

-- Makes the idempotency key answer with `job`, and that job stay for as long as it does.
local function remember(idempotency, fingerprint, job)
  if idempotency == '' then return end
  local record = root .. 'idempotency:' .. idempotency
  call('HSET', record, 'job', job, 'fingerprint', fingerprint)
  call('PEXPIRE', record, IDEMPOTENCY_MS)
  keep(job, now + IDEMPOTENCY_MS)
end

local FIELDS = 13
local count = #ARGV / FIELDS

-- A job is there already only when its script is sent again. That is asked once, for all of them.
local keys = {}
for i = 1, count do
  keys[i] = root .. 'job:' .. ARGV[(i - 1) * FIELDS + 1]
end
local sent_again = call('EXISTS', unpack(keys)) > 0

-- Places in line for all of them; those that are not used are left out.
local seat = call('HINCRBY', root .. 'meta', 'seat', count) - count
local _, rated = rate_of(true)
local limited = (limit_of(2) or 0) > 0 or rated
local in_line = {} -- score and id of those that join the line together, at the end

local function enqueue(
  key, id, payload, version, user, unique, idempotency, fingerprint, group, priority, max, delay, trace, more)
  if sent_again and call('EXISTS', key) == 1 then return { 'new', id } end

  if idempotency ~= '' then
    local known = call('HMGET', root .. 'idempotency:' .. idempotency, 'job', 'fingerprint')
    -- A job that is gone was deleted; its keys are free again.
    if known[1] and call('EXISTS', root .. 'job:' .. known[1]) == 1 then
      return { known[2] == fingerprint and 'existing' or 'conflict', known[1] }
    end
  end

  more = more ~= '' and cjson.decode(more)
  local period_end = more and more.period and now - now % more.period + more.period
  if period_end then unique = string.format('%s@%.0f', unique, period_end) end
  if unique ~= '' then
    local holder = call('GET', root .. 'unique:' .. unique)
    if holder and call('EXISTS', root .. 'job:' .. holder) == 1 then
      remember(idempotency, fingerprint, holder)
      return { 'existing', holder }
    end
    call('SET', root .. 'unique:' .. unique, id)
    if period_end then call('PEXPIREAT', root .. 'unique:' .. unique, period_end) end
  end

  local fields = {
    'payload', payload, 'version', version, 'priority', priority, 'max_attempts', max,
    'attempts', 0, 'created_at', now, 'run_at', now,
  }
  local function set(name, value)
    if value ~= '' then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  set('user', user)
  set('unique', unique)
  set('group', group)
  set('trace', trace)
  if more then
    set('backoff', more.backoff or '')
    set('unique_in', more.unique_in or '')
    set('keep_until', period_end or '')
  end
  seat = seat + 1
  if delay == '0' then
    set('state', 'available')
    set('seat', seat)
  end
  call('HSET', key, unpack(fields))
  remember(idempotency, fingerprint, id)

  if delay ~= '0' then
    park(id, 'scheduled', now + tonumber(delay))
  elseif group ~= '' or limited then
    seat_at(id, priority, group ~= '' and group, seat)
  else
    in_line[#in_line + 1] = priority * SEATS + seat
    in_line[#in_line + 1] = id
  end
  return { 'new', id }
end

local answers = {}
for i = 1, count do
  local first = (i - 1) * FIELDS + 1
  answers[i] = enqueue(keys[i], unpack(ARGV, first, first + FIELDS - 1))
end

if in_line[1] then
  call('ZADD', root .. 'available', unpack(in_line))
  if call('ZCARD', root .. 'available') == #in_line / 2 then wake = true end
end
moved = {} -- nobody can know of them yet
announce()
return answers
