-- The kept versions of a file, the newest first.
--
-- KEYS  1 the shares that have the file
-- ARGV  1 user  2 groups  3 file  4 how many at most
-- Returns {'found', {version, length, SHA-256, media type, user, time of the upload, time when it was
--       applied}...}, times in ms; {'not_found'} when the caller sees no share that has the file.
-- Cost  O(groups) for each share, and O(versions).

define('version_list', function(KEYS, ARGV)
  local call, file = redis.call, ARGV[3]
  for _, name in ipairs(contents.homes(KEYS[1])) do
    local share = fs.tenant(KEYS[1]) .. 'share:' .. name
    local may_read = fs.level(share, ARGV[1], ARGV[2]) > 0
    local versions = may_read
      and call('ZREVRANGE', share .. ':versions:' .. file, 0, tonumber(ARGV[4]) - 1)
    if versions and versions[1] then
      local answer = { 'found' }
      local fields = { 'size', 'sha256', 'mime', 'user', 'at', 'applied' }
      for _, version in ipairs(versions) do
        local values = call('HMGET', contents.version(share, version), unpack(fields))
        answer[#answer + 1] = { version, unpack(values) }
      end
      return answer
    end
  end
  return { 'not_found' }
end, { 'no-writes' })
