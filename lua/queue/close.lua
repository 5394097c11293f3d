-- Closes a batch: it ends when its jobs have.
--
-- KEYS[1]  the queue's root
-- ARGV     1 batch
-- Returns  "closed"; "closed_before" when it was; "not_found" when there is none
-- Cost     O(log n)

define('close', function(ARGV)
  local key = root .. 'batch:' .. ARGV[1]
  if call('EXISTS', key) == 0 then return 'not_found' end
  if call('HSETNX', key, 'closed_at', now) == 0 then return 'closed_before' end
  call('PERSIST', key)
  settle(ARGV[1])
  announce()
  return 'closed'
end)
