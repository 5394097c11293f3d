-- Gives the lease on the tail back, for the next worker to have it at once.
--
-- KEYS  1 lease
-- ARGV  1 token
-- Returns 1, or 0 when it was not the caller's any more.
-- Cost  O(1). May be repeated.

define('release', function(KEYS, ARGV)
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
  return redis.call('DEL', KEYS[1])
end, { 'allow-oom' })
