-- Shared by the functions that apply changes: what is to happen to a change, before anything is
-- written.
--
-- A job `w` has the `view` of the tree, the `change`, the device's number `me`, the `base` that the
-- device had applied, the `strategy` ('' for none), the client's edit `time`, `user`, the share's
-- `portable`, ids that are `blocked`, and `copies`: names that a node of a name may get instead.
-- A verdict has a `letter`, as in rules.lua, or A applied, M merged, N noop, R rejected, C conflict
-- without a strategy, W names wanted, B blocked; and what perform.lua needs.
local judge = {}

local function rejected(code, detail) return { letter = 'R', code = code, detail = detail } end

-- The verdict of a row that ends the change, or none and the letter with which it goes on.
local function settle(w, number, time, server)
  if w.strategy == '' then return { letter = 'C', row = number, server = server } end
  local letter = rules.outcome(number, w.strategy, w.time, time)
  if letter ~= 'D' and letter ~= 'H' then return nil, letter end
  local next = rules.rows[number].next
  if w.change.y == 'created' and next == 'pull' then next = 'set_aside' end
  return { letter = letter, row = number, server = server, next = letter == 'H' and 'none' or next }
end

-- A name for a node where its own is taken, as {name, folded}; without one the job has `wanted`.
local function copy_name(w, folder, name)
  local tried = w.copies[name] or {}
  for _, copy in ipairs(tried) do
    if not tree.holder(w.view, folder, copy[2]) then return copy end
  end
  w.wanted = { letter = 'W', name = name, tried = #tried }
  return nil
end

-- Whether a node on the line takes part in something that was refused before.
local function is_blocked(w, line)
  for _, node in ipairs(line) do
    if w.blocked[node.id] then return true end
  end
  return false
end

-- Whether another device has moved or renamed a node on the line since the base.
local function is_moved(w, line)
  for at = 1, #line - 1 do
    local it = line[at]
    local parent = tree.other(it.pp or it.b, w.me)
    local name = tree.other(it.pn or it.b, w.me)
    if it.w and math.max(parent, name) > w.base then return true end
  end
  return false
end

-- The node that a change is about, its line from itself on, and whether it is live; or a verdict that
-- ends the change. Without the node and a verdict there is none.
local function subject(w)
  local node = tree.read(w.view, w.change.r)
  if not node then return nil end
  if node.id == 'root' then return nil, rejected('SYNC_INVALID_MOVE', 'the root stays as it is') end
  local line, is_live = tree.upwards(w.view, node)
  if is_blocked(w, line) then return nil, { letter = 'B' } end
  return node, line, is_live
end

-- When the first node on a line, which is not live, was deleted by another device: position and time.
local function deletion(w, line)
  local position, time, child = 0, 0, nil
  for _, folder in ipairs(line) do
    if folder.gone or child and child.pg ~= folder.gen then
      local other, when = tree.other(folder.g, w.me)
      if other > position then
        position, time = other, when
      end
    end
    child = folder
  end
  return position, time
end

-- The folders on a line that have to come back, the highest first, each with the name that it gets.
local function revivals(w, line)
  local list, is_dead = {}, false
  for at = #line - 1, 1, -1 do
    local folder, parent = line[at], line[at + 1]
    local was_dead = is_dead
    is_dead = is_dead or folder.gone or folder.pg ~= parent.gen
    if is_dead then
      local name = { folder.n, tree.folded(folder) }
      if not was_dead and tree.holder(w.view, parent, name[2]) then
        name = copy_name(w, parent, folder.n)
        if not name then return nil end
      end
      list[#list + 1] = { folder = folder, parent = parent, name = name }
    end
  end
  return list
end

-- The folder that a change names: by id, or by the folder of its path; none when it names neither.
local function target(w)
  local change = w.change
  if change.p then return tree.read(w.view, change.p), true end
  if change.dir then return tree.walk(w.view, change.dir), true end
  return nil, false
end

-- Whether a folder with this line, which begins with itself, is in a node.
local function is_in(line, node)
  for _, folder in ipairs(line) do
    if node and folder.id == node.id then return true end
  end
  return false
end

-- Puts a node under a name into a folder, or says why not. `plan` gets the place.
local function place(w, plan, folder, name)
  local line, is_live = tree.upwards(w.view, folder)
  if folder.k ~= 'folder' then return rejected('NOT_FOUND', 'the parent is not a folder') end
  if is_blocked(w, line) then return { letter = 'B' } end
  if not plan.undo and is_in(line, plan.node) then
    return rejected('SYNC_INVALID_MOVE', 'a folder cannot be moved into itself')
  end
  local path = tree.path(line, name[1])
  local most = w.change.most
  if #line > most.levels or #path > most.bytes then
    local rule = 'the path must have %d levels and %d bytes at most'
    return rejected('SYNC_NAME', string.format(rule, most.levels, most.bytes))
  end
  if w.portable and w.change.bad then return rejected('SYNC_NAME', w.change.bad) end
  plan.parent, plan.name = folder, name
  if not is_live then
    local position, time = deletion(w, line)
    if position <= w.base then
      return rejected('NOT_FOUND', 'the parent is deleted, as the device knew')
    end
    local verdict, letter = settle(w, 16, time, plan.node or folder)
    if verdict then return verdict end
    plan.letter = letter
    plan.revive = revivals(w, line)
    return plan.revive == nil and w.wanted or nil
  end
  plan.merged = plan.merged or is_moved(w, line)
  return nil
end

-- Resolves a name that another node has: a copy name for one of the two.
local function part(w, plan, holder, letter)
  if letter == 'S' or letter == 'K' then
    local copy = copy_name(w, plan.parent, plan.name[1])
    if not copy then return w.wanted end
    plan.name = copy
  else
    local copy = copy_name(w, plan.parent, holder.n)
    if not copy then return w.wanted end
    plan.aside = { node = holder, name = copy }
  end
  if plan.letter ~= 'V' then plan.letter = letter end
  return nil
end

-- As place, and sees to a name that is taken, by a row of the table.
local function place_by_row(w, plan, folder, name, row)
  local verdict = place(w, plan, folder, name)
  if verdict or plan.revive then return verdict end
  local holder = tree.holder(w.view, folder, name[2])
  if not holder or plan.node and holder.id == plan.node.id then return nil end
  local letter
  if plan.letter == 'V' then
    letter = row == 5 and w.strategy == 'CLIENT_WINS' and 'X' or 'S'
  else
    verdict, letter = settle(w, row, 0, holder)
    if verdict then return verdict end
  end
  return part(w, plan, holder, letter)
end

-- The content that a change names, if its user may use it for this file.
local function content(w, file)
  local id = w.change.v
  if not id then return nil, rejected('NOT_FOUND', 'a file needs a version_id') end
  local fields = { 'file', 'size', 'sha256', 'mime', 'user', 'state' }
  local values = redis.call('HMGET', w.view.share .. ':version:' .. id, unpack(fields))
  local version = { id = id }
  for at, field in ipairs(fields) do
    version[field] = values[at]
  end
  local is_own = version.state == 'kept' or version.user == w.user
  if not version.file or not is_own or file and version.file ~= file then
    return nil, rejected('NOT_FOUND', 'there is no such version of this file')
  end
  return version
end

-- Puts a node that comes back under a name into a folder, which comes back with it if it is deleted
-- too.
local function restored(w, plan, folder, name, row)
  if not folder then return rejected('NOT_FOUND', 'its folder is gone') end
  local line, is_live = tree.upwards(w.view, folder)
  if is_live then return place_by_row(w, plan, folder, name, row) end
  if is_in(line, plan.node) then
    return rejected('SYNC_INVALID_MOVE', 'a folder cannot be moved into itself')
  end
  plan.parent, plan.name = folder, name
  plan.revive = revivals(w, line)
  return plan.revive == nil and w.wanted or nil
end

-- The last time that another device wrote a file's content, and whether the device did not know that.
local function other_edit(w, node)
  local position, time = tree.other(node.c or node.b, w.me)
  local since = w.base
  if w.change.bv == node.v then return position, time, false end
  if w.change.bv then
    since = redis.call('HGET', w.view.share .. ':version:' .. w.change.bv, 'pos')
    since = since and tonumber(since) or 0
  end
  return position, time, position > since
end

-- A creation of what is known by this id already.
local function created_again(w, node, folder, version)
  local change = w.change
  local line, is_live = tree.upwards(w.view, node)
  if is_live then
    local same = node.k == change.k and node.p == folder.id and tree.folded(node) == change.n[2]
    if same and (node.k == 'folder' or node.h == version.sha256) then
      return { letter = 'N', node = node }
    end
    return rejected('SYNC_ID_REUSED', 'the resource_id is that of another node')
  end
  if node.k ~= change.k then
    return rejected('SYNC_ID_REUSED', 'the resource_id is that of another node')
  end
  local plan = { node = node, back = true, version = version, letter = 'V' }
  local position, time = deletion(w, line)
  if position > w.base then
    local row = node.k == 'file' and 3 or 11
    local verdict = settle(w, row, time, node)
    if verdict then return verdict end
  end
  return place_by_row(w, plan, folder, change.n, 5) or plan
end

function judge.created(w)
  local change = w.change
  if not change.n then return rejected('SYNC_NAME', 'new_path must name the new node') end
  local folder, is_named = target(w)
  if not folder then
    return rejected('NOT_FOUND', is_named and 'there is no such parent' or 'a parent is needed')
  end
  local version, fault
  if change.k == 'file' then
    version, fault = content(w, change.r)
    if fault then return fault end
  end
  local id = change.r
    or version and not tree.read(w.view, version.file) and version.file
    or w.new_id
  local node = tree.read(w.view, id)
  if node then return created_again(w, node, folder, version) end

  local plan = { letter = 'A', id = id, kind = change.k, version = version }
  local verdict = place(w, plan, folder, change.n)
  if verdict or plan.revive then return verdict or plan end
  local holder = tree.holder(w.view, folder, change.n[2])
  if not holder then return plan end
  if holder.k == 'file' and change.k == 'file' and holder.h == version.sha256 then
    return { letter = 'N', node = holder, version = version }
  end
  local row = holder.k ~= change.k and 20 or holder.w and 15 or 19
  if row == 19 and change.k == 'folder' then return { letter = 'N', node = holder } end
  local time = tonumber(holder.lt or holder.at)
  local letter
  verdict, letter = settle(w, row, time, holder)
  if verdict then return verdict end
  if letter == 'F' then
    return { letter = 'F', row = row, node = holder, version = version, overwrote = holder.v }
  end
  return part(w, plan, holder, letter) or plan
end

-- A new content of a file.
local function edited(w, node, line, is_live)
  if node.k ~= 'file' then return rejected('NOT_FOUND', 'a folder has no content') end
  local version, fault = content(w, node.id)
  if fault then return fault end
  if not is_live then
    local position, time = deletion(w, line)
    if position > w.base then
      local verdict = settle(w, 3, time, node)
      if verdict then return verdict end
    end
    local plan = { letter = 'V', node = node, back = true, version = version }
    return restored(w, plan, line[2], { node.n, tree.folded(node) }, 5) or plan
  end
  if version.id == node.v or version.sha256 == node.h then
    return { letter = 'N', node = node, version = version }
  end
  local plan = { letter = 'A', node = node, version = version }
  local _, time, is_edited = other_edit(w, node)
  if is_edited then
    local verdict, letter = settle(w, 2, time, node)
    if verdict then
      verdict.is_stale = true
      return verdict
    end
    if letter == 'K' then
      local copy = { letter = 'K', id = w.new_id, kind = 'file', version = version }
      copy.parent, copy.name = line[2], { node.n, tree.folded(node) }
      return part(w, copy, node, 'K') or copy
    end
    plan.letter, plan.row, plan.overwrote = letter, 2, node.v
  end
  plan.merged = is_moved(w, line)
  return plan
end

function judge.updated(w)
  local node, line, is_live = subject(w)
  if not node then return line or rejected('NOT_FOUND', 'there is no such node') end
  if w.change.v then return edited(w, node, line, is_live) end
  if not is_live then return { letter = 'N', node = node } end
  return { letter = 'A', node = node }
end

function judge.deleted(w)
  local change = w.change
  local node, line, is_live = subject(w)
  if not node then return line or { letter = 'N' } end
  if not is_live then return { letter = 'N', node = node } end
  local plan = { letter = 'A', node = node, delete = true }
  local function against(row, time, is_stale)
    local verdict, letter = settle(w, row, time, node)
    if verdict then
      verdict.is_stale = is_stale
      verdict.is_inner = row == 23
      return verdict
    end
    plan.letter, plan.row, plan.overwrote = letter, row, node.v
  end
  local verdict
  if node.k == 'file' then
    local _, time, is_edited = other_edit(w, node)
    if is_edited then verdict = against(6, time, change.bv) end
  else
    local position, time = tree.other(node.i, w.me)
    local is_known = not change.known or change.known >= tonumber(node.cnt or 0)
    if position > w.base or not is_known then verdict = against(23, time) end
  end
  if verdict then return verdict end
  local parent, when = tree.other(node.pp or node.b, w.me)
  local name, then_ = tree.other(node.pn or node.b, w.me)
  if node.w and math.max(parent, name) > w.base and plan.letter == 'A' then
    verdict = against(8, math.max(when, then_))
  end
  return verdict or plan
end

-- What a move or rename wants: the folder and the name, each only if it is to change.
local function wish(w, node)
  local change = w.change
  local folder, is_named = target(w)
  if is_named and not folder then return nil, rejected('NOT_FOUND', 'there is no such parent') end
  local parent_since = tree.other(node.pp or node.b, w.me)
  local name_since = tree.other(node.pn or node.b, w.me)
  local wanted = { folder = folder, name = change.n }
  if folder and change.od then
    if change.od == 'same' and not change.p then wanted.folder = nil end
  elseif folder and change.y == 'renamed' and not change.p and parent_since > w.base then
    wanted.folder = nil
  end
  if change.n and change.on == 'same' then
    wanted.name = nil
  elseif change.n and not change.on and change.y == 'moved' and name_since > w.base then
    wanted.name = nil
  end
  if wanted.folder and wanted.folder.id == node.p then wanted.folder = nil end
  if wanted.name and wanted.name[1] == node.n then wanted.name = nil end
  return wanted
end

-- A move of a folder into itself: two entries when it came about by two moves, else nothing.
local function cycle(w, plan, node, folder)
  local below
  local moved, time = 0, 0
  for _, it in ipairs((tree.upwards(w.view, folder))) do
    if it.id == node.id then
      if moved <= w.base or not below then
        return rejected('SYNC_INVALID_MOVE', 'a folder cannot be moved into itself')
      end
      local verdict, letter = settle(w, 28, time, below)
      if verdict then return verdict end
      plan.letter, plan.row, plan.undo = letter, 28, below
      local up = tree.read(w.view, node.p)
      local name = { below.n, tree.folded(below) }
      local holder = tree.holder(w.view, up, name[2])
      if holder and holder.id ~= node.id then name = copy_name(w, up, below.n) end
      if not name then return w.wanted end
      plan.undo_name = name
      return nil
    end
    local position, when = tree.other(it.pp or it.b, w.me)
    if it.w and position > moved then
      moved, time = position, when
    end
    below = it
  end
  return nil
end

function judge.moved(w)
  local node, line, is_live = subject(w)
  if not node then return line or rejected('NOT_FOUND', 'there is no such node') end
  local wanted, fault = wish(w, node)
  if fault then return fault end
  local name = wanted.name or { node.n, tree.folded(node) }
  local folder = wanted.folder or line[2]
  local plan = { letter = 'A', node = node, place = true }
  if not is_live then
    local position, time = deletion(w, line)
    if position > w.base then
      local verdict = settle(w, 11, time, node)
      if verdict then return verdict end
    end
    plan.letter, plan.back, plan.place = 'V', true, nil
    return restored(w, plan, folder, name, 11) or plan
  end
  if not wanted.folder and not wanted.name then return { letter = 'N', node = node } end

  local parent_since, parent_time = tree.other(node.pp or node.b, w.me)
  local name_since, name_time = tree.other(node.pn or node.b, w.me)
  local is_elsewhere = wanted.folder and node.w and parent_since > w.base
  local is_renamed = wanted.name and node.w and name_since > w.base
  if is_elsewhere or is_renamed then
    local time = math.max(is_elsewhere and parent_time or 0, is_renamed and name_time or 0)
    local verdict, letter = settle(w, 14, time, node)
    if verdict then return verdict end
    plan.letter, plan.row = letter, 14
  elseif node.w and math.max(parent_since, name_since) > w.base then
    plan.merged = true
  end
  local touched = node.k == 'file' and tree.other(node.c or node.b, w.me)
    or tree.other(node.i, w.me)
  if touched > w.base then plan.merged = true end
  if wanted.folder and node.k == 'folder' then
    local verdict = cycle(w, plan, node, folder)
    if verdict then return verdict end
  end
  local holder = tree.holder(w.view, folder, name[2])
  local row = holder and holder.k == 'folder' and node.k == 'folder' and 21 or 15
  return place_by_row(w, plan, folder, name, row) or plan
end

judge.renamed = judge.moved
