-- Extends the leases of jobs that a worker is running.
--
-- KEYS[1]  the queue's root
-- ARGV     1 lease in ms, then for each job: id, run as fetched
-- Returns  { { jobs that are no longer this worker's }, { jobs that shall be cancelled } }, by
--       their position from 0
-- Cost     O(log n) for each job

define('heartbeat', function(ARGV)
  local until_ms = now + tonumber(ARGV[1])
  local lost, cancelled = {}, {}
  for i = 2, #ARGV, 2 do
    local id = ARGV[i]
    local job = fields(id, 'run', 'state', 'finished_at', 'cancel')
    if job[1] ~= ARGV[i + 1] then
      lost[#lost + 1] = i / 2 - 1
    elseif holds(job[1], job) then
      call('ZADD', root .. 'running', 'XX', until_ms, id)
      if job[4] then cancelled[#cancelled + 1] = i / 2 - 1 end
    end
  end
  return { lost, cancelled }
end)
