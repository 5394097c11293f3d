-- How much a queue did, minute by minute: what its charts are drawn from.
--
-- A minute is a hash `minute:<minutes since 1970>` of counts, and ten of them, once they are over,
-- are added to `tens:<tens of minutes since 1970>`. So an hour and a day are there, in a bounded
-- number of small hashes, and what happens is counted once. A field is a letter, and where that has
-- a time the power of two that the time is below, in ms:
--       w<power>  a run began, so long after the job could have
--       c<power>  a run completed its job, after so long
--       r<power>  the same, and the answer was "no"
--       f<power>  a run failed; without a power, it was lost
--       d         a job died
--       x         a job was cancelled

local MINUTE = 60000

-- What was marked and not yet kept, by root and field, and when that was last done. It is kept once
-- a second: a server that is killed loses a second of it.
local pending, kept_at = {}, {}

-- The fields with a power, by letter and power, as they are first asked for.
local names = { w = {}, c = {}, r = {}, f = {} }

local function field(letter, power)
  local name = names[letter][power]
  if not name then
    name = letter .. power
    names[letter][power] = name
  end
  return name
end

-- Counts one more.
local function mark(name)
  local marks = pending[root]
  if not marks then
    marks = {}
    pending[root] = marks
  end
  marks[name] = (marks[name] or 0) + 1
end

-- The power of two that a time is below.
local function size_of(ms)
  if ms < 1 then return 0 end
  local _, power = math.frexp(ms)
  return power
end

-- Adds what was marked to the present minute. Cost: O(1) for each field, once a second. A damaged
-- hash stops no job.
local function keep_marks()
  local marks, last = pending[root], kept_at[root] or 0
  if not marks or (now - last < 1000 and now >= last) then return end
  kept_at[root] = now
  pending[root] = nil
  local key = root .. 'minute:' .. math.floor(now / MINUTE)
  for name, by in pairs(marks) do
    -- A new field may mean a new key.
    if try('HINCRBY', key, name, by) == by then call('PEXPIRE', key, MINUTE_MS) end
  end
end

-- Adds the minutes that are over to their tens, each once. Cost: O(1) within a minute, O(60) once
-- in each.
local function roll_up(rolled)
  local minute = math.floor(now / MINUTE)
  if rolled == minute then return end
  if rolled < minute then
    for past = math.max(rolled, minute - 60), minute - 1 do
      local counted = try('HGETALL', root .. 'minute:' .. past)
      local key = root .. 'tens:' .. math.floor(past / 10)
      for i = 1, #counted, 2 do
        try('HINCRBY', key, counted[i], counted[i + 1])
      end
      if counted[1] then call('PEXPIRE', key, TENS_MS) end
    end
  end
  call('HSET', root .. 'meta', 'rolled_minute', minute)
end
