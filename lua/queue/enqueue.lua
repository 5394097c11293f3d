-- Adds jobs, or finds those that are already there.
--
-- KEYS[1]  the queue's root
-- ARGV     1 "again" when this was sent before, and may have been run; "followed" when whoever
--       sends this fetches right behind it, so that no other worker has to be woken; else ""
--       2 how many jobs the queue may have that have not ended  3 for how many there has to be
--       room, so that any is added: 1 when each job stands by itself. Then for each job:
--       1 id  2 payload  3 how many arguments follow for it, which are names and values by turns:
--       those of its fields that are not as most jobs have them (version user group priority
--       max_attempts trace unique backoff turn label), and
--          delay       in ms
--          run_at      not before, in ms since 1970; the past means at once
--          idempotency, fingerprint
--          unique_in   "completed" or "any": the unique key counts longer than the job is unfinished
--          period      of the unique key, in ms
--          frees_memory   "1" when it is added also where there is no room
--          batch       that it belongs to
--          next, previous   of its chain; a job with a previous one waits for it
--          on_end or on_success: "1", and callback_of: the batch, which is there from then on; the
--          job waits for it
-- Returns  1 when all of them are new; else for each job 1 when it is, or { outcome, id }:
--       "existing" with the id of the job that has the unique or idempotency key; "conflict" when
--       the idempotency key was used with another fingerprint; "ended" with its batch when that has
--       ended, or is gone; "skipped" when the job before it in its chain was not added; "full" when
--       there is no room. Running it twice with one id adds one job, so a lost answer is safe to
--       ask for again.
-- Cost     O(log n) of the jobs waiting, for each job

-- Not fields, but what is to be done.
local INSTRUCTIONS = {
  delay = true,
  run_at = true,
  idempotency = true,
  fingerprint = true,
  period = true,
  frees_memory = true,
  on_end = true,
  on_success = true,
}

local FULL = { 'full', '' }

-- Where jobs are that have not ended, but for those in line and those that run.
local ASIDE = { 'held', 'newer', 'crowded', 'throttled', 'waiting', 'scheduled', 'retrying' }

-- How many jobs a list has. A damaged one counts as empty: it must stop no other job.
local function size(list)
  local count = try('ZCARD', list)
  return type(count) == 'number' and count or 0
end

-- How many jobs have not ended. Those that run count, so that whatever happens to a job until it
-- ends needs no room. Cost: O(1), of three commands where no job is aside.
local function backlog()
  local lists = {}
  for i, name in ipairs(ASIDE) do
    lists[i] = root .. name
  end
  local count = size(root .. 'available') + size(root .. 'running')
  if call('EXISTS', unpack(lists)) > 0 then
    for _, list in ipairs(lists) do
      count = count + size(list)
    end
  end
  return count
end

-- Of the run at hand: score and id of those that join the line together, at the end, and how many
-- values that are. The table is used again and again.
local in_line, joined = {}, 0

-- What stands in line by itself, with nothing to look up.
local function join(id, priority, seat)
  in_line[joined + 1] = priority * SEATS + seat
  in_line[joined + 2] = id
  joined = joined + 2
end

-- Notes until when some job has to be kept: until then forgetting must look.
local function note_kept(until_ms)
  if until_ms > tonumber(meta(KEPT_UNTIL) or 0) then
    note_meta(KEPT_UNTIL, 'kept_until', until_ms)
  end
end

-- Sees to it that a job is kept until then at least, also after it has ended.
local function keep(id, until_ms)
  local key = root .. 'job:' .. id
  if until_ms > tonumber(call('HGET', key, 'keep_until') or 0) then
    call('HSET', key, 'keep_until', until_ms)
    call('PEXPIREAT', key, until_ms, 'GT') -- in case it is on its way out
    note_kept(until_ms)
  end
end

-- Makes the idempotency key answer with `job`, and that job stay for as long as it does.
local function remember(options, job)
  if not options.idempotency then return end
  local record = root .. 'idempotency:' .. options.idempotency
  call('HSET', record, 'job', job, 'fingerprint', options.fingerprint)
  call('PEXPIRE', record, IDEMPOTENCY_MS)
  keep(job, now + IDEMPOTENCY_MS)
end

-- The answer of an earlier job that counts as the same, if there is one.
local function find(options)
  if options.idempotency then
    local record = root .. 'idempotency:' .. options.idempotency
    local known = try('HMGET', record, 'job', 'fingerprint')
    if known.err then
      call('UNLINK', record)
      known = {}
    end
    -- A job that is gone was deleted; its keys are free again.
    if known[1] and call('EXISTS', root .. 'job:' .. known[1]) == 1 then
      return { known[2] == options.fingerprint and 'existing' or 'conflict', known[1] }
    end
  end
  if options.unique then
    local holder = try('GET', root .. 'unique:' .. options.unique)
    if type(holder) == 'string' and call('EXISTS', root .. 'job:' .. holder) == 1 then
      remember(options, holder)
      return { 'existing', holder }
    end
  end
end

-- Why a new job cannot be added: there is no room for it. One that is later in a chain goes where
-- the first one went.
local function refusal(options, room)
  if options.previous then
    local previous = call('EXISTS', root .. 'job:' .. options.previous) == 1
    return not previous and { 'skipped', '' } or nil
  end
  return room <= 0 and not options.frees_memory and FULL or nil
end

-- Makes the job one of its batch's jobs, and a callback known to its batch. Returns the answer why
-- that cannot be, or none.
local function link(id, options)
  local batch = options.batch or options.callback_of
  if not batch then return end
  local key = root .. 'batch:' .. batch
  local is = call('HMGET', key, 'created_at', 'closed_at', 'ended_at')
  if options.callback_of then
    call('HSET', key, 'created_at', now, options.on_end and 'on_end' or 'on_success', id)
  elseif not is[1] or is[3] then
    return { 'ended', batch }
  else
    call('HINCRBY', key, 'jobs', 1)
  end
  if not is[2] then call('PEXPIRE', key, BATCH_MS) end
end

-- Adds a job that is not as most are.
local function add(key, id, payload, options, room)
  local period = tonumber(options.period)
  if period then
    options.keep_until = now - now % period + period
    options.unique = string.format('%s@%.0f', options.unique, options.keep_until)
  end
  local answer = find(options) or refusal(options, room) or link(id, options)
  if answer then return answer end
  if options.unique then
    call('SET', root .. 'unique:' .. options.unique, id)
    if period then call('PEXPIREAT', root .. 'unique:' .. options.unique, options.keep_until) end
  end

  local fields = { 'payload', payload }
  local function set(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  for name, value in pairs(options) do
    if not INSTRUCTIONS[name] then set(name, value) end
  end
  local waits = options.previous or options.callback_of
  local due = options.delay and now + options.delay or tonumber(options.run_at or 0)
  local seat
  if waits then
    set('state', 'waiting')
    set('delay', options.delay or 0)
    if options.run_at then set('run_at', options.run_at) end
  end
  if waits or due > now then
    set('created_at', now)
    if due > now and options.delay and not waits then set('delay', options.delay) end
  else
    seat = next_seat()
    set('seat', seat)
  end
  call('HSET', key, unpack(fields))
  if period then note_kept(options.keep_until) end
  remember(options, id)

  if waits then
    call('ZADD', root .. 'waiting', now, id)
  elseif due > now then
    park(id, 'scheduled', due)
  elseif options.group or options.user or options.turn then
    seat_at(id, options.priority, options.group, seat)
  else
    join(id, options.priority or PRIORITY, seat)
  end
  return 1
end

local function enqueue(ARGV)
  local sent_again, followed = ARGV[1] == 'again', ARGV[1] == 'followed'
  joined = 0

  local room = ARGV[2] - backlog()
  if room < tonumber(ARGV[3]) then room = 0 end
  local count, answers, at = 0, nil, 4
  while ARGV[at] do
    local id, payload, more = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local key = root .. 'job:' .. id
    local answer = 1
    local is_there = sent_again and call('EXISTS', key) == 1
    if is_there then
      -- As new as it was then.
    elseif more ~= '0' then
      local options = {}
      for option = at + 3, at + 2 + more, 2 do
        options[ARGV[option]] = ARGV[option + 1]
      end
      answer = add(key, id, payload, options, room)
    elseif room > 0 then
      local seat = next_seat()
      call('HSET', key, 'payload', payload, 'seat', seat)
      join(id, PRIORITY, seat)
    else
      answer = FULL
    end
    count = count + 1
    if answer == 1 and not is_there then room = room - 1 end
    answers = add_answer(answers, count, answer, 1)
    at = at + 3 + more
  end

  if joined > 0 then
    call('ZADD', root .. 'available', unpack(in_line, 1, joined))
    offered = offered or not followed and call('ZCARD', root .. 'available') == joined / 2
  end
  if moved[1] then moved = {} end -- no watcher can know of them yet
  if followed then offered = false end
  announce()
  return answers or 1
end

-- New work has to wait while the server's memory is full …
define('enqueue', enqueue, {})
-- … unless it frees some.
define('enqueue_when_full', enqueue)
