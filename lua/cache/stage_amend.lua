-- Applies later revisions and removals to a staging set.
--
-- KEYS  1 epoch  2 staging info  3 entries  4 order  5 docs  6 skipped
-- ARGV  1 token of the attempt  2 epoch it began in  3 add entries that are not staged: 0 | 1  4 staging TTL, ms
--       then for each change: Convex _id, id, JSON; a removal has '' as id and JSON
-- Returns {0, entries, skipped, bytes} so far; {1} when the epoch moved on; {3} when the set is gone, in part or whole, or
--       another attempt's; {2, limit} when an entry did not fit and the policy is to refuse (the staged data is dropped).
-- Cost  O(changes). May be repeated.
local call = redis.call
local info = call('HMGET', KEYS[2], 'token', 'parts', 'limit', 'policy', 'entries', 'skipped', 'bytes', 'refused')
local epoch = call('HGET', KEYS[1], 'value') or '0'
if epoch ~= ARGV[2] then return {tonumber(epoch) > tonumber(ARGV[2]) and 1 or 3} end
if info[1] ~= ARGV[1] then return {3} end
if call('EXISTS', KEYS[3], KEYS[4], KEYS[5], KEYS[6]) ~= tonumber(info[2]) then
  -- Evicted in part: what is left is not the set.
  call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
  return {3}
end
local limit = tonumber(info[3])
if info[8] then return {2, limit} end
local entries, skipped, bytes = tonumber(info[5]), tonumber(info[6]), tonumber(info[7])

-- Takes an entry out and leaves a tombstone, which keeps its place in the order.
local function take_out(id)
  local length = call('HSTRLEN', KEYS[3], id)
  if length == 0 then return false end
  call('HSET', KEYS[3], id, '')
  entries = entries - 1
  bytes = bytes - #id - length
  return true
end

-- Whether the entry is the document's. Another document may have taken over the id of one that is removed.
local function holds(id, doc)
  local json = call('HGET', KEYS[3], id)
  local owner = json and string.match(json, '"_id"%s*:%s*"([^"]*)"')
  return not owner or owner == doc
end

local function forget_skip(id)
  local was_skipped = call('SREM', KEYS[6], id) == 1
  if was_skipped then skipped = skipped - 1 end
  return was_skipped
end

for at = 5, #ARGV, 3 do
  local doc, id, json = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local known = call('HGET', KEYS[5], doc) or doc
  local there, was_skipped = false, forget_skip(known)
  if json ~= '' or holds(known, doc) then there = take_out(known) end
  if json == '' then
    call('HDEL', KEYS[5], doc)
  else
    if known ~= id then
      there = take_out(id) or there
      was_skipped = forget_skip(id) or was_skipped
    end
    local wanted = there or ARGV[3] == '1'
    local size = #id + #json
    if wanted and bytes + size <= limit then
      if call('HSET', KEYS[3], id, json) == 1 then call('RPUSH', KEYS[4], id) end
      entries = entries + 1
      bytes = bytes + size
    elseif wanted and info[4] == 'refuse' then
      call('UNLINK', KEYS[3], KEYS[4], KEYS[5], KEYS[6])
      call('HSET', KEYS[2], 'refused', 1, 'parts', 0)
      return {2, limit}
    elseif wanted or was_skipped then
      call('SADD', KEYS[6], id)
      skipped = skipped + 1
    end
    if wanted or was_skipped then
      if doc == id then call('HDEL', KEYS[5], doc) else call('HSET', KEYS[5], doc, id) end
    end
  end
end

call('HSET', KEYS[2], 'entries', entries, 'skipped', skipped, 'bytes', bytes,
  'parts', call('EXISTS', KEYS[3], KEYS[4], KEYS[5], KEYS[6]))
for at = 2, 6 do call('PEXPIRE', KEYS[at], ARGV[4]) end
return {0, entries, skipped, bytes}
