-- Releases an accepted write that was not made, so that others need not wait for it. Its job may
-- still make it, should it be retried.
--
-- KEYS  1 accepted writes
-- ARGV  1 token  2 how many of these are remembered; the oldest go first
-- Returns 0.
-- Cost  O(log n). May be repeated.

define('release', function(KEYS, ARGV)
  local call = redis.call
  local accepted = tonumber(call('ZSCORE', KEYS[1], ARGV[1]) or 0)
  if accepted > 0 then
    need('ZREMRANGEBYRANK', KEYS[1], 0, 0)
    need('ZCOUNT', KEYS[1], '-inf', '(0')
    call('ZADD', KEYS[1], -accepted, ARGV[1])
    call('ZREMRANGEBYRANK', KEYS[1], ARGV[2], call('ZCOUNT', KEYS[1], '-inf', '(0') - 1)
  end
  return 0
end, { 'allow-oom' })
