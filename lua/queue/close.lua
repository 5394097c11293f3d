-- Closes a batch: it ends when its jobs have.
--
-- KEYS[1]  the queue's root
-- ARGV     1 batch
-- Returns  1; 0 when it was closed before; -1 when there is none
-- Cost     O(log n)

define('close', function(ARGV)
  local key = root .. 'batch:' .. ARGV[1]
  if call('EXISTS', key) == 0 then return -1 end
  if call('HSETNX', key, 'closed_at', now) == 0 then return 0 end
  call('PERSIST', key)
  settle(ARGV[1])
  announce()
  return 1
end)
