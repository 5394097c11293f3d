-- Holds on to the lease on the tail.
--
-- KEYS  1 lease
-- ARGV  1 token  2 lease, ms
-- Returns 1, or 0 when it is not the caller's any more.
-- Cost  O(1). May be repeated.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
