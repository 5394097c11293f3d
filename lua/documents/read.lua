-- What a write is computed from: the document, or, when this write was made before, the document as
-- that left it.
--
-- KEYS  1 document  2 changes  3 record of the write  4 accepted writes  5 past
-- ARGV  1 token of an accepted write; '' for one that is made at once  2 within which its job was
--       enqueued, ms
-- Returns {status, time in ms, document JSON or '', last revision of the former document when there
--       is none, else 0, the record of this write}: 'found'; 'waiting' when writes that were
--       accepted before have to be made first; 'made' when this write was made before: then the
--       document is as the change of its revision has it, '' when that is not kept any more, and
--       the record {revision, fingerprint of its request, createdAt, updatedAt, the envelope from
--       behind the times}, which else is empty.
-- Cost  O(size of the document); for an accepted write also O(log n) for each of those that it
--       releases.

define('read', function(KEYS, ARGV)
  local call = redis.call
  local time = call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local made = call('HMGET', KEYS[3], 'revision', 'fingerprint', 'created', 'at', 'rest')
  if made[1] then
    made[5] = made[5] or '}'
    return { 'made', now, log.entry(KEYS[2], made[1]) or '', 0, made }
  end
  if ARGV[1] == '' then
    if call('ZCOUNT', KEYS[4], '(0', '+inf') > 0 then return { 'waiting', now, '', 0, {} } end
  else
    -- The jobs of one document run in the order in which they were enqueued, soon after they were
    -- accepted. So whatever was accepted longer than ARGV[2] before this write has ended, was
    -- cancelled, or never became a job: no other write need wait for it.
    local accepted = tonumber(call('ZSCORE', KEYS[4], ARGV[1]) or 0)
    for _, token in ipairs(call('ZRANGEBYSCORE', KEYS[4], '(0', accepted - ARGV[2])) do
      call('ZADD', KEYS[4], -tonumber(call('ZSCORE', KEYS[4], token)), token)
    end
  end
  local json = call('JSON.GET', KEYS[1])
  return { 'found', now, json or '', json and 0 or tonumber(call('GET', KEYS[5]) or 0), {} }
end)
