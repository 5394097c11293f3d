-- Pauses a queue or lets it go on. A paused queue gives out no job; what runs goes on, and what is
-- due joins the line.
--
-- KEYS[1]  the queue's root
-- ARGV     1 "1" to pause, "0" to resume
-- Returns  1
-- Cost     O(1)

define('pause', function(ARGV)
  local key = root .. 'meta'
  if ARGV[1] == '1' then
    call('HSETNX', key, 'paused_at', now)
  else
    wake = call('HDEL', key, 'paused_at') == 1
    announce()
  end
  return 1
end)
