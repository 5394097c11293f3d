-- Entries of all shares that a caller can see, after a position of the tenant's feed.
--
-- KEYS  1 feed
-- ARGV  1 user  2 groups  3 position; '' to learn the head  4 id of the entry at that position; ''
--       when it does not matter  5 most entries that are looked at  6 most bytes of entries
-- Returns {'changed'} when the position is past the head, or names another entry; {'expired'} when
--       the feed does not reach back to it; {'found', head, first kept position, last position that
--       was looked at, and for each entry: tenant's position, share, position, entry}, oldest first.
--       Left out are entries of before the share was granted, but for those about the caller's own
--       grants.
-- Cost  O(entries that are looked at * log entries of a share).

-- What an item of the feed is about: its share, its position there, and its entry if that is kept.
local function read(tenant, item)
  local fields = item[2]
  local name, at, entry = fields[2], fields[4], fields[8]
  return name, at, entry or log.entry(tenant .. 'share:' .. name .. ':log', at)
end

define('feed', function(KEYS, ARGV)
  local call = redis.call
  local feed, user, groups = KEYS[1], ARGV[1], ARGV[2]
  local tenant = fs.tenant(feed)
  local head = call('HGET', tenant .. 'tenant', 'position') or '0'
  local oldest = call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]
  local floor = oldest and string.match(oldest[1], '^%d+') or fs.text(tonumber(head) + 1)
  if ARGV[3] == '' then return { 'found', head, floor, head } end
  local after = tonumber(ARGV[3])
  if after > tonumber(head) then return { 'changed' } end
  if after < tonumber(floor) - 1 then return { 'expired' } end
  if ARGV[4] ~= '' then
    local at = fs.text(after) .. '-0'
    local item = call('XRANGE', feed, at, at)[1]
    local entry = item and select(3, read(tenant, item))
    if not entry then return { 'expired' } end
    if record.id_of(entry) ~= ARGV[4] then return { 'changed' } end
  end
  local own = { ['u:' .. user] = true }
  if groups ~= 'true' then
    for _, group in ipairs(cjson.decode(groups)) do
      own['g:' .. group] = true
    end
  end

  -- Behind which of the tenant's positions the caller sees a share; none when not at all.
  local seen = {}
  local function since(name)
    if seen[name] == nil then
      local share = tenant .. 'share:' .. name
      local first = false
      if fs.level(share, user, groups) > 0 then
        first = 0
        if groups ~= 'true' and call('HGET', share, 'owner') ~= user then
          first = false
          for grantee in pairs(own) do
            local grant = call('HGET', share .. ':grants', grantee)
            local from = grant and tonumber(string.match(grant, '\t(.*)$'))
            if from and (not first or from < first) then first = from end
          end
        end
      end
      seen[name] = first
    end
    return seen[name]
  end

  local found = { 'found', head, floor, fs.text(after) }
  local entries = call('XRANGE', feed, fs.text(after + 1) .. '-0', '+', 'COUNT', ARGV[5])
  local bytes = 0
  for _, item in ipairs(entries) do
    local position = string.match(item[1], '^%d+')
    local grantee, first = item[2][6], since(item[2][2])
    local is_seen = grantee and own[grantee] or first and tonumber(position) > first
    if is_seen then
      local name, at, entry = read(tenant, item)
      if entry then
        bytes = bytes + #entry
        if bytes > tonumber(ARGV[6]) and #found > 4 then break end
        for _, part in ipairs({ position, name, at, entry }) do
          found[#found + 1] = part
        end
      end
    end
    found[4] = position
  end
  return found
end, { 'no-writes' })
