-- The beginning of the library, behind the constants that queue/src/keys.rs defines (KEEP, PRIORITY, MAX_ATTEMPTS,
-- IDEMPOTENCY_MS, ERRORS_BYTES, CHUNK, WORKER_MS…). What the functions share is built once, when the server loads it.
--
-- KEYS[1] of each function is the queue's root, "sq1:{queue}:". Every key a function touches starts with it and so lies in
-- the same slot. The keys are described in queue/src/keys.rs, the states in queue/src/lib.rs.

local SEATS = 281474976710656  -- 2^48 places per priority; priority 9 still fits a double exactly
local NEVER = 9007199254740992 -- 2^53, as a time

-- Of the run at hand:
local call      -- redis.call, which is not there yet when the library is loaded
local root, now -- now in ms
local wake      -- whether workers have something new to look for
local offered   -- whether they have because the line was empty
local moved     -- jobs whose state changed, for whoever watches any
local ended     -- those among them that ended or are gone, also for whoever waits for them
local done      -- those that completed with nothing to be read
local known     -- what was read of `meta`

local function begin(keys)
  call, root = redis.call, keys[1]
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
  wake, offered, moved, ended, done, known = false, false, {}, {}, {}, nil
end

-- What most functions need of `meta`, read at most once: the limits of all jobs and of each user's, and their rates (false
-- means none, 0 that there was one); until when some job is kept; when the next one falls due; until when somebody watches.
local LIMIT, USER_LIMIT, RATE, USER_RATE, KEPT_UNTIL, NEXT_AT, WATCHED_UNTIL = 1, 2, 3, 4, 5, 6, 7

local function meta(which)
  known = known or call(
    'HMGET', root .. 'meta', 'limit', 'user_limit', 'rate', 'user_rate', 'kept_until', 'next_at',
    'watched_until')
  return known[which]
end

local function note_meta(which, name, value)
  if known then known[which] = value end
  call('HSET', root .. 'meta', name, value)
end

-- Sets what bounds all jobs and what bounds each user's, '' none. The latter is not deleted, for by it jobs may be set aside
-- that still have places to give up.
local function set_bounds(name, all, of_each)
  if all == '' then call('HDEL', root .. 'meta', name) else call('HSET', root .. 'meta', name, all) end
  if of_each ~= '' then
    call('HSET', root .. 'meta', 'user_' .. name, of_each)
  elseif call('HEXISTS', root .. 'meta', 'user_' .. name) == 1 then
    call('HSET', root .. 'meta', 'user_' .. name, 0)
  end
end

-- Sees to it that workers look at `at` for what falls due: before `next_at` they do not. One that sleeps longer is woken.
local function look_at(at)
  local next_at = tonumber(meta(NEXT_AT) or NEVER)
  if at >= next_at then return end
  note_meta(NEXT_AT, 'next_at', at)
  wake = true
end

local PLAIN = {} -- what most jobs have besides

-- Most jobs have few fields besides payload, state and times, and to ask for each that a job may have takes longer than all
-- else. So those that it has are noted in its field `has`, by their letters in FIELDS, or as '*': any of them. `wanted` are
-- the letters that matter to the caller, and keeps the names that were looked up. Returns values by name.
local function read_more(key, has, wanted)
  if not has then return PLAIN end
  local names = wanted[has]
  if not names then
    names = {}
    for letter, name in pairs(FIELDS) do
      if string.find(wanted.letters, letter, 1, true) and (has == '*' or string.find(has, letter, 1, true)) then
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

-- Makes a function of the library known to the server.
local function define(name, run)
  redis.register_function(LIBRARY .. '_' .. name, function(keys, arguments)
    begin(keys)
    return run(arguments)
  end)
end
