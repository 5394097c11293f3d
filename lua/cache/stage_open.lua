-- Opens the user's staging set. Whatever a former attempt staged goes: its further calls are
-- refused.
--
-- KEYS  1 epoch  2-6 staging: info, entries, order, docs, skipped
-- ARGV  1 token of this attempt  2 epoch it began in
--       3 limit, bytes  4 policy: refuse | skip  5 staging TTL, ms
-- Returns {'staged'}; {'superseded'} when the epoch moved on; {'lost'} when it moved back: Valkey
--       lost data.
-- Cost  O(1): values are freed by another thread. May be repeated.

define('stage_open', function(KEYS, ARGV)
  local call = redis.call
  local why = left_epoch(KEYS, ARGV)
  if why then return { why } end
  if call('HGET', KEYS[2], 'token') == ARGV[1] then return { 'staged' } end
  drop_staging(KEYS)
  call(
    'HSET',
    KEYS[2],
    'token',
    ARGV[1],
    'seq',
    0,
    'limit',
    ARGV[3],
    'policy',
    ARGV[4],
    'entries',
    0,
    'skipped',
    0,
    'bytes',
    0,
    'parts',
    0
  )
  call('PEXPIRE', KEYS[2], ARGV[5])
  return { 'staged' }
end)
