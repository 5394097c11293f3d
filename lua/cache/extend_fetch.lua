-- Holds on to the lease for fetching an entry that takes long.
--
-- KEYS  1 fetch lease of the id
-- ARGV  1 nonce it was granted for  2 lease, ms
-- Returns 'extended', or 'ended' when it is not the caller's any more.
-- Cost  O(1). May be repeated.

define('extend_fetch', function(KEYS, ARGV)
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'ended' end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 'extended'
end, { 'allow-oom' })
