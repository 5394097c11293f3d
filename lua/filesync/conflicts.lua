-- Conflicts of a share, the newest first.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 '1' for those that are resolved too  4 most conflicts
-- Returns {'not_found'}, or {'found', the fields of a conflict and their values...}.
-- Cost  O(conflicts that are returned), without those that are resolved O(open conflicts).

define('conflicts', function(KEYS, ARGV)
  local call = redis.call
  local share = KEYS[1]
  if fs.level(share, ARGV[1], ARGV[2]) == 0 then return { 'not_found' } end
  local ids
  if ARGV[3] == '1' then
    ids = call('ZREVRANGE', share .. ':conflicts', 0, ARGV[4] - 1)
  else
    ids = call('HVALS', share .. ':open')
    table.sort(ids, function(one, other) return one > other end)
  end
  local found = { 'found' }
  for at = 1, math.min(#ids, tonumber(ARGV[4])) do
    found[#found + 1] = call('HGETALL', share .. ':conflict:' .. ids[at])
  end
  return found
end, { 'no-writes' })
