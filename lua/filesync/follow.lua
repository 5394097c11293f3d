-- Enters what happened to documents of Convex into shares, one after the other: each is a file at the
-- path that the document names. Folders on the way, and the implicit share of an owner, are made with
-- what is first in them.
--
-- KEYS  1 the shares of documents that have named one, by document
-- ARGV  1 epoch of a share that is made  2 what the ids of entries begin with; then of each document:
--       id, when it was committed, ns with 19 digits, 'put', 'gone' or 'left' (it has another owner),
--       owner, name of the owner's implicit share, the share that it names or '', path: [[name,
--       folded name]...], metadata as JSON: key to JSON text, and the same as they stand in an entry
-- Returns of each document 'told'; 'settled' when this or something later was told before; 'absent'
--       when what is gone was never told.
-- Cost  O(documents * (depth + size of the metadata)). Repeated, it returns 'settled'.

local FIELDS = { 'id', 'time', 'what', 'owner', 'implicit', 'named', 'path', 'x', 'other' }

-- Opens a share for what is told of it; none when it is not there.
local function open(share, ids)
  if redis.call('EXISTS', share) == 0 then return nil end
  local writing = record.open(share, 'convex', nil, '0', ids)
  return {
    view = tree.open(share),
    writing = writing,
    change = { meta = {} },
    me = '0',
    user = 'convex',
    time = writing.now,
  }
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
  local call, places = redis.call, KEYS[1]
  local tenant = fs.tenant(places)
  local views, opened, is_allowed = {}, 0, false
  local function ids()
    opened = opened + 1
    return ARGV[2] .. opened .. '-'
  end
  local function view(name)
    if not views[name] then
      views[name] = open(tenant .. 'share:' .. name, ids())
      -- Once for all shares, whose keys begin alike.
      if views[name] and not is_allowed then
        perform.need(views[name])
        need('HSET', places, '', '')
        need('HDEL', places, '')
        is_allowed = true
      end
    end
    return views[name]
  end
  local function is_told(w, document)
    local node = w and tree.read(w.view, document.id)
    return node and node.ts, node and node.ts and node.ts >= document.time
  end

  local function take(document)
    local id, implicit = document.id, document.implicit
    local placed = document.what ~= 'left' and call('HGET', places, id) or nil
    local from = placed or implicit
    local is_known, is_settled = is_told(view(from), document)
    if is_settled then return 'settled' end
    if document.what ~= 'put' then
      if not is_known then return 'absent' end
      remove(view(from), id, document.time)
      if placed then call('HDEL', places, id) end
      return 'told'
    end
    local to = document.named ~= '' and view(document.named) and document.named or implicit
    if not view(to) then make(tenant .. 'share:' .. to, document.owner, ARGV[1], ids()) end
    if from ~= to then
      if select(2, is_told(view(to), document)) then return 'settled' end
      if is_known then remove(view(from), id, document.time) end
    end
    put(view(to), document)
    if to ~= implicit then
      call('HSET', places, id, to)
    elseif placed then
      call('HDEL', places, id)
    end
    return 'told'
  end

  local statuses = {}
  for at = 3, #ARGV, #FIELDS do
    local document = {}
    for place, field in ipairs(FIELDS) do
      document[field] = ARGV[at + place - 1]
    end
    statuses[#statuses + 1] = take(document)
  end
  for _, w in pairs(views) do
    tree.flush(w.view)
  end
  return statuses
end)
