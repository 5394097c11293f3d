-- Gives the lease on the tail back, if it is still the caller's, for the next worker to have it at
-- once.
--
-- KEYS  1 lease
-- ARGV  1 token
-- Returns 0.
-- Cost  O(1). May be repeated.

define('release', function(KEYS, ARGV)
  if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
  return 0
end, { 'allow-oom' })
