-- Keeps how far the tail has come, and how it is doing.
--
-- KEYS  1 state
-- ARGV  1 token  2 progress as it was  3 progress as it is now  4 status
-- Returns 1; 0 when a later token was given out; 2 when the token or the progress is not what the caller left: Valkey lost data.
-- Cost  O(1). May be repeated.
local state = redis.call('HMGET', KEYS[1], 'token', 'progress')
local known = state[2] or ''
if tonumber(state[1] or 0) > tonumber(ARGV[1]) then return 0 end
if state[1] ~= ARGV[1] or (known ~= ARGV[2] and known ~= ARGV[3]) then return 2 end
redis.call('HSET', KEYS[1], 'progress', ARGV[3], 'status', ARGV[4])
return 1
