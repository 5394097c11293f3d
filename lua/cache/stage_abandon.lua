-- Drops the user's staging set, if it is the caller's.
--
-- KEYS  1-5 staging: info, entries, order, docs, skipped
-- ARGV  1 token of the attempt
-- Returns 0.
-- Cost  O(1): values are freed by another thread. May be repeated.

define('stage_abandon', function(KEYS, ARGV)
  if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then
    redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  end
  return 0
end, { 'allow-oom' })
