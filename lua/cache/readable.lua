-- Shared by the functions that look entries up. KEYS of each begin with the epoch, then the live
-- set's info, entries, order, docs and stamps.

-- Whether the live set is all there. One with a part missing (evicted) is none: it may hold what
-- was deleted.
local function is_whole(KEYS)
  local parts = tonumber(redis.call('HGET', KEYS[2], 'parts') or 0)
  return redis.call('EXISTS', KEYS[3], KEYS[4], KEYS[5], KEYS[6]) == parts
end

-- The time in µs.
local function clock_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
