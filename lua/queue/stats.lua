-- Counts of one queue.
--
-- KEYS[1]  the queue's root
-- Returns  { { waiting, scheduled, available, running, retrying, completed, cancelled, dead, live
--       workers }, { ms that the next job in line has waited (-1: none), when the queue was paused
--       (-1: it is not), limit of all jobs, limit of each
--       user's jobs (-1: none) }, { rate of all jobs, rate of each user's jobs ('': none) } }
-- Cost     O(log w) of the workers, else O(1)

local function count(set) return call('ZCARD', root .. set) end

define('stats', function()
  local waited = -1
  local head = call('ZRANGE', root .. 'available', 0, 0)[1]
  if head then
    local is = fields(head, 'run_at', 'seat')
    waited = math.max(now - (number(is[1]) or (is[2] and time_of(is[2])) or now), 0)
  end

  return {
    {
      count('waiting'),
      count('scheduled'),
      count('available') + count('held') + count('newer') + count('crowded') + count('throttled'),
      count('running'),
      count('retrying'),
      count('completed'),
      count('cancelled'),
      count('dead'),
      call('ZCOUNT', root .. 'workers', now - WORKER_MS, now),
    },
    {
      waited,
      tonumber(call('HGET', root .. 'meta', 'paused_at') or -1),
      tonumber(meta(LIMIT) or -1),
      user_limit() or -1,
    },
    { meta(RATE) or '', meta(USER_RATE) or '' },
  }
end)
