-- Pauses a queue or lets it go on. A paused queue gives out no job; what runs goes on, and what is
-- due joins the line.
--
-- KEYS[1]  the queue's root
-- ARGV     1 "1" to pause, "0" to resume
-- Returns  1, or 0 when it was so already
-- Cost     O(1)

define('pause', function(ARGV)
  local key = root .. 'meta'
  if ARGV[1] == '1' then return call('HSETNX', key, 'paused_at', now) end

  local resumed = call('HDEL', key, 'paused_at')
  wake = resumed == 1
  announce()
  return resumed
end)
