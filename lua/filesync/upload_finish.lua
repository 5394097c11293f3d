-- Makes a version of an upload whose bytes are durable. It belongs to its user until a change names
-- it, and ends when none does in time.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 version  4 writer  5 parts  6 SHA-256, hexadecimal  7 how long the version
--       lives without a change that names it, ms
-- Returns 'made'; 'outrun' when another writer has taken the upload over; 'gone' when it has ended;
--       'not_found', 'forbidden'.
-- Cost  O(groups). May be repeated.

define('upload_finish', function(KEYS, ARGV)
  local call, share, user, now = redis.call, KEYS[1], ARGV[1], fs.now()
  local denial = fs.denial(fs.level(share, user, ARGV[2]), 2)
  if denial then return denial end
  local id, life, tenant = ARGV[3], tonumber(ARGV[7]), fs.tenant(share)
  local key, version = contents.upload(share, id), contents.version(share, id)
  if call('HGET', version, 'user') == user then return 'made' end
  local fields = { 'user', 'writer', 'file', 'size', 'mime', 'name' }
  local owner, writer, file, size, mime, name = unpack(call('HMGET', key, unpack(fields)))
  if owner ~= user then return 'gone' end
  if writer ~= ARGV[4] then return 'outrun' end

  local alias = contents.alias(share, user, name)
  need('HINCRBY', share, 'used', 0)
  need('HSET', version, 'file', '')
  need('UNLINK', key)
  need('PEXPIRE', alias, 0)
  need('ZADD', tenant .. 'unnamed', 0, '')
  need('SADD', tenant .. 'home:' .. file, '')
  contents.free(share, 'reserved', size)
  call('HINCRBY', share, 'used', size)
  call(
    'HSET',
    version,
    'file',
    file,
    'uploaded',
    file,
    'size',
    size,
    'sha256',
    ARGV[6],
    'mime',
    mime,
    'user',
    user,
    'at',
    fs.text(now),
    'state',
    'pending',
    'parts',
    ARGV[5]
  )
  call('UNLINK', key)
  call('PEXPIRE', alias, fs.text(2 * life))
  contents.expire(share, id, now + life)
  call('SADD', contents.pending(share, file), id)
  call('SADD', tenant .. 'home:' .. file, string.match(share, '}:share:(.*)$'))
  return 'made'
end)
