-- Shared by the functions that read or change the tree of a share.
--
-- A node is a hash. All have `k` (kind, `file` or `folder`), `p` (id of the parent), `n` (name), `f`
-- (folded name, when that is another), `pos` (position of its last entry), `at` (when that was, ms)
-- and `by` (whose it was). Files have `v` (version), `s` (size), `h` (SHA-256), `t` (media type), `m`
-- (modified_at as it was given), `lt` (edit time, ms) and `x` (other metadata: JSON, key to JSON
-- text). A tombstone has `gone`.
--
-- A folder that comes back from a tombstone has a new generation, `gen`, and with it another hash of
-- names: what it held before stays deleted. A node is live when it and all folders above it are no
-- tombstones and its `pg` is the generation of its parent, all the way to the root.
--
-- The writers of a node's content `c`, parent `pp`, name `pn`, deletion or revival `g`, and of what
-- came into a folder at any depth, `i`, are marks: position, device number and edit time of the last
-- writer, and of the last one before who was another. `b` stands for the marks that are not there.
-- `w` is set when the node came to its place by a move or rename. `cnt` counts the live nodes in a
-- folder, at any depth. Files that follow a document of Convex have `ts`, when it was committed (ns),
-- and `place`, the path that it names, unless that is the usual one.
local tree = {}

local FIELDS = {
  'k',
  'p',
  'n',
  'f',
  'pg',
  'gen',
  'v',
  's',
  'h',
  't',
  'm',
  'lt',
  'x',
  'pos',
  'at',
  'by',
  'gone',
  'b',
  'c',
  'pp',
  'pn',
  'g',
  'i',
  'w',
  'cnt',
  'ts',
  'place',
}

-- A view of a share's tree for one call, which keeps the nodes that it has read and what is set of
-- them until tree.flush.
function tree.open(share) return { share = share, nodes = {} } end

function tree.key(view, id) return view.share .. ':node:' .. id end

-- A node with its `id`, or none.
function tree.read(view, id)
  local node = view.nodes[id]
  if node == nil then
    local values = redis.call('HMGET', tree.key(view, id), unpack(FIELDS))
    node = false
    if values[1] then
      node = { id = id }
      for at, field in ipairs(FIELDS) do
        node[field] = values[at] or nil
      end
      node.pg = node.pg or '0'
      node.gen = node.gen or '0'
    end
    view.nodes[id] = node
  end
  return node or nil
end

-- Sets fields of a node, given as names and values. They are written by tree.flush.
function tree.set(_, node, ...)
  local pairs_of = { ... }
  local unwritten = node.unwritten or {}
  for at = 1, #pairs_of, 2 do
    node[pairs_of[at]] = pairs_of[at + 1]
    unwritten[pairs_of[at]] = pairs_of[at + 1]
  end
  node.unwritten = unwritten
end

function tree.unset(_, node, field)
  node[field] = nil
  node.unwritten = node.unwritten or {}
  node.unwritten[field] = false
end

-- Writes what was set, in one command for each node.
function tree.flush(view)
  for id, node in pairs(view.nodes) do
    local unwritten = node and node.unwritten
    if unwritten then
      local set, unset = {}, {}
      for field, value in pairs(unwritten) do
        if value then
          set[#set + 1] = field
          set[#set + 1] = value
        else
          unset[#unset + 1] = field
        end
      end
      if #set > 0 then redis.call('HSET', tree.key(view, id), unpack(set)) end
      if #unset > 0 then redis.call('HDEL', tree.key(view, id), unpack(unset)) end
      node.unwritten = nil
    end
  end
end

-- The folders that hold a node, from its parent to the root, and whether the node is live. Costs
-- O(depth).
function tree.line(view, node)
  local line, is_live, at = {}, not node.gone, node
  while at.id ~= 'root' do
    local parent = tree.read(view, at.p)
    if not parent then return line, false end
    if #line > 1000 then error('a folder of the share is in itself') end
    if parent.gone or at.pg ~= parent.gen then is_live = false end
    line[#line + 1] = parent
    at = parent
  end
  return line, is_live
end

-- As tree.line, from the node itself on.
function tree.upwards(view, node)
  local line, is_live = tree.line(view, node)
  table.insert(line, 1, node)
  return line, is_live
end

-- The path of a node with this name in the folders of a line.
function tree.path(line, name)
  local parts = {}
  for at = #line - 1, 1, -1 do
    parts[#parts + 1] = line[at].n
  end
  parts[#parts + 1] = name
  return '/' .. table.concat(parts, '/')
end

function tree.path_of(view, node)
  if node.id == 'root' then return '/' end
  return tree.path(tree.line(view, node), node.n)
end

-- The ids of a node and of its line.
function tree.ids(node, line)
  local ids = { node.id }
  for at, folder in ipairs(line) do
    ids[at + 1] = folder.id
  end
  return ids
end

function tree.names(view, folder) return view.share .. ':names:' .. folder.id .. ':' .. folder.gen end

function tree.ghosts(view, folder) return view.share .. ':ghosts:' .. folder.id .. ':' .. folder.gen end

function tree.folded(node) return node.f or node.n end

-- The node that has a name in a folder.
function tree.holder(view, folder, folded)
  local id = redis.call('HGET', tree.names(view, folder), folded)
  return id and tree.read(view, id)
end

-- The node at the end of folded names from the root on; also through folders that are deleted, where
-- no other has their name.
function tree.walk(view, names)
  local at = tree.read(view, 'root')
  for _, folded in ipairs(names) do
    local id = redis.call('HGET', tree.names(view, at), folded)
      or redis.call('HGET', tree.ghosts(view, at), folded)
    at = id and tree.read(view, id)
    if not at then return nil end
  end
  return at
end

-- A mark after a write.
function tree.mark(mark, position, device, time)
  local now = { fs.text(position), device, fs.text(time) }
  local last = mark and fs.split(mark)
  if last and last[2] ~= device then
    now[4], now[5], now[6] = last[1], last[2], last[3]
  elseif last and last[4] then
    now[4], now[5], now[6] = last[4], last[5], last[6]
  end
  return table.concat(now, '\t')
end

-- The position and edit time of the last write by another device than this; 0 when there is none.
function tree.other(mark, device)
  if not mark then return 0, 0 end
  local last = fs.split(mark)
  if last[2] ~= device then return tonumber(last[1]), tonumber(last[3]) end
  return tonumber(last[4] or 0), tonumber(last[6] or 0)
end

-- A node's metadata as JSON, of which `other` is the rendered rest, where that is known; `more` is what goes before the rest, such as '"restored":true'.
function tree.metadata(node, more)
  local parts = { more }
  if node.k == 'file' and node.v then
    parts[#parts + 1] = '"size":' .. node.s
    parts[#parts + 1] = '"sha256":"' .. node.h .. '"'
  end
  if node.t then parts[#parts + 1] = '"mime_type":' .. record.quoted(node.t) end
  if node.m then parts[#parts + 1] = '"modified_at":' .. record.quoted(node.m) end
  if node.other and node.other ~= '' then
    parts[#parts + 1] = node.other
  elseif node.x then
    local extra = cjson.decode(node.x)
    local keys = {}
    for key in pairs(extra) do
      keys[#keys + 1] = key
    end
    table.sort(keys)
    for _, key in ipairs(keys) do
      parts[#parts + 1] = record.quoted(key) .. ':' .. extra[key]
    end
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- A node as JSON, as listings have it.
function tree.json(view, node)
  local line, is_live = tree.line(view, node)
  local parts = {
    '{"id":',
    record.quoted(node.id),
    ',"resource_type":"',
    node.k,
    '","parent_id":',
    record.quoted(node.p),
    ',"name":',
    record.quoted(node.n),
    ',"path":',
    record.quoted(tree.path(line, node.n)),
    ',"version_id":',
    record.quoted(node.v),
    ',"position":',
    node.pos,
    ',"changed_at":"',
    record.rfc3339(tonumber(node.at)),
    '","changed_by":',
    record.quoted(node.by),
    ',"metadata":',
    tree.metadata(node),
  }
  if node.k == 'folder' then parts[#parts + 1] = ',"descendants":' .. (node.cnt or '0') end
  if not is_live then parts[#parts + 1] = ',"deleted":true' end
  parts[#parts + 1] = '}'
  return table.concat(parts)
end
