-- Shared by the functions that apply changes: answers, and what is kept of conflicts.
local outcome = {}

local NAMES = {
  A = 'applied',
  M = 'merged',
  N = 'noop',
  F = 'forced',
  V = 'revived',
  K = 'copied',
  S = 'suffixed',
  X = 'moved_aside',
  T = 'forced',
  D = 'dropped',
  H = 'held',
  B = 'skip',
  R = 'rejected',
}

local function object(fields)
  local parts = {}
  for at = 1, #fields, 2 do
    if fields[at + 1] then parts[#parts + 1] = '"' .. fields[at] .. '":' .. fields[at + 1] end
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

local function optional(text) return text and record.quoted(text) end

-- The name of which copies are wanted, how many were tried, and the name of the device.
function outcome.wanted(w, verdict)
  local key = fs.device(w.writing.tenant, w.user, w.writing.device)
  local device = redis.call('HGET', key, 'name') or w.writing.device
  return object({
    'name',
    record.quoted(verdict.name),
    'tried',
    verdict.tried,
    'device',
    record.quoted(device),
  })
end

-- An entry of a log as a whole change.
function outcome.change(w, position)
  local entry = log.entry(w.view.share .. ':log', fs.text(position))
  if not entry then return 'null' end
  return table.concat({
    '{"position":',
    fs.text(position),
    ',"tenant_id":',
    record.quoted(fs.tenant_name(w.view.share)),
    ',"share_id":',
    record.quoted(w.writing.name),
    ',',
    entry,
    '}',
  })
end

-- Ids of nodes in a folder that came or changed after the base, 100 at most. Looks at 500 nodes at
-- most.
local function inner_ids(w, folder)
  local ids, queue, looked = {}, { folder }, 0
  while #queue > 0 do
    local at = table.remove(queue)
    for _, id in ipairs(redis.call('HVALS', tree.names(w.view, at))) do
      looked = looked + 1
      if looked > 500 or #ids >= 100 then return ids end
      local node = tree.read(w.view, id)
      if node and tonumber(node.pos) > w.base then ids[#ids + 1] = record.quoted(id) end
      if node and node.k == 'folder' then queue[#queue + 1] = node end
    end
  end
  return ids
end

-- The resource that a change is about, also when it makes it.
local function resource(w, verdict)
  return w.change.r or verdict.version and verdict.version.file or 'path ' .. (w.change.path or '')
end

-- What has not become of a change goes on as a version of its file, so that its bytes stay.
local function keep_loser(w, is_held)
  local id = w.change.v
  if not id then return end
  local version = w.view.share .. ':version:' .. id
  local state, file = unpack(redis.call('HMGET', version, 'state', 'file'))
  if state ~= 'pending' and state ~= 'held' then return end
  if is_held then
    redis.call('HSET', version, 'state', 'held')
    contents.settle(w.view.share, id)
  else
    perform.keep(w, file, id)
    contents.supersede(w.view.share, file, id, w.writing.now, w.change.most.versions)
  end
end

-- The versions of others that whoever resolves a conflict compares with.
local function compared(w, server)
  local share, versions = w.view.share, {}
  for _, id in ipairs({ server and server.v or '', w.change.bv or '' }) do
    local is_there = id ~= '' and redis.call('EXISTS', contents.version(share, id)) == 1
    if is_there and id ~= versions[1] then versions[#versions + 1] = id end
  end
  return versions
end

-- An open conflict needs other versions from now on than its last change did: what that held is a
-- version of its file.
local function replace(w, key)
  local share = w.view.share
  local before = redis.call('HMGET', key, 'needs', 'holds')
  if before[1] then contents.release(share, fs.split(before[1]), w.writing.now) end
  local held = before[2]
  if held and held ~= w.change.v then
    local file = redis.call('HGET', contents.version(share, held), 'file')
    if file then
      perform.keep(w, file, held)
      contents.supersede(share, file, held, w.writing.now, w.change.most.versions)
    end
  end
end

-- Stores a conflict: open when the change is held, else resolved by the strategy. Returns its id.
function outcome.store(w, verdict)
  -- The conflict that is being resolved has its place already.
  if w.resolving then return w.resolving end
  local share = w.view.share
  local server = verdict.server or verdict.node
  local held = resource(w, verdict) .. '\t' .. w.me
  local is_open = verdict.letter == 'H'
  local id = is_open and redis.call('HGET', share .. ':open', held) or w.conflict
  local key = share .. ':conflict:' .. id
  local now = record.rfc3339(w.writing.now)
  local json = object({
    'id',
    record.quoted(id),
    'share_id',
    record.quoted(w.writing.name),
    'device_id',
    record.quoted(w.writing.device),
    'resource_type',
    record.quoted(w.change.k or server and server.k),
    'resource_id',
    record.quoted(w.change.r or server and server.id),
    'client_change',
    w.raw,
    'server_change',
    server and outcome.change(w, tonumber(server.pos)) or 'null',
    'server_version_id',
    record.quoted(server and server.v),
    'client_version_id',
    record.quoted(w.change.v),
    'base_version_id',
    record.quoted(w.change.bv),
    'server_path',
    record.quoted(verdict.server_path or server and tree.path_of(w.view, server)),
    'client_path',
    record.quoted(w.change.path),
    'reason',
    record.quoted(rules.rows[verdict.row].reason),
    'changed_by',
    record.quoted(server and server.by),
    'detected_at',
    '"' .. now .. '"',
  })
  redis.call('HSET', key, 'json', json, 'device', w.writing.device, 'user', w.writing.user)
  redis.call('ZADD', share .. ':conflicts', w.writing.now, id)
  redis.call('SADD', w.writing.tenant .. 'home:' .. id, w.writing.name)
  if is_open then
    replace(w, key)
    local needs = compared(w, server)
    contents.retain(share, needs)
    redis.call('HSET', key, 'needs', table.concat(needs, '\t'), 'holds', w.change.v or '')
    redis.call(
      'HSET',
      key,
      'change',
      w.prepared,
      'raw',
      w.raw,
      'base',
      fs.text(w.base),
      'time',
      fs.text(w.time),
      'number',
      w.me,
      'held',
      held,
      'row',
      verdict.row
    )
    if redis.call('HSET', share .. ':open', held, id) == 1 then
      redis.call('HINCRBY', share .. ':held', w.me, 1)
    end
  else
    redis.call('HSET', key, 'resolution', w.strategy, 'resolved_at', now, 'result', 'null')
    redis.call('ZADD', share .. ':resolved', fs.text(w.writing.now), id)
  end
  return id
end

-- A stored conflict is resolved.
function outcome.settle(w, id, needs)
  contents.release(w.view.share, fs.split(needs or ''), w.writing.now)
  redis.call('ZADD', w.view.share .. ':resolved', fs.text(w.writing.now), id)
end

-- Does what a verdict says. Returns the item of the answer, and the first and last position that
-- were written; 0 when none was.
function outcome.done(w, verdict)
  local letter, change = verdict.letter, w.change
  local name = record.quoted(NAMES[letter == 'A' and verdict.merged and 'M' or letter])
  local id = record.quoted(change.id)
  if letter == 'R' or letter == 'B' then
    return object({
      'id',
      id,
      'outcome',
      name,
      'reason',
      record.quoted(letter == 'B' and 'depends_on' or 'invalid'),
      'code',
      optional(verdict.code),
      'detail',
      optional(verdict.detail),
      'resource_id',
      record.quoted(change.r),
      'server',
      'null',
      'next',
      '"none"',
    }),
      0,
      0
  end
  if letter == 'D' or letter == 'H' then
    local server = verdict.server
    local ids = verdict.is_inner and '[' .. table.concat(inner_ids(w, server), ',') .. ']'
    keep_loser(w, letter == 'H')
    local conflict = outcome.store(w, verdict)
    return object({
      'id',
      id,
      'outcome',
      name,
      'reason',
      record.quoted(rules.rows[verdict.row].reason),
      'conflict_id',
      record.quoted(conflict),
      'resource_id',
      record.quoted(change.r),
      'server',
      server and tree.json(w.view, server) or 'null',
      'client_version_id',
      optional(change.v),
      'inner',
      ids,
      'next',
      record.quoted(verdict.next),
    }),
      0,
      0
  end
  local first = w.writing.head + 1
  local node = verdict.node
  if letter == 'N' then
    if node and verdict.version and verdict.version.id ~= node.v then keep_loser(w, false) end
  else
    verdict.server_path = verdict.row and node and tree.path_of(w.view, node)
    local conflict = verdict.row and outcome.store(w, verdict)
    perform.plan(w, verdict)
    node = verdict.node
    verdict.conflict = conflict
  end
  local resource_id = node and node.id or change.r
  local item = object({
    'id',
    id,
    'outcome',
    name,
    'resource_id',
    record.quoted(resource_id),
    'client_resource_id',
    change.r and change.r ~= resource_id and record.quoted(change.r),
    'version_id',
    record.quoted(node and node.v),
    'path',
    record.quoted(node and tree.path_of(w.view, node)),
    'position',
    w.position and fs.text(w.position) or 'null',
    'overwrote',
    optional(verdict.overwrote),
    'conflict_id',
    optional(verdict.conflict),
    'clock',
    w.is_clock_ignored and '"ignored"',
  })
  if verdict.conflict then
    redis.call('HSET', w.view.share .. ':conflict:' .. verdict.conflict, 'result', item)
  end
  if not w.position then return item, 0, 0 end
  return item, first, w.writing.head
end
