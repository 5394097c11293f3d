-- Closes one bucket of the ledger to all tokens before this one.
--
-- KEYS  1 state of the bucket
-- ARGV  1 token
-- Returns 'open', or 'closed' when it is closed to this token.
-- Cost  O(1). May be repeated.

define('fence', function(KEYS, ARGV)
  if tonumber(redis.call('HGET', KEYS[1], 'token') or 0) > tonumber(ARGV[1]) then
    return 'closed'
  end
  redis.call('HSET', KEYS[1], 'token', ARGV[1])
  return 'open'
end, { 'allow-oom' })
