-- Keeps in one bucket of the ledger which documents have a name, and tells whether others have it, too.
--
-- KEYS  1 state of the bucket  2 its names
-- ARGV  1 token
--       then for each step, in the order of the log: field, digest (6 bytes), document (4 bytes), the document has the name
--       from now on: 1, or no longer: 0
-- Returns {0} when the bucket is closed to this token; else {1, then for each step 1 when another document has the name,
--       else 0}.
-- Cost  O(steps * documents in a field). May be repeated; then each answer takes all steps before and after into account.
local call = redis.call
if tonumber(call('HGET', KEYS[1], 'token') or 0) > tonumber(ARGV[1]) then return {0} end
local answer = {1}
for at = 2, #ARGV, 4 do
  local field, digest, doc = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local packed = call('HGET', KEYS[2], field) or ''
  local others, own = 0, nil
  local found = string.find(packed, digest, 1, true)
  while found do
    local is_digest = (found - 1) % 10 == 0
    if is_digest and string.sub(packed, found + 6, found + 9) == doc then
      own = found
    elseif is_digest then
      others = 1
    end
    found = string.find(packed, digest, found + (is_digest and 10 or 1), true)
  end
  if ARGV[at + 3] == '1' then
    if not own then call('HSET', KEYS[2], field, packed .. digest .. doc) end
  elseif own then
    local rest = string.sub(packed, 1, own - 1) .. string.sub(packed, own + 10)
    if rest == '' then call('HDEL', KEYS[2], field) else call('HSET', KEYS[2], field, rest) end
  end
  answer[#answer + 1] = others
end
return answer
