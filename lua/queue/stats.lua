-- Counts of one queue.
--
-- KEYS[1]  the queue's root
-- Returns  { scheduled, available, running, retrying, completed, cancelled, dead, live workers,
--            ms that the next job in line has waited (-1: none), when the queue was paused (-1: it is not),
--            limit of all jobs, limit of each user's jobs (-1: none) }
-- Cost     O(log w) of the workers, else O(1)

local function count(set) return call('ZCARD', root .. set) end

local waited = -1
local head = call('ZRANGE', root .. 'available', 0, 0)[1]
if head then waited = now - (call('HGET', root .. 'job:' .. head, 'run_at') or now) end

local meta = call('HMGET', root .. 'meta', 'paused_at', 'limit', 'user_limit')

return {
  count('scheduled'), count('available') + count('held') + count('newer') + count('crowded'), count('running'), count('retrying'),
  count('completed'), count('cancelled'), count('dead'),
  call('ZCOUNT', root .. 'workers', now - WORKER_MS, '+inf'), waited,
  tonumber(meta[1] or -1), tonumber(meta[2] or -1), tonumber(meta[3] or -1),
}
