-- Shared by the functions of file sync. KEYS[1] is the hash of a share, `…:share:<share>`; all keys
-- of its tenant begin with what stands before `share:`, and lie in its slot.
local fs = {}

-- Milliseconds since 1970, and its text without an exponent.
function fs.now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

function fs.text(number) return string.format('%.0f', number) end

-- What the key of a share begins with: the tenant's part.
function fs.tenant(share) return string.match(share, '^(.-})') .. ':' end

-- The tenant of a share's key.
function fs.tenant_name(share)
  local name = string.match(share, '{(.-)}')
  return (string.gsub(string.gsub(name, '%%7D', '}'), '%%25', '%%'))
end

-- The key of a device. Its user's name has no separators in it, as `keys.rs` writes it.
function fs.device(tenant, user, id)
  local name = string.gsub(user, '[%%: ]', { ['%'] = '%25', [':'] = '%3A', [' '] = '%20' })
  return tenant .. 'user:' .. name .. ':device:' .. id
end

-- What a caller may do with a share: 0 nothing, 1 read, 2 write, 3 administer. `groups` is a JSON
-- list, or `true` for who administers all shares of the tenant. Costs O(groups).
function fs.level(share, user, groups)
  local owner = redis.call('HGET', share, 'owner')
  if not owner then return 0 end
  if owner == user or groups == 'true' then return 3 end
  local fields = { 'u:' .. user }
  for _, group in ipairs(cjson.decode(groups)) do
    fields[#fields + 1] = 'g:' .. group
  end
  local most = 0
  for _, grant in ipairs(redis.call('HMGET', share .. ':grants', unpack(fields))) do
    if grant then most = math.max(most, tonumber(string.match(grant, '^%d'))) end
  end
  return most
end

-- The status word for a caller who may do less than `least`; none when that is enough.
function fs.denial(level, least)
  if level >= least then return nil end
  return level == 0 and 'not_found' or 'forbidden'
end

-- What a call answered that was made before; none when it was not, or a minute ago.
function fs.made(tenant, call) return redis.call('GET', tenant .. 'made:' .. call) or nil end

-- Remembers what a call has answered, for when it is sent again because its answer was lost.
function fs.remember(tenant, call, answer)
  redis.call('SET', tenant .. 'made:' .. call, answer, 'PX', 60000)
end

-- The tab-separated parts of a text.
function fs.split(text)
  local parts = {}
  for part in string.gmatch(text, '[^\t]+') do
    parts[#parts + 1] = part
  end
  return parts
end
