-- Adds a job, or finds the one that is already there.
--
-- KEYS[1]  the queue's root
-- ARGV     1 id  2 payload  3 version  4 user  5 unique key  6 idempotency key  7 fingerprint  8 group
--          9 priority  10 max attempts  11 delay in ms  12 trace; an empty string means none
-- Returns  { outcome, id }: "new"; "existing" with the id of the job that has the unique or idempotency key;
--          "conflict" when the idempotency key was used with another fingerprint.
--          Running it twice with one id adds one job, so a lost answer is safe to ask for again.
-- Cost     O(log n) of the jobs waiting

local id = ARGV[1]
local key = root .. 'job:' .. id
local unique, idempotency, group = ARGV[5], ARGV[6], ARGV[8]
local delay = tonumber(ARGV[11])

if call('EXISTS', key) == 1 then return { 'new', id } end

-- Makes the idempotency key answer with `job`, and that job stay for as long as it does.
local function remember(job)
  if idempotency == '' then return end
  local record = root .. 'idempotency:' .. idempotency
  call('HSET', record, 'job', job, 'fingerprint', ARGV[7])
  call('PEXPIRE', record, IDEMPOTENCY_MS)
  call('HSET', root .. 'job:' .. job, 'keep_until', now + IDEMPOTENCY_MS)
end

if idempotency ~= '' then
  local known = call('HMGET', root .. 'idempotency:' .. idempotency, 'job', 'fingerprint')
  -- A job that is gone was deleted; its keys are free again.
  if known[1] and call('EXISTS', root .. 'job:' .. known[1]) == 1 then
    return { known[2] == ARGV[7] and 'existing' or 'conflict', known[1] }
  end
end

if unique ~= '' then
  local holder = call('GET', root .. 'unique:' .. unique)
  if holder then
    remember(holder)
    return { 'existing', holder }
  end
  call('SET', root .. 'unique:' .. unique, id)
end

local fields = {
  'payload', ARGV[2], 'version', ARGV[3], 'priority', ARGV[9], 'max_attempts', ARGV[10],
  'attempts', 0, 'created_at', now, 'run_at', now,
}
local function set(name, value)
  if value ~= '' then
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
end
set('user', ARGV[4])
set('unique', unique)
set('group', group)
set('trace', ARGV[12])
call('HSET', key, unpack(fields))
remember(id)

if delay > 0 then
  park(id, 'scheduled', now + delay)
else
  line_up(id, ARGV[9], group ~= '' and group)
end
announce()
return { 'new', id }
