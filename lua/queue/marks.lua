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

-- Counts one more; kept by keep_marks.
local function mark(field) marks[field] = (marks[field] or 0) + 1 end

-- The power of two that a time is below.
local function size_of(ms)
  if ms < 1 then return 0 end
  local _, power = math.frexp(ms)
  return power
end

-- Adds what was marked to the present minute. Cost: O(1) for each field, of which a run marks one
-- or two, and runs that end together most often the same. A damaged hash stops no job.
local function keep_marks()
  local field, by = next(marks)
  if not field then return end
  local key = root .. 'minute:' .. math.floor(now / MINUTE)
  while field do
    -- A new field may mean a new key.
    if try('HINCRBY', key, field, by) == by then call('PEXPIRE', key, MINUTE_MS) end
    marks[field] = nil
    field, by = next(marks)
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
