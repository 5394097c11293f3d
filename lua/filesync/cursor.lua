-- Shared by the functions of cursors. A cursor is how far a device has applied the log of a share:
-- the position, when it was moved there (ms; '' when that was never), and '1' while the device has
-- yet to take a snapshot, with tabs between.
local cursor = {}

-- The cursor of a share, or nil: none, or one of a history that the share has lost.
function cursor.read(key, share, head)
  local kept = redis.call('HGET', key, share)
  if not kept then return nil end
  local position, at, is_fresh = string.match(kept, '^(%d+)\t(%d*)\t(.*)$')
  if tonumber(position) > head then return nil end
  return { position = tonumber(position), at = at, is_fresh = is_fresh }
end

function cursor.write(key, share, position, at, is_fresh)
  redis.call('HSET', key, share, fs.text(position) .. '\t' .. at .. '\t' .. is_fresh)
  return { position = position, at = at, is_fresh = is_fresh }
end
