-- Takes ids out of the index of a service whose documents were not there, unless they were
-- announced again meanwhile.
--
-- KEYS  1 index
-- ARGV  for each id: id, its place in the index when the document was looked for
-- Returns how many were taken out.
-- Cost  O(ids * log documents of the service). May be repeated.

define('forget', function(KEYS, ARGV)
  local call = redis.call
  local forgotten = 0
  for at = 1, #ARGV, 2 do
    if call('ZSCORE', KEYS[1], ARGV[at]) == ARGV[at + 1] then
      forgotten = forgotten + call('ZREM', KEYS[1], ARGV[at])
    end
  end
  return forgotten
end, { 'allow-oom' })
