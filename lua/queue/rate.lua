-- Sets how fast jobs of a queue start, over all workers.
--
-- KEYS[1]  the queue's root
-- ARGV     1 rate of all jobs  2 rate of each user's jobs, as rates.lua keeps them; '' none
-- Returns  1
-- Cost     O(u log u) of the users who are held back

define('rate', function(ARGV)
  set_bounds('rate', ARGV[1], ARGV[2])

  -- Everybody is looked at again, by what holds now.
  call('ZUNIONSTORE', root .. 'throttled_users', 1, root .. 'throttled_users', 'WEIGHTS', 0)
  look_at(0)
  wake = true
  announce()
  return 1
end)
