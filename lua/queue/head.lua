-- The beginning of the library, behind the constants that crates/queue/src/keys.rs defines (KEEP,
-- PRIORITY, MAX_ATTEMPTS, SEATS, IDEMPOTENCY_MS, ERRORS_BYTES, CHUNK, WORKER_MS…). What the
-- functions share is built once, when the server loads it.
--
-- KEYS[1] of each function is the queue's root, "sq1:{queue}:". Every key a function touches starts
--       with it and so lies in
-- the same slot. The keys are described in crates/queue/src/keys.rs, the states in
-- crates/queue/src/lib.rs.

local NEVER = 9007199254740992 -- 2^53, as a time

-- The sets that jobs are listed in, and the states that a job may be in.
local LISTS = {
  'held',
  'newer',
  'crowded',
  'throttled',
  'available',
  'waiting',
  'scheduled',
  'retrying',
  'running',
  'completed',
  'cancelled',
  'dead',
}
local STATES = {
  waiting = true,
  scheduled = true,
  available = true,
  running = true,
  retrying = true,
  completed = true,
  cancelled = true,
  dead = true,
}

-- Of the run at hand:
local call -- redis.call, which is not there yet when the library is loaded
local try -- redis.pcall, likewise
local root
local now, now_us -- in ms, and in µs
local wake -- whether workers have something new to look for
local offered -- whether they have because the line was empty
local moved = {} -- jobs whose state changed, for whoever watches any
local ended = {} -- those among them that ended or are gone, also for whoever waits for them
local done = {} -- those that completed with nothing to be read
local known -- what was read of `meta`

local function begin(keys)
  call, try, root = redis.call, redis.pcall, keys[1]
  local time = call('TIME')
  now_us = time[1] * 1000000 + time[2]
  now = math.floor(now_us / 1000)
  wake, offered, known = false, false, nil
  if moved[1] then moved = {} end
  if ended[1] then ended = {} end
  if done[1] then done = {} end
end

-- What is kept as a number, or `default` when it is none that can be counted with: one damaged
-- field must stop no other job.
local function number(value, default)
  local it = tonumber(value)
  if it and it > -NEVER and it < NEVER then return it end
  return default
end

-- Fields of a job, and whether its key holds something else than a job. Such a one counts as gone,
-- and is listed among the dead ones, where operators see it.
local function fields(id, ...)
  local found = try('HMGET', root .. 'job:' .. id, ...)
  if not found.err then return found, false end
  call('ZADD', root .. 'dead', 'NX', now, id)
  return {}, true
end

-- A place in line is the time at which it was given out, in µs. What was given out last is
-- remembered, so that no two are the same; a server that has just started needs no more than its
-- clock.
local last_seat = 0

local function next_seat()
  last_seat = math.max(last_seat + 1, now_us - SEATS_SINCE * 1000)
  return last_seat
end

-- When a place was given out, in ms.
local function time_of(seat) return SEATS_SINCE + math.floor(number(seat, 0) / 1000) end

-- What most functions need of `meta`, read at most once: the limits of all jobs and of each user's,
-- and their rates (false means none, 0 that there was one); until when some job is kept; when the
-- next one falls due; until when a job is watched.
local LIMIT, USER_LIMIT, RATE, USER_RATE, KEPT_UNTIL, NEXT_AT, WATCHED_UNTIL = 1, 2, 3, 4, 5, 6, 7

local function meta(which)
  known = known
    or call(
      'HMGET',
      root .. 'meta',
      'limit',
      'user_limit',
      'rate',
      'user_rate',
      'kept_until',
      'next_at',
      'watched_until'
    )
  return known[which]
end

local function note_meta(which, name, value)
  if known then known[which] = value end
  call('HSET', root .. 'meta', name, value)
end

-- Sets what bounds all jobs and what bounds each user's, '' none. The latter is not deleted, for by
-- it jobs may be set aside that still have places to give up.
local function set_bounds(name, all, of_each)
  if all == '' then
    call('HDEL', root .. 'meta', name)
  else
    call('HSET', root .. 'meta', name, all)
  end
  if of_each ~= '' then
    call('HSET', root .. 'meta', 'user_' .. name, of_each)
  elseif call('HEXISTS', root .. 'meta', 'user_' .. name) == 1 then
    call('HSET', root .. 'meta', 'user_' .. name, 0)
  end
end

-- Sees to it that workers look at `at` for what falls due: before `next_at` they do not. One that
-- sleeps longer is woken.
local function look_at(at)
  local next_at = tonumber(meta(NEXT_AT) or NEVER)
  if at >= next_at then return end
  note_meta(NEXT_AT, 'next_at', at)
  wake = true
end

local PLAIN = {} -- what most jobs have besides

-- Most jobs have few fields besides payload, seat and times, and to ask for each that a job may
-- have takes longer than all else. So those that it has are noted in its field `has`, by their
-- letters in FIELDS, or as '*': any of them. `wanted` are the letters that matter to the caller,
-- and keeps the names that were looked up. Returns values by name.
local function read_more(key, has, wanted)
  if not has then return PLAIN end
  local names = wanted[has]
  if not names then
    names = {}
    for letter, name in pairs(FIELDS) do
      if
        string.find(wanted.letters, letter, 1, true)
        and (has == '*' or string.find(has, letter, 1, true))
      then
        names[#names + 1] = name
      end
    end
    wanted[has] = names
  end
  local more = {}
  if not names[1] then return more end
  for i, value in ipairs(call('HMGET', key, unpack(names))) do
    more[names[i]] = value or nil
  end
  return more
end

-- The state of a job, nil when it is gone. On the usual way it is not written: a job that has no
-- field `state` is completed when it has ended, it runs when it has a run, and else it is
-- available.
local function state_of(id)
  local is = fields(id, 'state', 'finished_at', 'run', 'seat')
  return is[1] or (is[2] and 'completed') or (is[3] and 'running') or (is[4] and 'available') or nil
end

-- Whether a run still holds the lease of a job, whose fields run, state and finished_at are given.
local function holds(run, is) return is[1] == run and not is[2] and not is[3] end

-- Makes a function of the library known to the server. Work that has begun can go on and end while
-- the server's memory is full: only a function that is defined with other flags is refused then.
local register = define
local function define(name, run, flags)
  register(name, function(keys, arguments)
    begin(keys)
    return run(arguments)
  end, flags or { 'allow-oom' })
end
