-- Whether a user's live set is whole.
--
-- KEYS  1 info  2-5 entries, order, docs, stamps
-- Returns 'whole'; 'in_parts' when parts of it are missing; 'none' when there is no set.
-- Cost  O(1). May be repeated.

define('parts', function(KEYS)
  local parts = redis.call('HGET', KEYS[1], 'parts')
  if not parts then return 'none' end
  local found = redis.call('EXISTS', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  return found == tonumber(parts) and 'whole' or 'in_parts'
end, { 'no-writes' })
