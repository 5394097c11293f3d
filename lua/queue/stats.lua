-- Counts of one queue.
--
-- KEYS[1]  the queue's root
-- Returns  { { waiting, scheduled, available, running, retrying, completed, cancelled, dead, live
--       workers }, { for how many ms the job has waited that waits longest of those that could run
--       (-1: none), when the queue was paused (-1: it is not), limit of all jobs, limit of each
--       user's jobs (-1: none) }, { rate of all jobs, rate of each user's jobs ('': none) } }
-- Cost     O(log n) for each priority that jobs have, O(log w) of the workers, else O(1)

local function count(set) return call('ZCARD', root .. set) end

-- The longest wait of a set's jobs. Within a priority it is the first one's.
local function longest_wait(set, longest)
  local from = '-inf'
  while true do
    local first = call('ZRANGE', root .. set, from, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    if not first[1] then return longest end
    local is = fields(first[1], 'run_at', 'seat')
    local since = number(is[1]) or (is[2] and time_of(is[2])) or now
    longest = math.max(longest, now - since, 0)
    from = string.format('%.0f', (math.floor(first[2] / SEATS) + 1) * SEATS)
  end
end

define('stats', function()
  local waited = longest_wait('available', -1)
  waited = longest_wait('crowded', longest_wait('throttled', waited))

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
