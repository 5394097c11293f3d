-- Records in one bucket of the ledger what was done about changes, and publishes its nudges: of
-- each change once.
--
-- KEYS  1 state of the bucket  2 its documents
-- ARGV  1 token  2 the changes are deltas, which come in the order of time: 0 | 1  3 channel of the
--       nudges
--       then for each change, 2,000 at most: _id, time (8 bytes, most significant first), record
--       ('' when the document is gone), nudges, a line each
-- Returns {'open', number of changes that were not settled before}; {'closed', 0} when the bucket
--       is closed to this token.
-- Cost  O(changes), of three commands and a PUBLISH for each. A repeated call changes and publishes
--       nothing.

define('settle', function(KEYS, ARGV)
  local call = redis.call
  local state = call('HMGET', KEYS[1], 'token', 'settled')
  if tonumber(state[1] or 0) > tonumber(ARGV[1]) then return { 'closed', 0 } end
  -- A change that is recorded without its nudges would never get them.
  need('HDEL', KEYS[2], '')
  need('HSET', KEYS[2], '', '')
  need('PUBLISH', ARGV[3], '')
  local deltas, settled = ARGV[2] == '1', state[2]

  local docs = {}
  for at = 4, #ARGV, 4 do
    docs[#docs + 1] = ARGV[at]
  end
  local kept = call('HMGET', KEYS[2], unpack(docs))
  -- By document: its record by now, '' for none.
  local now, published = {}, {}
  local done, last = 0, settled
  for place = 1, #docs do
    local at, doc = 4 * place, docs[place]
    local time, record, nudges = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local known = now[doc] or kept[place] or ''
    -- Of the last time settled, some changes may not be: a transaction can be divided between
    -- calls.
    local is_settled = (deltas and settled and before(time, settled))
      or (known ~= '' and not before(known, time))
    if not is_settled and (known ~= '' or record ~= '') then
      now[doc] = record
      for nudge in string.gmatch(nudges, '[^\n]+') do
        published[#published + 1] = nudge
      end
      done = done + 1
    end
    if not last or before(last, time) then last = time end
  end

  keep(KEYS[2], now)
  if deltas and last then call('HSET', KEYS[1], 'settled', last) end
  for _, nudge in ipairs(published) do
    call('PUBLISH', ARGV[3], nudge)
  end
  return { 'open', done }
end)
