-- A page of the live nodes of a share, in the order of their ids, without the root.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 id behind which it begins; ''  4 most nodes that are looked at  5 id of the
--       folder that holds them at any depth; '' for all
-- Returns {'not_found'}, also when there is no such folder; {'found', head, id of the last node that
--       was looked at, or '' when it was the last of all, node as JSON...}.
-- Cost  O(nodes that are looked at * depth).

define('snapshot', function(KEYS, ARGV)
  local call = redis.call
  local share, after, limit, under = KEYS[1], ARGV[3], tonumber(ARGV[4]), ARGV[5]
  if fs.level(share, ARGV[1], ARGV[2]) == 0 then return { 'not_found' } end
  local view = tree.open(share)
  if under ~= '' then
    local folder = tree.read(view, under)
    local is_live = folder and select(2, tree.line(view, folder))
    if not is_live or folder.k ~= 'folder' then return { 'not_found' } end
  end
  local from = after == '' and '-' or '(' .. after
  local ids = call('ZRANGEBYLEX', share .. ':nodes', from, '+', 'LIMIT', 0, limit)
  local found = { 'found', call('HGET', share, 'head'), #ids == limit and ids[limit] or '' }
  for _, id in ipairs(ids) do
    local node = tree.read(view, id)
    local line, is_live = {}, false
    if node then
      line, is_live = tree.line(view, node)
    end
    local is_under = under == ''
    for _, folder in ipairs(line) do
      is_under = is_under or folder.id == under
    end
    if is_live and is_under then found[#found + 1] = tree.json(view, node) end
  end
  return found
end, { 'no-writes' })
