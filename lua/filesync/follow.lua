-- Enters what happened to documents of Convex into a share: each is a file at the path that the
-- document names. Folders on the way, and the implicit share of an owner, are made with what is first
-- in them.
--
-- KEYS  1 share
-- ARGV  1 name of the implicit share of the owner of the documents  2 owner  3 epoch of a share that is
--       made  4 what the ids of entries begin with; then of each document:
--       id, when it was committed, ns with 19 digits, 'put', 'gone' or 'left' (it has another owner),
--       path: [[name, folded name]...], metadata as JSON: key to JSON text, and the same as they stand
--       in an entry
-- Returns of each document 'told'; 'settled' when this or something later was told before; 'absent'
--       when what is gone was never told; 'no_share' when the share is not there and not implicit.
-- Cost  O(documents * (depth + size of the metadata)). Repeated, it returns 'settled'.

local PER_DOCUMENT = 6

-- Opens a share for what is told of it; none when it is not there.
local function open(share, ids)
  if redis.call('EXISTS', share) == 0 then return nil end
  local writing = record.open(share, 'convex', nil, '0', ids)
  local w = {
    view = tree.open(share),
    writing = writing,
    change = { meta = {} },
    me = '0',
    user = 'convex',
    time = writing.now,
  }
  perform.need(w)
  need('HSET', fs.tenant(share) .. 'followed', '', '')
  need('HDEL', fs.tenant(share) .. 'followed', '')
  return w
end

local function make(share, owner, epoch, ids)
  local writing = record.open(share, 'convex', nil, '0', ids)
  local settings = { 'quota', '', 'portable', '0', 'guard', '' }
  share_of.create(writing, owner, owner, epoch, settings)
end

-- Removes the file of a document.
local function remove(w, id, time)
  local node = tree.read(w.view, id)
  if select(2, tree.line(w.view, node)) then perform.plan(w, { node = node, delete = true }) end
  tree.set(w.view, node, 'ts', time)
end

-- A name that is free in a folder, or is that of what `may_have` lets have it.
local function free_name(w, folder, name, may_have)
  local holder = tree.holder(w.view, folder, name[2])
  while holder and not may_have(holder) do
    name = { name[1] .. '~', name[2] .. '~' }
    holder = tree.holder(w.view, folder, name[2])
  end
  return name, holder
end

local function is_folder(node) return node.k == 'folder' end

-- The folder that a path leads to.
local function folder_of(w, path)
  local at = tree.read(w.view, 'root')
  for level = 1, #path - 1 do
    local name, holder = free_name(w, at, path[level], is_folder)
    if not holder then
      local id = string.gsub(w.writing.ids, '^[^_]*', 'fld') .. w.writing.count
      local plan = { id = id, kind = 'folder', parent = at, name = name }
      perform.plan(w, plan)
      holder = plan.node
    end
    at = holder
  end
  return at
end

-- Has the file of a document be as the document is.
local function put(w, document)
  local id, path = document.id, cjson.decode(document.path)
  local place = (#path > 1 or path[1][1] ~= id) and document.path or nil
  local node = tree.read(w.view, id)
  local is_live = node and select(2, tree.line(w.view, node))
  local meta = { whole = document.x, other = document.other }
  if is_live and node.place == place then
    -- What was moved here stays there until its document names another path.
    w.change.meta = meta
    perform.plan(w, { node = node })
  else
    w.change.meta = {}
    local folder = folder_of(w, path)
    local name = free_name(w, folder, path[#path], function(it) return it == node end)
    w.change.meta = meta
    if is_live then
      perform.fill_in(w, node)
      perform.plan(w, { node = node, place = true, parent = folder, name = name })
    else
      local plan = { node = node, back = node and true, parent = folder, name = name }
      plan.id, plan.kind = id, 'file'
      perform.plan(w, plan)
      node = plan.node
    end
  end
  tree.set(w.view, node, 'ts', document.time)
  if place then
    tree.set(w.view, node, 'place', place)
  elseif node.place then
    tree.unset(w.view, node, 'place')
  end
end

define('follow', function(KEYS, ARGV)
  local call, tenant = redis.call, fs.tenant(KEYS[1])
  local this = string.match(KEYS[1], 'share:(.*)$')
  local implicit, owner, epoch = ARGV[1], ARGV[2], ARGV[3]
  -- The shares of documents that have named one.
  local places = tenant .. 'followed'
  local views, opened = {}, 0
  local function ids()
    opened = opened + 1
    return ARGV[4] .. opened .. '-'
  end
  local function view(name)
    if not views[name] then views[name] = open(tenant .. 'share:' .. name, ids()) end
    return views[name]
  end
  local function is_told(w, document)
    local node = w and tree.read(w.view, document.id)
    return node and node.ts, node and node.ts and node.ts >= document.time
  end

  local function take(document, what)
    local id = document.id
    local named = what ~= 'left' and call('HGET', places, id) or nil
    local from = named or implicit
    local is_known, is_settled = is_told(view(from), document)
    if is_settled then return 'settled' end
    if what ~= 'put' then
      if not is_known then return 'absent' end
      remove(view(from), id, document.time)
      if named then call('HDEL', places, id) end
      return 'told'
    end
    if not view(this) then
      if this ~= implicit then return 'no_share' end
      make(KEYS[1], owner, epoch, ids())
    end
    if from ~= this then
      if select(2, is_told(view(this), document)) then return 'settled' end
      if is_known then remove(view(from), id, document.time) end
    end
    put(view(this), document)
    if this ~= implicit then
      call('HSET', places, id, this)
    elseif named then
      call('HDEL', places, id)
    end
    return 'told'
  end

  local statuses = {}
  for at = 5, #ARGV, PER_DOCUMENT do
    local document = { id = ARGV[at], time = ARGV[at + 1], path = ARGV[at + 3] }
    document.x, document.other = ARGV[at + 4], ARGV[at + 5]
    statuses[#statuses + 1] = take(document, ARGV[at + 2])
  end
  for _, w in pairs(views) do
    tree.flush(w.view)
  end
  return statuses
end)
