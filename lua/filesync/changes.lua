-- What a share's log is like at a position, for a reader who goes on from there.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 position; '' to learn the head  4 id of the entry at that position; '' when
--       it does not matter
-- Returns {'not_found'}; {'changed'} when the position is past the head, or names another entry;
--       {'expired'} when the log does not reach back to it; {'found', head, floor, id of the entry at
--       the position, or at the head without one}.
-- Cost  O(groups).

local function id_of(share, position)
  local entry = log.entry(share .. ':log', position)
  if entry then return record.id_of(entry) end
  local floor, id = unpack(redis.call('HMGET', share, 'floor', 'floor_id'))
  return tonumber(floor) - 1 == tonumber(position) and id or ''
end

define('changes', function(KEYS, ARGV)
  local share = KEYS[1]
  if fs.level(share, ARGV[1], ARGV[2]) == 0 then return { 'not_found' } end
  local head, floor = unpack(redis.call('HMGET', share, 'head', 'floor'))
  if ARGV[3] == '' then return { 'found', head, floor, id_of(share, head) } end
  local after = tonumber(ARGV[3])
  if after > tonumber(head) then return { 'changed' } end
  if after < tonumber(floor) - 1 then return { 'expired' } end
  local id = id_of(share, fs.text(after))
  if ARGV[4] ~= '' and id ~= ARGV[4] then return { 'changed' } end
  return { 'found', head, floor, id }
end, { 'no-writes' })
