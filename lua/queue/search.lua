-- One step of a search through the jobs of a state, the newest first.
--
-- KEYS[1]  the queue's root
-- ARGV     1 the set that is walked  2 user ('' any)  3 text that the last error contains ('' any)
--       4 text that the job's id, user, group, unique key or last error contains ('' any)
--       5 score and 6 id of the last job of the step before ('' none)  7 how many jobs are wanted
-- Returns  { { jobs found }, how many were looked at, score and id of the last of them ('' when the
--       set is at its end) }
-- Cost     O(log n + CHUNK)

define('search', function(ARGV)
  local set, score, last = root .. ARGV[1], ARGV[5], ARGV[6]
  local user, error, text, wanted = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[7])
  local from = 0
  if last ~= '' then
    -- Where that job was, should it have left.
    local rank = call('ZREVRANK', set, last)
    from = rank and rank + 1 or call('ZCOUNT', set, '(' .. score, '+inf')
  end
  local page = call('ZREVRANGE', set, from, from + CHUNK - 1, 'WITHSCORES')
  local found, looked_at = {}, 0
  while looked_at < #page / 2 and #found < wanted do
    last, score = page[2 * looked_at + 1], page[2 * looked_at + 2]
    looked_at = looked_at + 1
    if is_meant(last, user, error, text) then found[#found + 1] = last end
  end
  if looked_at == #page / 2 and looked_at < CHUNK then
    score, last = '', ''
  end
  return { found, looked_at, score, last }
end, { 'no-writes' })
