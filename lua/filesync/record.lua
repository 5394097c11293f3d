-- Shared by the functions that change a share: an entry of its log, the tenant's feed, and the
-- nudge, in one step.
local record = {}

-- A text as JSON; `null` for none. The slash needs no escape, and most texts none at all.
function record.quoted(text)
  if not text then return 'null' end
  if not string.find(text, '[^%w _.:/-]') then return '"' .. text .. '"' end
  return (string.gsub(cjson.encode(text), '\\/', '/'))
end

-- A time in ms since 1970 as RFC 3339 writes it, in UTC with milliseconds.
function record.rfc3339(ms)
  local seconds = math.floor(ms / 1000)
  local of_day = seconds % 86400
  local day = math.floor(seconds / 86400) + 719468
  local era = math.floor(day / 146097)
  local of_era = day - era * 146097
  local year = math.floor(
    (of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096))
      / 365
  )
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local shifted = math.floor((5 * of_year + 2) / 153)
  local month = shifted < 10 and shifted + 3 or shifted - 9
  return string.format(
    '%04d-%02d-%02dT%02d:%02d:%02d.%03dZ',
    year + era * 400 + (month <= 2 and 1 or 0),
    month,
    of_year - math.floor((153 * shifted + 2) / 5) + 1,
    math.floor(of_day / 3600),
    math.floor(of_day / 60) % 60,
    of_day % 60,
    ms % 1000
  )
end

-- The id of an entry, which it begins with.
function record.id_of(entry) return string.match(entry, '^"id":"([^"]*)"') end

-- Opens a writing of changes into a share. `ids` is what the ids of its entries begin with.
function record.open(share, user, device, number, ids)
  local tenant = fs.tenant(share)
  local state = redis.call('HMGET', share, 'head', 'changed')
  -- Times never decrease with positions.
  local now = math.max(fs.now(), tonumber(state[2] or 0))
  return {
    share = share,
    name = string.match(share, 'share:(.*)$'),
    tenant = tenant,
    user = user,
    device = device,
    number = number,
    ids = ids,
    head = tonumber(state[1]),
    now = now,
    time = record.rfc3339(now),
    count = 0,
  }
end

-- Whether the server's user may make the changes that record.append makes.
function record.need(writing)
  need('HSET', writing.share, 'head', '')
  need('HINCRBY', writing.tenant .. 'tenant', 'position', 0)
  need('XADD', writing.share .. ':log', '*', 'entry', '')
  need('XADD', writing.tenant .. 'feed', '*', 'share', '')
end

-- Appends a change and returns its position. `change` has `kind` (resource_type), `resource`,
-- `parent`, `type` (change_type), `old_path`, `new_path`, `version`, `metadata` (a JSON text),
-- `grantees` whom it concerns whether they see the share or not, and the ids of the node and of
-- the folders that hold it, `folders`, and held it before, `old_folders`.
-- Costs O(size of the change).
function record.append(writing, change)
  writing.count = writing.count + 1
  writing.head = writing.head + 1
  local position = fs.text(writing.head)
  local entry = table.concat({
    '"id":"',
    writing.ids,
    string.format('%02d', writing.count),
    '","resource_type":"',
    change.kind,
    '","resource_id":',
    record.quoted(change.resource),
    ',"parent_id":',
    record.quoted(change.parent),
    ',"change_type":"',
    change.type,
    '","changed_by":',
    record.quoted(writing.user),
    ',"device_id":',
    record.quoted(writing.device),
    ',"changed_at":"',
    writing.time,
    '","old_path":',
    record.quoted(change.old_path),
    ',"new_path":',
    record.quoted(change.new_path),
    ',"version_id":',
    record.quoted(change.version),
    ',"metadata":',
    change.metadata or '{}',
  })
  redis.call('HSET', writing.share, 'head', position, 'changed', fs.text(writing.now))
  log.append(writing.share .. ':log', position, entry)
  for _, grantee in ipairs(change.grantees or { false }) do
    local total = redis.call('HINCRBY', writing.tenant .. 'tenant', 'position', 1)
    local feed = { 'share', writing.name, 'position', position }
    if grantee then
      for _, part in ipairs({ 'grantee', grantee, 'entry', entry }) do
        feed[#feed + 1] = part
      end
    end
    redis.call('XADD', writing.tenant .. 'feed', fs.text(total) .. '-0', unpack(feed))
  end
  local folders = table.concat(change.folders or {}, ' ')
  local old_folders = table.concat(change.old_folders or {}, ' ')
  redis.call(
    'SPUBLISH',
    writing.share .. ':nudges',
    table.concat({ position, writing.number, folders, old_folders, entry }, '\t')
  )
  return writing.head
end
