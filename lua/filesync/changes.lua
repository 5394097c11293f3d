-- Entries of a share's log after a position.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 position; '' to learn the head  4 id of the entry at that position; '' when
--       it does not matter  5 most entries  6 most bytes of entries
-- Returns {'not_found'}; {'changed'} when the position is past the head, or names another entry;
--       {'expired'} when the log does not reach back to it; {'found', head, floor, id of the entry at
--       the last position, position and entry...}, oldest first.
-- Cost  O(entries that are returned), and as many more as the limit of bytes cuts off.

local function id_of(share, position)
  local entry = log.entry(share .. ':log', position)
  if entry then return record.id_of(entry) end
  local floor, id = unpack(redis.call('HMGET', share, 'floor', 'floor_id'))
  return tonumber(floor) - 1 == tonumber(position) and id or ''
end

define('changes', function(KEYS, ARGV)
  local call = redis.call
  local share = KEYS[1]
  if fs.level(share, ARGV[1], ARGV[2]) == 0 then return { 'not_found' } end
  local head, floor = unpack(call('HMGET', share, 'head', 'floor'))
  if ARGV[3] == '' then return { 'found', head, floor, id_of(share, head) } end
  local after = tonumber(ARGV[3])
  if after > tonumber(head) then return { 'changed' } end
  if after < tonumber(floor) - 1 then return { 'expired' } end
  if ARGV[4] ~= '' and id_of(share, fs.text(after)) ~= ARGV[4] then return { 'changed' } end
  local found = { 'found', head, floor, '' }
  local entries = call('XRANGE', share .. ':log', fs.text(after + 1) .. '-0', '+', 'COUNT', ARGV[5])
  local bytes = 0
  for _, entry in ipairs(entries) do
    local text = entry[2][2]
    bytes = bytes + #text
    if bytes > tonumber(ARGV[6]) and #found > 4 then break end
    found[#found + 1] = string.match(entry[1], '^%d+')
    found[#found + 1] = text
  end
  if #found == 4 then found[4] = id_of(share, fs.text(after)) end
  return found
end, { 'no-writes' })
