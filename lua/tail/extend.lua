-- Holds on to the lease on the tail.
--
-- KEYS  1 lease  2 state
-- ARGV  1 token  2 lease, ms
-- Returns 'extended'; 'ended' when it is not the caller's any more; 'lost' when the token was never
--       given out: Valkey lost data.
-- Cost  O(1). May be repeated.

define('extend', function(KEYS, ARGV)
  local call = redis.call
  if call('GET', KEYS[1]) == ARGV[1] then
    return call('PEXPIRE', KEYS[1], ARGV[2]) == 1 and 'extended' or 'ended'
  end
  return tonumber(call('HGET', KEYS[2], 'token') or 0) < tonumber(ARGV[1]) and 'lost' or 'ended'
end, { 'allow-oom' })
