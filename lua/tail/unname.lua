-- Forgets all names in one bucket of the ledger.
--
-- KEYS  1 state of the bucket  2 its names
-- ARGV  1 token
-- Returns 'open', or 'closed' when the bucket is closed to this token.
-- Cost  O(1): what there was is freed by another thread. May be repeated.

define('unname', function(KEYS, ARGV)
  local call = redis.call
  if tonumber(call('HGET', KEYS[1], 'token') or 0) > tonumber(ARGV[1]) then return 'closed' end
  call('UNLINK', KEYS[2])
  return 'open'
end, { 'allow-oom' })
