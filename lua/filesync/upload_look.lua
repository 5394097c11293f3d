-- How far an upload is, by what its user calls it.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 file  4 name of the upload
-- Returns {'open', version, length, offset}; {'made', version, length, length} once it is finished;
--       {'gone'} when there is none, or it is of another file; {'not_found'}, {'forbidden'}.
-- Cost  O(groups).

define('upload_look', function(KEYS, ARGV)
  local call, share = redis.call, KEYS[1]
  local denial = fs.denial(fs.level(share, ARGV[1], ARGV[2]), 2)
  if denial then return { denial } end
  local version = call('GET', contents.alias(share, ARGV[1], ARGV[4]))
  if not version then return { 'gone' } end
  local upload = call('HMGET', contents.upload(share, version), 'file', 'size', 'offset')
  if upload[1] == ARGV[3] then return { 'open', version, upload[2], upload[3] } end
  local made = call('HMGET', contents.version(share, version), 'uploaded', 'size')
  if made[1] == ARGV[3] then return { 'made', version, made[2], made[2] } end
  return { 'gone' }
end, { 'no-writes' })
