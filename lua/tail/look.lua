-- What one bucket of the ledger knows of documents, of each as it was at some time. What it knows
-- to be so is settled; in a walk it is marked as still there.
--
-- KEYS  1 state of the bucket  2 its documents
-- ARGV  1 token  2 generation of the walk (2 bytes); '' for deltas
--       then for each document, 2,000 at most: _id, time (8 bytes, most significant first)
-- Returns {'closed'} when the bucket is closed to this token; else {'open', time up to which its
--       deltas are settled ('' for none), then for each document: nil when it is settled, '' when
--       it is unknown, else its record}.
-- Cost  O(documents), of two commands. May be repeated.

define('look', function(KEYS, ARGV)
  local call = redis.call
  local state = call('HMGET', KEYS[1], 'token', 'settled')
  if tonumber(state[1] or 0) > tonumber(ARGV[1]) then return { 'closed' } end
  local generation, settled = ARGV[2], state[2]

  local docs = {}
  for at = 3, #ARGV, 2 do
    docs[#docs + 1] = ARGV[at]
  end
  local records = call('HMGET', KEYS[2], unpack(docs))
  local found, marks = { 'open', settled or '' }, {}
  for place = 1, #docs do
    local time, record = ARGV[2 * place + 2], records[place]
    local answer = record or ''
    if generation == '' and settled and before(time, settled) then
      answer = false
    elseif record and not before(record, time) then
      answer = false
      if generation ~= '' and string.sub(record, 9, 10) ~= generation then
        marks[docs[place]] = string.sub(record, 1, 8) .. generation .. string.sub(record, 11)
      end
    end
    found[place + 2] = answer
  end
  keep(KEYS[2], marks)
  return found
end, { 'allow-oom' })
