-- Sets how fast jobs of a queue start, over all workers.
--
-- KEYS[1]  the queue's root
-- ARGV     1 rate of all jobs  2 rate of each user's jobs, as rates.lua keeps them; '' none
-- Returns  1
-- Cost     O(u log u) of the users who are held back

define('rate', function(ARGV)
  local key = root .. 'meta'
  if ARGV[1] == '' then call('HDEL', key, 'rate') else call('HSET', key, 'rate', ARGV[1]) end
  if ARGV[2] ~= '' then
    call('HSET', key, 'user_rate', ARGV[2])
  elseif call('HEXISTS', key, 'user_rate') == 1 then
    -- Not deleted, for jobs may still be set aside.
    call('HSET', key, 'user_rate', 0)
  end

  -- Everybody is looked at again, by what holds now.
  call('ZUNIONSTORE', root .. 'throttled_users', 1, root .. 'throttled_users', 'WEIGHTS', 0)
  look_at(0)
  wake = true
  announce()
  return 1
end)
