-- How far a device is behind a share. Without a cursor it gets one at the head, and has to take a
-- snapshot until it moves it.
--
-- KEYS  1 share  2 device  3 its cursors
-- ARGV  1 user  2 groups  3 share id
-- Returns 'found', the cursor's position, the time of its last move (ms, or ''), '1' when the device
--       has yet to take a snapshot (else ''), the head, and 1 when a conflict of the device is open
--       (else 0); or 'not_found' for who may not see the share, 'no_device', and 0, '', '', 0, 0.
-- Cost  O(groups). May be repeated.

define('cursor_status', function(KEYS, ARGV)
  local denial = fs.denial(fs.level(KEYS[1], ARGV[1], ARGV[2]), 1)
  if denial then return { denial, 0, '', '', 0, 0 } end
  if redis.call('EXISTS', KEYS[2]) == 0 then return { 'no_device', 0, '', '', 0, 0 } end
  local head = tonumber(redis.call('HGET', KEYS[1], 'head'))
  local found = cursor.read(KEYS[3], ARGV[3], head) or cursor.write(KEYS[3], ARGV[3], head, '', '1')
  local held = redis.call('HGET', KEYS[1] .. ':held', redis.call('HGET', KEYS[2], 'seq'))
  local has_conflicts = held and tonumber(held) > 0 and 1 or 0
  return { 'found', found.position, found.at, found.is_fresh, head, has_conflicts }
end)
