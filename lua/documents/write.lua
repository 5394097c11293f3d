-- Writes the next revision of a document, unless another writer came first, with its change and the nudge to watchers.
--
-- KEYS  1 document  2 changes  3 record of this write  4 accepted writes
-- ARGV  1 revision that the new one was computed from; '0': there must be no document
--       2 the new document's JSON up to its times  3 createdAt of the former one, ms; '' for now  4 its updatedAt, ms
--       5 what follows the times  6 when the document goes, ms; '' for never
--       7 channel  8 fingerprint of the request  9 how long this write is remembered, ms
--       10 token of an accepted write; '' for one that is made at once
--       then for each float that the JSON module may read wrongly: JSONPath, value, what to add when it has
-- Returns {1, revision, createdAt, updatedAt} when written, by this call or by a former one of the same write; {0, 0, 0, 0}
--       when the document has moved on; {2, 0, 0, 0} when the record is of another request; {3, 0, 0, 0} when
--       writes that were accepted before have to be made first, or this accepted one is not among them any more.
-- Cost  O(size of the document), for each such float too. May be repeated.
local call = redis.call
local made = call('HMGET', KEYS[3], 'revision', 'created', 'at', 'fingerprint')
if made[1] then
  if made[4] ~= ARGV[8] then return {2, 0, 0, 0} end
  return {1, tonumber(made[1]), tonumber(made[2]), tonumber(made[3])}
end
if ARGV[10] == '' then
  if call('ZCOUNT', KEYS[4], '(0', '+inf') > 0 then return {3, 0, 0, 0} end
elseif not call('ZSCORE', KEYS[4], ARGV[10]) then
  return {3, 0, 0, 0}
end
local current = call('JSON.GET', KEYS[1], '.revision') or '0'
if current ~= ARGV[1] then return {0, 0, 0, 0} end
-- The former one may be gone and another of its revision be there.
if current ~= '0' and call('JSON.GET', KEYS[1], '.createdAt') ~= ARGV[3] then return {0, 0, 0, 0} end

local revision = tonumber(current) + 1
local time = call('TIME')
local now = math.max(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), tonumber(ARGV[4]))
local now_text = string.format('%.0f', now)
local created = ARGV[3] == '' and now_text or ARGV[3]
local json = ARGV[2] .. ',"createdAt":' .. created .. ',"updatedAt":' .. now_text .. ARGV[5]
call('JSON.SET', KEYS[1], '$', json)
for float = 11, #ARGV, 3 do
  local held = call('JSON.GET', KEYS[1], ARGV[float])
  if tonumber(string.sub(held, 2, -2)) ~= tonumber(ARGV[float + 1]) then
    call('JSON.NUMINCRBY', KEYS[1], ARGV[float], ARGV[float + 2])
  end
end

-- A document of that id that was there before has left with its changes; revisions begin anew.
if current == '0' then call('UNLINK', KEYS[2]) end
-- As many changes as make about 4 MiB, for a document as large as this one.
local kept = math.max(8, math.min(1000, math.floor(4194304 / #json)))
call('XADD', KEYS[2], 'MAXLEN', '=', kept, string.format('%.0f-0', revision), 'document', json)

for key = 1, 2 do
  if ARGV[6] == '' then call('PERSIST', KEYS[key]) else call('PEXPIREAT', KEYS[key], ARGV[6]) end
end
call('HSET', KEYS[3], 'revision', string.format('%.0f', revision), 'created', created, 'at', now_text, 'fingerprint', ARGV[8])
call('PEXPIRE', KEYS[3], ARGV[9])
if ARGV[10] ~= '' then call('ZREM', KEYS[4], ARGV[10]) end
call('PUBLISH', ARGV[7], string.format('%.0f', revision))
return {1, revision, tonumber(created), now}
