-- Shared by the functions of uploads and versions: how the life of a content ends.
--
-- `unnamed` of a tenant is a sorted set of `<share> <version>` by when they end, ms: uploads that are
-- open, and versions that no change has named yet. `garbage` is one of contents that nothing refers
-- to any more, by when their bytes may go, ms. Versions are not named alike, so nothing ever refers
-- to them again.
local contents = {}

function contents.upload(share, version) return share .. ':upload:' .. version end

function contents.version(share, version) return share .. ':version:' .. version end

-- The key that leads from what a user calls an upload to its version.
function contents.alias(share, user, name) return share .. ':alias:' .. name .. ':' .. user end

-- The key of the versions of a file that no change has kept yet.
function contents.pending(share, file) return share .. ':pending:' .. file end

-- Takes bytes from what a share has `reserved` or `used`.
function contents.free(share, field, bytes)
  if bytes ~= '0' then redis.call('HINCRBY', share, field, '-' .. bytes) end
end

-- What a version of a share is called in the sets of its tenant.
function contents.name(share, version) return string.match(share, '}:share:(.*)$') .. ' ' .. version end

-- The shares that have a file, always in one order.
function contents.homes(key)
  local homes = redis.call('SMEMBERS', key)
  table.sort(homes)
  return homes
end

-- When a content that no change names ends.
function contents.expire(share, version, at)
  redis.call('ZADD', fs.tenant(share) .. 'unnamed', fs.text(at), contents.name(share, version))
end

-- A change has named a version, or a conflict holds it: it does not end by itself.
function contents.settle(share, version)
  redis.call('ZREM', fs.tenant(share) .. 'unnamed', contents.name(share, version))
end

-- Enters a version among those of its file, as the newest one: also when several come within a
-- millisecond.
function contents.enlist(share, file, version, now)
  local versions = share .. ':versions:' .. file
  local newest = redis.call('ZREVRANGE', versions, 0, 0, 'WITHSCORES')[2]
  local at = math.max(now, newest and tonumber(newest) + 1 or 0)
  redis.call('ZADD', versions, fs.text(at), version)
  local uploaded = redis.call('HGET', contents.version(share, version), 'uploaded')
  if uploaded then redis.call('SREM', contents.pending(share, uploaded), version) end
end

-- A version is not, or not any more, what its file holds: it stays for a while. A file has `most`
-- versions; the oldest of more are due at once.
function contents.supersede(share, file, version, now, most)
  local superseded, versions = share .. ':superseded', share .. ':versions:' .. file
  redis.call('ZADD', superseded, fs.text(now), version)
  local spare = redis.call('ZCARD', versions) - most
  if spare <= 0 then return end
  for _, oldest in ipairs(redis.call('ZRANGE', versions, 0, spare - 1)) do
    redis.call('ZADD', superseded, 'XX', 0, oldest)
  end
end

-- A version is what its file holds.
function contents.hold(share, version) redis.call('ZREM', share .. ':superseded', version) end

-- An open conflict needs these versions: they stay until contents.release.
function contents.retain(share, versions)
  for _, version in ipairs(versions) do
    redis.call('HINCRBY', contents.version(share, version), 'needed', 1)
  end
end

-- A conflict that needed these versions is resolved, or needs others.
function contents.release(share, versions, now)
  for _, version in ipairs(versions) do
    local key = contents.version(share, version)
    if redis.call('HINCRBY', key, 'needed', -1) <= 0 then redis.call('HDEL', key, 'needed') end
    redis.call('ZADD', share .. ':superseded', fs.text(now), version)
  end
end

-- Whether an open conflict needs a version.
function contents.is_retained(share, version)
  return redis.call('HEXISTS', contents.version(share, version), 'needed') == 1
end

local function discard(share, version, now)
  contents.settle(share, version)
  local garbage = fs.tenant(share) .. 'garbage'
  redis.call('ZADD', garbage, fs.text(now), contents.name(share, version))
end

-- Whether the server's user may end contents.
function contents.need(share)
  local tenant = fs.tenant(share)
  need('HINCRBY', share, 'used', 0)
  need('UNLINK', share .. ':version:')
  need('ZREM', tenant .. 'unnamed', '')
  need('ZADD', tenant .. 'garbage', 0, '')
  need('SREM', tenant .. 'home:', '')
end

-- Ends an upload, and frees what it reserved.
function contents.end_upload(share, version, now)
  local key = contents.upload(share, version)
  local upload = redis.call('HMGET', key, 'size', 'user', 'name')
  contents.free(share, 'reserved', upload[1])
  redis.call('UNLINK', key)
  if upload[3] ~= '' then redis.call('UNLINK', contents.alias(share, upload[2], upload[3])) end
  discard(share, version, now)
end

-- Ends a version, and frees what it used.
function contents.end_version(share, version, now)
  local key = contents.version(share, version)
  local size, file = unpack(redis.call('HMGET', key, 'size', 'file'))
  contents.free(share, 'used', size)
  redis.call('UNLINK', key)
  redis.call('ZREM', share .. ':versions:' .. file, version)
  redis.call('ZREM', share .. ':superseded', version)
  redis.call('SREM', contents.pending(share, file), version)
  local others = { share .. ':versions:' .. file, contents.pending(share, file) }
  if redis.call('EXISTS', share .. ':node:' .. file, unpack(others)) == 0 then
    local name = string.match(share, '}:share:(.*)$')
    redis.call('SREM', fs.tenant(share) .. 'home:' .. file, name)
  end
  discard(share, version, now)
end
