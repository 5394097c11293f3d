-- Whether a user's live set is whole.
--
-- KEYS  1 info  2-5 entries, order, docs, stamps
-- Returns {parts that it should have; -1 when there is no set, parts that it has}.
-- Cost  O(1). May be repeated.

define('parts', function(KEYS)
  local parts = redis.call('HGET', KEYS[1], 'parts')
  return { tonumber(parts or -1), redis.call('EXISTS', KEYS[2], KEYS[3], KEYS[4], KEYS[5]) }
end, { 'no-writes' })
