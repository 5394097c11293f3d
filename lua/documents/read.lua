-- What a write is computed from: the document, or, when this write was made before, the document as that left it.
--
-- KEYS  1 document  2 changes  3 record of the write
-- ARGV  none
-- Returns {time in ms, document JSON or '', revision that this write made or '', fingerprint of its request or ''}.
-- Cost  O(size of the document).
local call = redis.call
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local made = call('HMGET', KEYS[3], 'revision', 'fingerprint')
if made[1] then
  local change = call('XRANGE', KEYS[2], made[1] .. '-0', made[1] .. '-0')[1]
  local json = change and change[2][2] or call('JSON.GET', KEYS[1])
  return {now, json or '', made[1], made[2]}
end
return {now, call('JSON.GET', KEYS[1]) or '', '', ''}
