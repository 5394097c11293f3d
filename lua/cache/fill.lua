-- Writes fetched entries as single ones with a TTL each, and drops their fetch leases.
-- An id which is in the live set gets no second copy: its entry there is refreshed or left alone. Only one that is to be
-- refreshed in a set that ends before the new entry would moves out of it, to be a single one.
--
-- KEYS  1 epoch  2 live info  3 live entries  4 single entries  5 single expiry  6 single docs
--       7.. fetch lease of each entry
-- ARGV  1 epoch when the fetch began  2 TTL, us  3 limit of the live set, bytes  4 refresh the live set: 0 | 1
--       then for each entry: id, Convex _id ('' when it equals the id), JSON
-- Returns {0, written}; {1} when the epoch moved. An entry that changed while it was fetched is not written.
-- Cost  O(entries * log singles). May be repeated.
local call = redis.call
if (call('HGET', KEYS[1], 'value') or '0') ~= ARGV[1] then
  for at = 7, #KEYS do call('DEL', KEYS[at]) end
  return {1}
end
local time = call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function drop_single(id)
  call('ZREM', KEYS[5], id)
  call('HDEL', KEYS[4], id)
  local doc = call('HGET', KEYS[6], 'i:' .. id)
  if doc then call('HDEL', KEYS[6], 'i:' .. id, 'd:' .. doc) end
end

-- Expired ones cost memory until they go: each call takes more of them away than it adds.
local expired = call('ZRANGEBYSCORE', KEYS[5], '-inf', now_us, 'LIMIT', 0, 2 * #KEYS)
for _, id in ipairs(expired) do drop_single(id) end

local ttl_ms = math.ceil(tonumber(ARGV[2]) / 1000)
local ends_early = ARGV[4] == '1' and call('PTTL', KEYS[3]) < ttl_ms

-- Takes an entry out of the live set; its place in the order stays.
local function leave_live(id, old_length)
  call('HSET', KEYS[3], id, '')
  call('HINCRBY', KEYS[2], 'bytes', -old_length - #id)
  call('HINCRBY', KEYS[2], 'entries', -1)
  call('HSET', KEYS[2], 'complete', 0)
end

-- Refreshes an entry of the live set, or takes it out when the set would grow past its limit or ends too early.
local function refresh_live(id, json, old_length)
  local bytes = call('HGET', KEYS[2], 'bytes')
  -- Without its counters (evicted) the set is on its way out: what it holds cannot be kept up to date.
  if not bytes then
    call('UNLINK', KEYS[3])
    return false
  end
  if ends_early then
    leave_live(id, old_length)
    return false
  end
  bytes = tonumber(bytes) - old_length + #json
  if bytes <= tonumber(ARGV[3]) then
    call('HSET', KEYS[3], id, json)
    call('HSET', KEYS[2], 'bytes', bytes)
    return true
  end
  leave_live(id, old_length)
  call('HINCRBY', KEYS[2], 'skipped', 1)
  return false
end

local written = 0
for entry = 1, #KEYS - 6 do
  local id, doc, json = ARGV[3 * entry + 2], ARGV[3 * entry + 3], ARGV[3 * entry + 4]
  local lease = call('GET', KEYS[6 + entry])
  if lease then call('DEL', KEYS[6 + entry]) end
  -- A stale lease: amend saw a later revision than the one that was being fetched.
  if lease ~= 'stale' then
    local live_length = call('HSTRLEN', KEYS[3], id)
    local in_live = live_length > 0 and (ARGV[4] == '0' or refresh_live(id, json, live_length))
    if not in_live then
      drop_single(id)
      call('HSET', KEYS[4], id, json)
      -- Distinct scores in one chunk: a page of the list can end between any two.
      call('ZADD', KEYS[5], string.format('%.0f', now_us + tonumber(ARGV[2]) + entry), id)
      if doc ~= '' then call('HSET', KEYS[6], 'd:' .. doc, id, 'i:' .. id, doc) end
    end
    written = written + 1
  end
end
for key = 4, 6 do call('PEXPIRE', KEYS[key], ttl_ms + 1000) end
return {0, written}
