-- How much a queue did of late.
--
-- KEYS[1]  the queue's root
-- ARGV     1 "minute" or "tens": how long a part is, see marks.lua  2 how many parts, to the present
--       one
-- Returns  { now, { part, { field, count... } }... } for each part in which anything happened; one
--       may come twice, and counts what both say
-- Cost     O(parts)

define('history', function(ARGV)
  local minute = math.floor(now / MINUTE)
  local answer = { now }
  local function add(key, part)
    local counted = try('HGETALL', root .. key)
    if counted[1] then answer[#answer + 1] = { part, counted } end
  end
  local parts = tonumber(ARGV[2])
  local function add_pending(part)
    local counted = {}
    for name, by in pairs(pending[root] or {}) do
      counted[#counted + 1] = name
      counted[#counted + 1] = by
    end
    if counted[1] then answer[#answer + 1] = { part, counted } end
  end
  if ARGV[1] == 'minute' then
    for part = minute - parts + 1, minute do
      add('minute:' .. part, part)
    end
    add_pending(minute)
    return answer
  end
  local tens = math.floor(minute / 10)
  for part = tens - parts + 1, tens do
    add('tens:' .. part, part)
  end
  -- What is not yet in its tens.
  local rolled = number(call('HGET', root .. 'meta', 'rolled_minute'), 0)
  for part = math.max(rolled, minute - 60), minute do
    add('minute:' .. part, math.floor(part / 10))
  end
  add_pending(tens)
  return answer
end, { 'no-writes' })
