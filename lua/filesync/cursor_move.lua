-- Moves the cursor of a device ahead, never back.
--
-- KEYS  1 share  2 device  3 its cursors
-- ARGV  1 user  2 groups  3 share id  4 position
-- Returns 'moved', the cursor's position and the time of its last move, ms; 'ahead' when the log
--       does not reach to the position, 'expired' when it begins behind it; 'not_found' for who may
--       not see the share; 'no_device'. Without a cursor 0 and '' follow.
-- Cost  O(groups). May be repeated.

define('cursor_move', function(KEYS, ARGV)
  local denial = fs.denial(fs.level(KEYS[1], ARGV[1], ARGV[2]), 1)
  if denial then return { denial, 0, '' } end
  if redis.call('EXISTS', KEYS[2]) == 0 then return { 'no_device', 0, '' } end
  local state = redis.call('HMGET', KEYS[1], 'head', 'floor')
  local head, floor, position = tonumber(state[1]), tonumber(state[2]), tonumber(ARGV[4])
  if position > head then return { 'ahead', 0, '' } end
  local before = cursor.read(KEYS[3], ARGV[3], head)
  if before and position < before.position then return { 'moved', before.position, before.at } end
  if position < floor - 1 then return { 'expired', 0, '' } end
  local after = cursor.write(KEYS[3], ARGV[3], position, fs.text(fs.now()), '')
  return { 'moved', after.position, after.at }
end)
