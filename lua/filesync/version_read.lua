-- A version of a file, for a caller who may read it.
--
-- KEYS  1 the shares that have the file
-- ARGV  1 user  2 groups  3 file  4 version; '' for the one that the file has now
-- Returns {'found', share, version, length, SHA-256, media type, parts}; {'not_found'} when the
--       caller may not see the share, the file is deleted or not there, or the version is of another
--       file, or another user's that no change has named yet.
-- Cost  O(groups) for each share; without a version O(depth) more.

-- The version that a file has now, if it is live.
local function current(share, file)
  local view = tree.open(share)
  local node = tree.read(view, file)
  if not node or not node.v then return nil end
  local _, is_live = tree.line(view, node)
  return is_live and node.v or nil
end

define('version_read', function(KEYS, ARGV)
  local user, file = ARGV[1], ARGV[3]
  for _, name in ipairs(contents.homes(KEYS[1])) do
    local share = fs.tenant(KEYS[1]) .. 'share:' .. name
    if fs.level(share, user, ARGV[2]) > 0 then
      local id = ARGV[4] == '' and current(share, file) or ARGV[4]
      local fields = { 'file', 'state', 'user', 'size', 'sha256', 'mime', 'parts' }
      local version = redis.call('HMGET', contents.version(share, id), unpack(fields))
      local is_readable = version[2] == 'kept' or version[3] == user
      if version[1] == file and is_readable then
        return { 'found', name, id, unpack(version, 4) }
      end
    end
  end
  return { 'not_found' }
end, { 'no-writes' })
