-- Moves an upload ahead: its bytes up to an offset are durable.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 version  4 writer  5 offset  6 parts  7 hash state  8 how long it lives
--       without progress, ms
-- Returns 'advanced'; 'outrun' when another writer has taken it over; 'gone' when it has ended;
--       'not_found', 'forbidden'.
-- Cost  O(groups). May be repeated.

define('upload_advance', function(KEYS, ARGV)
  local call, share, user = redis.call, KEYS[1], ARGV[1]
  local denial = fs.denial(fs.level(share, user, ARGV[2]), 2)
  if denial then return denial end
  local version, life = ARGV[3], tonumber(ARGV[8])
  local key = contents.upload(share, version)
  local upload = call('HMGET', key, 'user', 'writer', 'offset', 'name')
  if upload[1] ~= user then return 'gone' end
  if upload[2] ~= ARGV[4] then return 'outrun' end
  need('ZADD', fs.tenant(share) .. 'unnamed', 0, '')
  need('PEXPIRE', contents.alias(share, user, upload[4]), 0)
  if tonumber(upload[3]) < tonumber(ARGV[5]) then
    call('HSET', key, 'offset', ARGV[5], 'parts', ARGV[6], 'hash', ARGV[7])
  end
  call('PEXPIRE', contents.alias(share, user, upload[4]), fs.text(2 * life))
  contents.expire(share, version, fs.now() + life)
  return 'advanced'
end)
