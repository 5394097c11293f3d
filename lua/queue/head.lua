-- The beginning of every script of a queue, after the constants that queue/src/keys.rs defines (KEEP, PRIORITY,
-- MAX_ATTEMPTS, IDEMPOTENCY_MS, ERRORS_BYTES, CHUNK, WORKER_MS…).
--
-- KEYS[1] is the queue's root, "sq1:{queue}:". Every key a script touches starts with it and so lies in the same
-- slot. The keys are described in queue/src/keys.rs, the states in queue/src/lib.rs.

local call = redis.call
local root = KEYS[1]
local SEATS = 281474976710656 -- 2^48 places per priority; priority 9 still fits a double exactly

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local wake = false -- workers have something new to look for
local moved = {}   -- jobs whose state changed, for whoever watches them

local ended = {}   -- those among them that ended or are gone, also for whoever waits for them

-- Once read: the limits of all jobs (1) and of each user's (2), and their rates (3, 4). False means none, 0 that there was
-- one.
local limits

local function limit_of(which)
  limits = limits or call('HMGET', root .. 'meta', 'limit', 'user_limit', 'rate', 'user_rate')
  return tonumber(limits[which])
end
