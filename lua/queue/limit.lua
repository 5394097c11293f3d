-- Limits how many jobs of a queue run at a time, over all workers.
--
-- KEYS[1]  the queue's root
-- ARGV     1 limit of all jobs  2 limit of each user's jobs; '' none
-- Returns  1
-- Cost     O(1)

for i, field in ipairs({ 'limit', 'user_limit' }) do
  if ARGV[i] == '' then
    call('HDEL', root .. 'meta', field)
  else
    call('HSET', root .. 'meta', field, ARGV[i])
  end
end
wake = true
announce()
return 1
