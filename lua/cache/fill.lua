-- Writes fetched entries as single ones with a TTL each.
-- An id which is in the live set gets no second copy: its entry there is refreshed or left alone. Only one that is to be
-- refreshed in a set that ends before the new entry would moves out of it, to be a single one.
--
-- KEYS  1 epoch  2 live info  3 live entries  4 live stamps  5 single entries  6 single expiry  7 single docs
--       8.. fetch lease of each entry
-- ARGV  1 epoch when the fetch began  2 TTL, us  3 limit of the live set, bytes
--       4 nonce of the fetch lease, without which nothing is written; '' to write whether or not somebody holds it
--       5 a time (ns) since which the fetched revisions hold, to refresh the live set by; '' to leave it alone
--       then for each entry: id, Convex _id ('' when it equals the id), JSON
-- Returns {0, written}; {1} when the epoch moved. An entry that changed while it was fetched is not written.
-- Cost  O(entries * log singles). May be repeated.
local nonce, since = ARGV[4], ARGV[5]
if (call('HGET', KEYS[1], 'value') or '0') ~= ARGV[1] then
  for at = 8, #KEYS do
    if nonce == '' or call('GET', KEYS[at]) == nonce then call('DEL', KEYS[at]) end
  end
  return {1}
end
local time = call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function drop_single(id)
  call('ZREM', KEYS[6], id)
  call('HDEL', KEYS[5], id)
  local doc = call('HGET', KEYS[7], 'i:' .. id)
  if doc then call('HDEL', KEYS[7], 'i:' .. id, 'd:' .. doc) end
end

-- Expired ones cost memory until they go: each call takes more of them away than it adds.
local expired = call('ZRANGEBYSCORE', KEYS[6], '-inf', now_us, 'LIMIT', 0, 2 * #KEYS)
for _, id in ipairs(expired) do drop_single(id) end

local ttl_ms = math.ceil(tonumber(ARGV[2]) / 1000)
local live_ttl = call('PTTL', KEYS[3])

-- Times have too many digits for Lua's numbers; as texts they compare by length, then by digits.
local function after(one, other) return #one > #other or (#one == #other and one > other) end

-- Takes an entry out of the live set; its place in the order stays.
local function leave_live(id, old_length)
  call('HSET', KEYS[3], id, '')
  call('HINCRBY', KEYS[2], 'bytes', -old_length - #id)
  call('HINCRBY', KEYS[2], 'entries', -1)
  call('HSET', KEYS[2], 'complete', 0)
end

-- Refreshes an entry of the live set, or takes it out when the set would grow past its limit or ends too early. Whether it is
-- in the set afterwards.
local function refresh_live(id, doc, json, old_length)
  local info = call('HMGET', KEYS[2], 'bytes', 'as_of')
  -- Without its counters (evicted) the set is on its way out: what it holds cannot be kept up to date.
  if not info[1] then
    call('UNLINK', KEYS[3])
    return false
  end
  -- Another document is shown: which of the two is newer is decided where the change of either is applied.
  if not holds(KEYS[3], id, doc) then return true end
  -- What is there may be a later revision.
  if not after(since, call('HGET', KEYS[4], doc) or info[2] or '0') then return true end
  if live_ttl < ttl_ms then
    leave_live(id, old_length)
    return false
  end
  local bytes = tonumber(info[1]) - old_length + #json
  if bytes <= tonumber(ARGV[3]) then
    call('HSET', KEYS[3], id, json)
    call('HSET', KEYS[2], 'bytes', bytes)
    call('HSET', KEYS[4], doc, since)
    call('PEXPIRE', KEYS[4], live_ttl)
    return true
  end
  leave_live(id, old_length)
  call('HINCRBY', KEYS[2], 'skipped', 1)
  return false
end

local written = 0
for entry = 1, #KEYS - 7 do
  local id, doc, json = ARGV[3 * entry + 3], ARGV[3 * entry + 4], ARGV[3 * entry + 5]
  local lease = call('GET', KEYS[7 + entry])
  -- A stale lease: amend saw a later revision than the one that was being fetched. No lease: it may have.
  local may_write = lease ~= 'stale' and (nonce == '' or lease == nonce)
  if may_write or lease == 'stale' then call('DEL', KEYS[7 + entry]) end
  if may_write then
    local live_length = call('HSTRLEN', KEYS[3], id)
    local document = doc == '' and id or doc
    local in_live = live_length > 0 and (since == '' or refresh_live(id, document, json, live_length))
    if not in_live then
      drop_single(id)
      call('HSET', KEYS[5], id, json)
      -- Distinct scores in one chunk: a page of the list can end between any two.
      call('ZADD', KEYS[6], string.format('%.0f', now_us + tonumber(ARGV[2]) + entry), id)
      if doc ~= '' then call('HSET', KEYS[7], 'd:' .. doc, id, 'i:' .. id, doc) end
    end
    written = written + 1
  end
end
for key = 5, 7 do call('PEXPIRE', KEYS[key], ttl_ms + 1000) end
return {0, written}
