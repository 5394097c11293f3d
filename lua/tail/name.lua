-- Keeps in one bucket of the ledger which documents have a name, and tells whether others have it,
-- too.
--
-- KEYS  1 state of the bucket  2 its names
-- ARGV  1 token
--       then for each step, 2,000 at most, in the order of the log: field, digest (6 bytes),
--       document (4 bytes), the document has the name from now on: 1, or no longer: 0
-- Returns {'closed'} when the bucket is closed to this token; else {'open', then for each step 1
--       when another document has the name, else 0}.
-- Cost  O(steps * documents in a field), of three commands. May be repeated; then each answer takes
--       all steps before and after into account.

define('name', function(KEYS, ARGV)
  local call = redis.call
  if tonumber(call('HGET', KEYS[1], 'token') or 0) > tonumber(ARGV[1]) then return { 'closed' } end
  local fields = {}
  for at = 2, #ARGV, 4 do
    fields[#fields + 1] = ARGV[at]
  end
  local kept = call('HMGET', KEYS[2], unpack(fields))
  -- By field: what is there by now, where that changed; '' for none.
  local now = {}
  local answer = { 'open' }
  for step = 1, #fields do
    local at, field = 4 * step - 2, fields[step]
    local digest, doc = ARGV[at + 1], ARGV[at + 2]
    local packed = now[field] or kept[step] or ''
    local others, own = 0, nil
    local found = packed ~= '' and string.find(packed, digest, 1, true)
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
      if not own then now[field] = packed .. digest .. doc end
    elseif own then
      now[field] = string.sub(packed, 1, own - 1) .. string.sub(packed, own + 10)
    end
    answer[step + 1] = others
  end

  keep(KEYS[2], now)
  return answer
end)
