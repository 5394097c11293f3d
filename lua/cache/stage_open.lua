-- Opens a staging set and records the epoch it belongs to.
--
-- KEYS  1 epoch  2 staging info
-- ARGV  1 limit, bytes  2 policy: refuse | skip  3 staging TTL, ms
-- Returns the epoch.
-- Cost  O(1). May be repeated.
local epoch = redis.call('HGET', KEYS[1], 'value') or '0'
redis.call('HSET', KEYS[2], 'epoch', epoch, 'seq', 0, 'limit', ARGV[1], 'policy', ARGV[2],
  'entries', 0, 'skipped', 0, 'bytes', 0)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return tonumber(epoch)
