-- Applies later revisions and removals to what is cached of a user: the live set and the single entries.
-- Nothing is added, except to a live set that is complete. A revision that would take the set above its limit leaves it.
--
-- KEYS  1-4 live: info, entries, order, docs  5-7 single: entries, expiry, docs
--       8.. fetch lease of each change (of the _id for a removal)
-- ARGV  1 limit of the live set, bytes
--       then for each change: Convex _id, id, JSON; a removal has '' as id and JSON
-- Returns 0.
-- Cost  O(changes * log singles). May be repeated.
local call = redis.call
local info = call('HMGET', KEYS[1], 'complete', 'entries', 'skipped', 'bytes')
local complete, limit = info[1] == '1', tonumber(ARGV[1])
local entries, skipped, bytes = tonumber(info[2] or 0), tonumber(info[3] or 0), tonumber(info[4] or 0)
local single_ttl = call('PTTL', KEYS[6])
local time = call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- Takes an entry out of the live set and leaves a tombstone, which keeps its place in the order.
local function take_out(id)
  local length = call('HSTRLEN', KEYS[2], id)
  if length == 0 then return false end
  call('HSET', KEYS[2], id, '')
  entries = entries - 1
  bytes = bytes - #id - length
  return true
end

-- Takes a single entry out and returns its expiry, if it was there and alive.
local function take_single(id)
  local expires = call('ZSCORE', KEYS[6], id)
  if not expires then return nil end
  call('ZREM', KEYS[6], id)
  call('HDEL', KEYS[5], id)
  local doc = call('HGET', KEYS[7], 'i:' .. id)
  if doc then call('HDEL', KEYS[7], 'i:' .. id, 'd:' .. doc) end
  return tonumber(expires) > now_us and expires or nil
end

for change = 1, #KEYS - 7 do
  local doc, id, json = ARGV[3 * change - 1], ARGV[3 * change], ARGV[3 * change + 1]
  local known = call('HGET', KEYS[4], doc) or doc
  local known_single = call('HGET', KEYS[7], 'd:' .. doc) or doc
  local there = take_out(known)
  local expires = take_single(known_single)
  -- Whoever is fetching this entry now holds the former revision: it must not be cached.
  call('SET', KEYS[7 + change], 'stale', 'XX', 'KEEPTTL')
  if json == '' then
    call('HDEL', KEYS[4], doc)
  else
    if known ~= id then there = take_out(id) or there end
    if known_single ~= id then expires = take_single(id) or expires end
    if there or complete then
      local size = #id + #json
      if bytes + size <= limit then
        if call('HSET', KEYS[2], id, json) == 1 then call('RPUSH', KEYS[3], id) end
        entries = entries + 1
        bytes = bytes + size
        expires = nil
      else
        skipped = skipped + 1
        complete = false
      end
      if doc == id then call('HDEL', KEYS[4], doc) else call('HSET', KEYS[4], doc, id) end
    end
    if expires then
      call('HSET', KEYS[5], id, json)
      call('ZADD', KEYS[6], expires, id)
      if doc ~= id then call('HSET', KEYS[7], 'd:' .. doc, id, 'i:' .. id, doc) end
    end
  end
end

-- A part that this call brought into being expires with the others.
if info[1] then
  call('HSET', KEYS[1], 'complete', complete and 1 or 0, 'entries', entries, 'skipped', skipped, 'bytes', bytes)
  local live_ttl = call('PTTL', KEYS[1])
  for part = 2, 4 do call('PEXPIRE', KEYS[part], live_ttl) end
end
if single_ttl > 0 then
  for part = 5, 7 do call('PEXPIRE', KEYS[part], single_ttl) end
end
return 0
