-- Sets how fast jobs of a queue start, over all workers.
--
-- KEYS[1]  the queue's root
-- ARGV     1 rate of all jobs  2 rate of each user's jobs, as rates.lua keeps them; '' none
-- Returns  1
-- Cost     O(u log u) of the users who are held back

local meta = root .. 'meta'
if ARGV[1] == '' then call('HDEL', meta, 'rate') else call('HSET', meta, 'rate', ARGV[1]) end
if ARGV[2] ~= '' then
  call('HSET', meta, 'user_rate', ARGV[2])
elseif call('HEXISTS', meta, 'user_rate') == 1 then
  -- Not deleted, for jobs may still be set aside.
  call('HSET', meta, 'user_rate', 0)
end

-- Everybody is looked at again, by what holds now.
call('ZUNIONSTORE', root .. 'throttled_users', 1, root .. 'throttled_users', 'WEIGHTS', 0)
wake = true
announce()
return 1
