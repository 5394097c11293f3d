-- Applies later revisions and removals to a staging set.
--
-- KEYS  1 epoch  2 staging info  3 entries  4 order  5 docs  6 skipped
-- ARGV  1 token of the attempt  2 epoch it began in  3 number of this step, from 1
--       4 staging TTL, ms  5 add entries that are not staged: 0 | 1
--       then for each change: Convex _id, id, JSON; a removal has '' as id and JSON
-- Returns {'staged', entries, skipped, bytes, then the ids that the document left which was staged:
--       another may be the newest now}; {'superseded'} when the epoch moved on; {'lost'} when the
--       set is gone, in part or whole, or another attempt's; {'refused', limit} when an entry does
--       not fit and the policy is to refuse (the staged data is dropped).
-- Cost  O(changes). May be repeated. Documents that meet at one id are parsed.

define('stage_amend', function(KEYS, ARGV)
  local call = redis.call
  local set, why = staging(KEYS, ARGV)
  if not set then return { why } end
  local limit = set.limit
  if set.refused then return { 'refused', limit } end
  -- A server that took over from another one may lack what that one had acknowledged.
  if set.seq + 1 < tonumber(ARGV[3]) then return { 'lost' } end
  local entries, skipped, bytes = set.entries, set.skipped, set.bytes

  -- Takes an entry out; with a document, only if it is that one's.
  local function take_out(id, doc)
    local freed = bury(KEYS[3], id, doc)
    if not freed then return false end
    entries = entries - 1
    bytes = bytes - freed
    return true
  end

  local function forget_skip(id)
    local was_skipped = call('SREM', KEYS[6], id) == 1
    if was_skipped then skipped = skipped - 1 end
    return was_skipped
  end

  local left = {}
  for at = 6, #ARGV, 3 do
    local doc, id, json = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local known = call('HGET', KEYS[5], doc)
    local is_hidden = known and string.byte(known) == 0
    local held = known or doc
    local stays = held == id and json ~= ''
    -- What is known of no document can be another one's.
    local there = not is_hidden and take_out(held, not known and not stays and doc)
    local was_skipped = not is_hidden and forget_skip(held)
    if (there or was_skipped) and not stays then left[held] = true end
    local gives, is_taken = false, false
    if json ~= '' and not stays then
      gives, is_taken = gives_way(KEYS[3], KEYS[5], id, doc, json)
    end
    if json == '' then
      call('HDEL', KEYS[5], doc)
    elseif not gives then
      if is_taken then there = take_out(id) or there end
      if not stays then was_skipped = forget_skip(id) or was_skipped end
      local wanted = there or ARGV[5] == '1'
      local size = #id + #json
      if wanted and bytes + size <= limit then
        if call('HSET', KEYS[3], id, json) == 1 then call('RPUSH', KEYS[4], id) end
        entries = entries + 1
        bytes = bytes + size
      elseif wanted and set.policy == 'refuse' then
        return refuse_staging(KEYS, limit)
      elseif wanted or was_skipped then
        call('SADD', KEYS[6], id)
        skipped = skipped + 1
      end
      if wanted or was_skipped then
        if doc == id then
          call('HDEL', KEYS[5], doc)
        else
          call('HSET', KEYS[5], doc, id)
        end
      end
    end
  end

  keep_staging(KEYS, ARGV[3], entries, skipped, bytes, ARGV[4])
  local answer = { 'staged', entries, skipped, bytes }
  for id in pairs(left) do
    answer[#answer + 1] = id
  end
  return answer
end)
