-- Keeps how far the tail has come, and how it is doing.
--
-- KEYS  1 state
-- ARGV  1 token  2 progress as it was  3 progress as it is now  4 status
-- Returns 'saved'; 'superseded' when a later token was given out; 'lost' when the token was never
--       given out, or when the progress is another one than the caller knows: Valkey lost data.
-- Cost  O(1). May be repeated.

define('save', function(KEYS, ARGV)
  local state = redis.call('HMGET', KEYS[1], 'token', 'progress')
  local token, known = tonumber(state[1] or 0), state[2] or ''
  if token > tonumber(ARGV[1]) then return 'superseded' end
  if token < tonumber(ARGV[1]) or (known ~= ARGV[2] and known ~= ARGV[3]) then return 'lost' end
  redis.call('HSET', KEYS[1], 'progress', ARGV[3], 'status', ARGV[4])
  return 'saved'
end, { 'allow-oom' })
