-- One step of an operation on all jobs of a state, or on those that a filter means.
--
-- KEYS[1]  the queue's root
-- ARGV     1 operation of operations.lua  2 the set that is walked  3 user ('' any)
--       4 text that the error of the last attempt, or of the refusal, contains ('' any)
--       5 when the walk began ('' now): jobs that were added or ended later are left out, so that
--       it ends
--       6 score and 7 id of the last job of the step before ('' none)
--       8 text that the job's id, user, group, unique key or last error contains ('' any)
--       9 the action, by which it can be undone ('' none)
-- Returns  { jobs done, how many were left alone since another job has their unique key, when the
--       walk began, score and id of the last job looked at ('' when the set is at its end) }
-- Cost     O(log n) for each of the CHUNK jobs it looks at

-- Whether the walk is about this job: it was there, as it is now, when that began.
local function was_there(id, began)
  local job = fields(id, 'finished_at', 'created_at', 'seat')
  local since = number(job[1]) or number(job[2]) or (job[3] and time_of(job[3])) or 0
  -- A time to come was written before the clock was set back.
  return since <= began or since > now
end

define('sweep', function(ARGV)
  local operation, set, user, text = operations[ARGV[1]], root .. ARGV[2], ARGV[3], ARGV[4]
  local began = ARGV[5] ~= '' and tonumber(ARGV[5]) or now
  local score, last, any, action = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

  -- The last job may have left the set, or be back in another place. A bookmark that sorts right
  -- behind it, put there for a moment, tells where to go on.
  local from = 0
  if last ~= '' then
    local bookmark = last .. '!'
    call('ZADD', set, score, bookmark)
    from = call('ZRANK', set, bookmark)
    call('ZREM', set, bookmark)
  end

  local done, taken = 0, 0
  local page = call('ZRANGE', set, from, from + CHUNK - 1, 'WITHSCORES')
  for i = 1, #page, 2 do
    last, score = page[i], page[i + 1]
    local meant = was_there(last, began) and is_meant(last, user, text, any)
    local answer = meant and operation(last, action)
    if answer == 'done' then done = done + 1 end
    if answer == 'key_taken' then taken = taken + 1 end
  end
  announce()
  if #page < 2 * CHUNK then last = '' end
  return { done, taken, began, score, last }
end)
