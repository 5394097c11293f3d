-- Resolves an open conflict: judges the held change against the state of now.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 conflict  4 strategy  5 what the ids of entries begin with  6 id of a node
--       that may be made  7 copy names by name
-- Returns {status, and for 'done' the fields of the conflict and their values, else a text}:
--       'not_found'; 'forbidden'; 'resolved' when it was by another strategy, which the text says;
--       'names' with {"name", "tried", "device"} when copy names are wanted; 'done'.
-- Cost  O(depth * size of a node). Repeated, it returns what the first call did.

define('resolve', function(KEYS, ARGV)
  local call = redis.call
  local share, id, strategy = KEYS[1], ARGV[3], ARGV[4]
  local level = fs.level(share, ARGV[1], ARGV[2])
  local key = share .. ':conflict:' .. id
  if level == 0 or call('EXISTS', key) == 0 then return { 'not_found', '' } end
  if level < 2 then return { 'forbidden', '' } end
  local stored = {}
  local fields = call('HGETALL', key)
  for at = 1, #fields, 2 do
    stored[fields[at]] = fields[at + 1]
  end
  if stored.resolution then
    if stored.resolution ~= strategy then return { 'resolved', stored.resolution } end
    return { 'done', fields }
  end
  local writing = record.open(share, ARGV[1], stored.device, stored.number, ARGV[5])
  local w = {
    view = tree.open(share),
    writing = writing,
    change = cjson.decode(stored.change),
    prepared = stored.change,
    raw = stored.raw,
    me = stored.number,
    user = stored.user,
    base = tonumber(stored.base),
    time = tonumber(stored.time),
    strategy = strategy,
    portable = call('HGET', share, 'portable') == '1',
    blocked = {},
    copies = cjson.decode(ARGV[7]),
    new_id = ARGV[6],
    resolving = id,
  }
  local verdict = judge[w.change.y](w)
  if verdict.letter == 'W' then
    local wanted = outcome.wanted(w, verdict)
    return { 'names', wanted }
  end
  perform.need(w)
  local result = outcome.done(w, verdict)
  tree.flush(w.view)
  call(
    'HSET',
    key,
    'resolution',
    strategy,
    'resolved_at',
    record.rfc3339(writing.now),
    'result',
    result
  )
  outcome.settle(w, id, stored.needs)
  call('HDEL', share .. ':open', stored.held)
  call('HINCRBY', share .. ':held', stored.number, -1)
  return { 'done', call('HGETALL', key) }
end)
