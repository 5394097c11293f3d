-- Enters what happened to a document of Convex into the implicit share of its owner: a file in the
-- root folder that is named after the document. The share is made with its first file.
--
-- KEYS  1 share
-- ARGV  1 owner  2 id of the document  3 when it was committed, ns  4 'put' or 'gone'  5 name  6 folded
--       name  7 metadata as JSON: key to JSON text  8 epoch of a share that is made  9 what the ids of
--       entries begin with
-- Returns 'told'; 'settled' when this or something later was told before; 'absent' when what is gone
--       was never told.
-- Cost  O(size of the metadata). Repeated, it returns 'settled'.

define('follow', function(KEYS, ARGV)
  local call = redis.call
  local share, id, is_gone = KEYS[1], ARGV[2], ARGV[4] == 'gone'
  local key = share .. ':node:' .. id
  local told = call('HGET', key, 'ts')
  -- Both have 19 digits, more than a number of Lua holds.
  if told and told >= ARGV[3] then return 'settled' end
  local is_new = call('EXISTS', share) == 0
  if is_gone and (is_new or not told) then return 'absent' end
  local writing = record.open(share, 'convex', nil, '0', ARGV[9])
  local w = {
    view = tree.open(share),
    writing = writing,
    change = { meta = { x = cjson.decode(ARGV[7]) } },
    me = '0',
    user = 'convex',
    time = writing.now,
  }
  perform.need(w)
  if is_new then
    local settings = { 'quota', '', 'portable', '0', 'guard', '' }
    share_of.create(writing, ARGV[1], ARGV[1], ARGV[8], settings)
  end
  local node = tree.read(w.view, id)
  local root = tree.read(w.view, 'root')
  local is_live = false
  if node then
    is_live = select(2, tree.line(w.view, node))
    -- What is there is the whole of it.
    if not is_gone and node.x then tree.unset(w.view, node, 'x') end
    if is_gone and is_live then
      perform.plan(w, { node = node, delete = true })
    elseif is_live then
      perform.plan(w, { node = node })
    end
  end
  if not is_gone and not is_live then
    local name = { ARGV[5], ARGV[6] }
    while tree.holder(w.view, root, name[2]) do
      name = { name[1] .. '~', name[2] .. '~' }
    end
    local plan = { parent = root, name = name }
    if node then
      plan.node, plan.back = node, true
    else
      plan.id, plan.kind = id, 'file'
    end
    perform.plan(w, plan)
  end
  call('HSET', key, 'ts', ARGV[3])
  return 'told'
end)
