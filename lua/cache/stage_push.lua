-- Admits one chunk of entries, in order, into a staging set and counts their bytes against the
-- limit.
--
-- KEYS  1 epoch  2 staging info  3 entries  4 order  5 docs  6 skipped
-- ARGV  1 token of the attempt  2 epoch it began in  3 number of this step, from 1
--       4 staging TTL, ms
--       then for each entry: id, Convex _id ('' when it equals the id), JSON ('' when the caller
--       knows that it cannot fit)
-- Returns {'staged', entries, skipped, bytes} so far; {'superseded'} when the epoch moved on;
--       {'lost'} when the set is gone, in part or whole, or another attempt's; {'refused', limit}
--       when an entry did not fit and the policy is to refuse (the staged data is dropped).
-- Cost  O(entries of the chunk). A chunk that was applied already changes nothing.

define('stage_push', function(KEYS, ARGV)
  local call = redis.call
  local set, why = staging(KEYS, ARGV)
  if not set then return { why } end
  local limit = set.limit
  if set.refused then return { 'refused', limit } end
  local entries, skipped, bytes = set.entries, set.skipped, set.bytes
  if set.seq >= tonumber(ARGV[3]) then return { 'staged', entries, skipped, bytes } end
  -- A server that took over from another one may lack what that one had acknowledged.
  if set.seq + 1 < tonumber(ARGV[3]) then return { 'lost' } end

  local fields, ids, docs, taken = {}, {}, {}, {}
  local pairs_end, docs_end = 0, 0
  for at = 5, #ARGV, 3 do
    local id, doc, json = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    -- What is known already stays as it is: a tombstone too, so that an older page cannot bring a
    -- removed entry back.
    if
      not taken[id]
      and call('HEXISTS', KEYS[3], id) == 0
      and (skipped == 0 or call('SISMEMBER', KEYS[6], id) == 0)
    then
      local size = #id + #json
      if #json > 0 and bytes + size <= limit then
        bytes = bytes + size
        entries = entries + 1
        taken[id] = doc
        ids[#ids + 1] = id
        fields[pairs_end + 1], fields[pairs_end + 2] = id, json
        pairs_end = pairs_end + 2
      elseif set.policy == 'skip' then
        skipped = skipped + 1
        call('SADD', KEYS[6], id)
      else
        return refuse_staging(KEYS, limit)
      end
      if doc ~= '' then
        docs[docs_end + 1], docs[docs_end + 2] = doc, id
        docs_end = docs_end + 2
      end
    elseif doc ~= '' and taken[id] ~= doc and call('HGET', KEYS[5], doc) ~= id then
      -- An older document with the id of one that is shown (rivals.lua).
      docs[docs_end + 1], docs[docs_end + 2] = doc, '\0' .. id
      docs_end = docs_end + 2
    end
  end

  if pairs_end > 0 then
    call('HSET', KEYS[3], unpack(fields))
    call('RPUSH', KEYS[4], unpack(ids))
  end
  if docs_end > 0 then call('HSET', KEYS[5], unpack(docs)) end
  keep_staging(KEYS, ARGV[3], entries, skipped, bytes, ARGV[4])
  return { 'staged', entries, skipped, bytes }
end)
