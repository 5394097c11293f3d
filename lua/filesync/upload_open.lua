-- Opens an upload and reserves its length, or takes over one that is open: from here on it has
-- another writer, and the former one is refused.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 file  4 what the user calls the upload; '' for nothing  5 version that a
--       new upload gets  6 length, bytes  7 offset to go on from; 0 to begin anew  8 media type
--       9 how long it lives without progress, ms
-- Returns {'open', version, offset, writer, parts, hash state}, the last two as they were left;
--       {'made', version, length, SHA-256} when it was finished before; {'elsewhere', offset} when
--       it is open at another offset than asked for; {'reused'} when it is of another file or
--       length; {'gone'} when there is nothing to go on with; {'full'} when the length does not fit
--       below the quota; {'not_found'}, {'forbidden'}.
-- Cost  O(groups). Repeated, it takes over what the first call opened.

define('upload_open', function(KEYS, ARGV)
  local call, share, user, now = redis.call, KEYS[1], ARGV[1], fs.now()
  local denial = fs.denial(fs.level(share, user, ARGV[2]), 2)
  if denial then return { denial } end
  local file, name, version, size, offset = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
  local alias, life = contents.alias(share, user, name), tonumber(ARGV[9])
  local known = name ~= '' and call('GET', alias) or version
  local key = contents.upload(share, known)

  local upload = call('HMGET', key, 'file', 'size', 'offset')
  if not upload[1] then
    local made = call('HMGET', contents.version(share, known), 'uploaded', 'size', 'sha256')
    if made[1] and (made[1] ~= file or made[2] ~= size) then return { 'reused' } end
    if made[1] then return { 'made', known, made[2], made[3] } end
    if offset ~= '0' then return { 'gone' } end
    local quota, used, reserved = unpack(call('HMGET', share, 'quota', 'used', 'reserved'))
    if quota ~= '' and tonumber(used) + tonumber(reserved) + tonumber(size) > tonumber(quota) then
      return { 'full' }
    end
    known, key = version, contents.upload(share, version)
  elseif upload[1] ~= file or upload[2] ~= size then
    return { 'reused' }
  elseif offset ~= '0' and offset ~= upload[3] then
    return { 'elsewhere', upload[3] }
  end

  need('ZADD', fs.tenant(share) .. 'unnamed', 0, '')
  need('HINCRBY', share, 'reserved', 0)
  need('HSET', key, 'file', '')
  if name ~= '' then need('SET', alias, '') end
  if not upload[1] then
    call('HINCRBY', share, 'reserved', size)
    call('HSET', key, 'file', file, 'name', name, 'user', user, 'size', size, 'mime', ARGV[8])
  end
  if offset == '0' then call('HSET', key, 'offset', '0', 'parts', '', 'hash', '') end
  local writer = call('HINCRBY', key, 'writer', 1)
  if name ~= '' then call('SET', alias, known, 'PX', fs.text(2 * life)) end
  contents.expire(share, known, now + life)
  return { 'open', known, offset, writer, unpack(call('HMGET', key, 'parts', 'hash')) }
end)
