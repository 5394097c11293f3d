-- Keeps a running job's progress or checkpoint, if the run still has the job.
--
-- KEYS[1]  the queue's root
-- ARGV     1 id  2 run, as fetched  then, unless it is only asked:  3 field: "progress" or
--       "checkpoint"  4 value, JSON
-- Returns  "saved", or "lost" when another run has it, or it has ended
-- Cost     O(1)

define('save', function(ARGV)
  local key = root .. 'job:' .. ARGV[1]
  if not holds(ARGV[2], fields(ARGV[1], 'run', 'state', 'finished_at')) then return 'lost' end
  if not ARGV[3] then return 'saved' end
  call('HSET', key, ARGV[3], ARGV[4], 'has', '*')
  if ARGV[3] == 'progress' then
    moved[1] = ARGV[1]
    announce()
  end
  return 'saved'
end)
