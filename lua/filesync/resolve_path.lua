-- The live node at a path of a share.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups, then the folded names of the path
-- Returns {'not_found'}, or {'found', node as JSON}.
-- Cost  O(depth).

define('resolve_path', function(KEYS, ARGV)
  local share = KEYS[1]
  if fs.level(share, ARGV[1], ARGV[2]) == 0 then return { 'not_found' } end
  local view = tree.open(share)
  local node = tree.walk(view, { unpack(ARGV, 3) })
  if not node or not select(2, tree.line(view, node)) then return { 'not_found' } end
  return { 'found', tree.json(view, node) }
end, { 'no-writes' })
