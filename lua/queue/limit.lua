-- Limits how many jobs of a queue run at a time, over all workers.
--
-- KEYS[1]  the queue's root
-- ARGV     1 limit of all jobs  2 limit of each user's jobs; '' none
-- Returns  1
-- Cost     O(log n) for each of the CHUNK jobs that it lets join the line at most, for each user

define('limit', function(ARGV)
  set_bounds('limit', ARGV[1], ARGV[2])

  -- A higher limit lets jobs that waited join the line at once; should there be very many, as
  -- others end.
  for _, id in ipairs(call('ZRANGE', root .. 'crowded', 0, CHUNK - 1)) do
    local user = party_of(id)
    if user then admit(user) end
  end
  wake = true
  announce()
  return 1
end)
