-- Shared by the functions that apply changes: what a verdict of judge.lua does to the state, the log
-- and the nudges.
local perform = {}

-- Whether the server's user may do all of it.
function perform.need(w)
  local share = w.view.share
  record.need(w.writing)
  need('HSET', share .. ':node:', '', '')
  need('HDEL', share .. ':node:', '')
  need('ZADD', share .. ':nodes', 0, '')
  need('ZREM', share .. ':nodes', '')
  need('SADD', w.writing.tenant .. 'home:', '')
  need('SET', w.writing.tenant .. 'made:', '')
  need('HINCRBY', share .. ':version:', 'needed', 0)
  need('XADD', share .. ':judged', '*', 'of', '')
  need('SREM', share .. ':pending:', '')
  need('INCRBY', share .. ':deleted:', 0)
  need('EXPIRE', share .. ':deleted:', 0)
end

local function mark(w, old) return tree.mark(old, w.writing.head + 1, w.me, w.time) end

-- Adds a node and what is in it to the counts of the folders on a line, or takes them away; `inner`
-- tells that something came into them.
local function count(w, line, by, inner)
  for _, folder in ipairs(line) do
    local total = tonumber(folder.cnt or 0) + by
    if inner then
      tree.set(w.view, folder, 'cnt', fs.text(total), 'i', mark(w, folder.i))
    elseif by ~= 0 then
      tree.set(w.view, folder, 'cnt', fs.text(total))
    end
  end
end

-- How many nodes a node is, with all that is in it.
function perform.weight(node) return 1 + tonumber(node.cnt or 0) end

-- The other metadata of a node with that of a change, key by key; `whole` takes the place of it, with
-- `other` as it stands in entries.
local function merged(node, meta)
  local fields = {}
  if meta.t then
    fields[#fields + 1] = 't'
    fields[#fields + 1] = meta.t
  end
  if meta.m then
    fields[#fields + 1] = 'm'
    fields[#fields + 1] = meta.m
  end
  if meta.whole then
    node.other = meta.other
    return { 'x', meta.whole }
  end
  if meta.x and next(meta.x) then
    local all = node.x and cjson.decode(node.x) or {}
    for key, value in pairs(meta.x) do
      all[key] = value
    end
    fields[#fields + 1] = 'x'
    fields[#fields + 1] = cjson.encode(all)
    node.other = nil
  end
  return fields
end

-- Gives a node the metadata of the change.
function perform.fill_in(w, node)
  local fields = merged(node, w.change.meta)
  if #fields > 0 then tree.set(w.view, node, unpack(fields)) end
end

-- Gives a node the content of a version, which is kept from here on.
local function fill(w, node, version)
  local share, before = w.view.share, node.v
  tree.set(
    w.view,
    node,
    'v',
    version.id,
    's',
    version.size,
    'h',
    version.sha256,
    'lt',
    fs.text(w.time),
    'c',
    mark(w, node.c or node.b)
  )
  if version.mime and not node.t then tree.set(w.view, node, 't', version.mime) end
  perform.keep(w, node.id, version.id)
  contents.hold(share, version.id)
  if before and before ~= version.id then
    contents.supersede(share, node.id, before, w.writing.now, w.change.most.versions)
  end
  redis.call('HSET', share .. ':version:' .. version.id, 'pos', fs.text(w.writing.head + 1))
end

-- Keeps a version as one of a file.
function perform.keep(w, file, version)
  local share = w.view.share
  local now = fs.text(w.writing.now)
  redis.call('HSET', share .. ':version:' .. version, 'file', file, 'state', 'kept', 'applied', now)
  contents.enlist(share, file, version, w.writing.now)
  contents.settle(share, version)
end

-- Enters a node under a name into a folder.
local function attach(w, node, folder, name)
  redis.call('HSET', tree.names(w.view, folder), name[2], node.id)
  redis.call('HDEL', tree.ghosts(w.view, folder), name[2])
  tree.set(w.view, node, 'p', folder.id, 'pg', folder.gen, 'n', name[1])
  if name[1] ~= name[2] then
    tree.set(w.view, node, 'f', name[2])
  elseif node.f then
    tree.unset(w.view, node, 'f')
  end
end

local function detach(w, node, folder)
  local names = tree.names(w.view, folder)
  if redis.call('HGET', names, tree.folded(node)) == node.id then
    redis.call('HDEL', names, tree.folded(node))
  end
end

-- Appends the entry of a node, and gives the node its position.
local function entry(w, node, line, change)
  change.kind, change.resource = node.k, node.id
  change.parent, change.version = node.p, node.v
  change.folders = tree.ids(node, line)
  change.metadata = change.metadata or tree.metadata(node)
  local position = record.append(w.writing, change)
  tree.set(
    w.view,
    node,
    'pos',
    fs.text(position),
    'at',
    fs.text(w.writing.now),
    'by',
    w.writing.user
  )
  w.position = position
end

-- Brings a node back, under a name, in a folder that is live: a folder without what it held.
local function revive(w, node, folder, line, name)
  local old = tree.read(w.view, node.p)
  if old then detach(w, node, old) end
  if node.k == 'folder' then
    local doomed = node.id .. ' ' .. node.gen
    redis.call('ZADD', w.view.share .. ':doomed', w.writing.head + 1, doomed)
    tree.set(w.view, node, 'gen', fs.text(tonumber(node.gen) + 1), 'cnt', '0')
  else
    redis.call('ZREM', w.view.share .. ':doomed', node.id)
  end
  if node.gone then tree.unset(w.view, node, 'gone') end
  attach(w, node, folder, name)
  tree.set(w.view, node, 'g', mark(w, node.g))
  redis.call('ZADD', w.view.share .. ':nodes', 0, node.id)
  count(w, line, 1, true)
end

-- Moves or renames a live node.
local function move(w, node, folder, line, name)
  local old = tree.read(w.view, node.p)
  local old_line = tree.line(w.view, node)
  local old_path = tree.path(old_line, node.n)
  local is_moved = folder.id ~= node.p
  local is_renamed = name[1] ~= node.n
  detach(w, node, old)
  attach(w, node, folder, name)
  if is_moved then
    count(w, old_line, -perform.weight(node), false)
    count(w, line, perform.weight(node), true)
    tree.set(w.view, node, 'pp', mark(w, node.pp or node.b))
  end
  if is_renamed then tree.set(w.view, node, 'pn', mark(w, node.pn or node.b)) end
  tree.set(w.view, node, 'w', '1')
  entry(w, node, line, {
    type = is_moved and 'moved' or 'renamed',
    old_path = old_path,
    new_path = tree.path(line, name[1]),
    old_folders = tree.ids(node, old_line),
  })
end

local function delete(w, node, line)
  local path = tree.path(line, node.n)
  local parent = line[1]
  detach(w, node, parent)
  local doomed = node.id
  if node.k == 'folder' then
    redis.call('HSET', tree.ghosts(w.view, parent), tree.folded(node), node.id)
    doomed = node.id .. ' ' .. node.gen
  end
  redis.call('ZADD', w.view.share .. ':doomed', w.writing.head + 1, doomed)
  redis.call('ZREM', w.view.share .. ':nodes', node.id)
  tree.set(w.view, node, 'gone', '1', 'g', mark(w, node.g))
  count(w, line, -perform.weight(node), false)
  entry(w, node, line, { type = 'deleted', old_path = path })
end

-- Makes a new node.
local function create(w, plan, line)
  local node = { id = plan.id, k = plan.kind, gen = '0' }
  w.view.nodes[node.id] = node
  redis.call('SADD', w.writing.tenant .. 'home:' .. node.id, w.writing.name)
  tree.set(w.view, node, 'k', plan.kind, 'b', mark(w))
  attach(w, node, plan.parent, plan.name)
  redis.call('ZADD', w.view.share .. ':nodes', 0, node.id)
  count(w, line, 1, true)
  return node
end

-- Does what a plan says. tree.flush writes the rest of it.
function perform.plan(w, plan)
  local node = plan.node
  for _, it in ipairs(plan.revive or {}) do
    local line = tree.upwards(w.view, it.parent)
    revive(w, it.folder, it.parent, line, it.name)
    entry(w, it.folder, line, {
      type = 'created',
      new_path = tree.path(line, it.name[1]),
      metadata = tree.metadata(it.folder, '"restored":true'),
    })
  end
  if plan.aside then
    local folder = tree.read(w.view, plan.aside.node.p)
    move(w, plan.aside.node, folder, (tree.upwards(w.view, folder)), plan.aside.name)
  end
  if plan.undo then
    local up = tree.read(w.view, node.p)
    move(w, plan.undo, up, (tree.upwards(w.view, up)), plan.undo_name)
  end
  local line = plan.parent and tree.upwards(w.view, plan.parent) or tree.line(w.view, node)
  if plan.delete then return delete(w, node, line) end
  if plan.place then return move(w, node, plan.parent, line, plan.name) end
  if plan.back then
    revive(w, node, plan.parent, line, plan.name)
    if plan.version then fill(w, node, plan.version) end
    perform.fill_in(w, node)
    return entry(w, node, line, {
      type = 'created',
      new_path = tree.path(line, node.n),
      metadata = tree.metadata(node, '"restored":true'),
    })
  end
  local type = 'updated'
  if not node then
    node = create(w, plan, line)
    type = 'created'
    plan.node = node
  end
  if plan.version then
    fill(w, node, plan.version)
    if type == 'updated' then count(w, line, 0, true) end
  end
  perform.fill_in(w, node)
  entry(w, node, line, { type = type, new_path = tree.path(line, node.n) })
end
