-- Shared by the functions of devices.
local device = {}

-- Enters that a device was seen, which wakes it when the clock has put it to sleep. Returns whether
-- it woke.
function device.see(key, seen, place, now)
  local call = redis.call
  call('HSET', key, 'seen', now)
  call('ZADD', seen, now, place)
  if call('HGET', key, 'by_clock') ~= '1' then return false end
  call('HSET', key, 'active', '1', 'by_clock', '')
  return true
end

-- Has live sockets look at a device of a user anew.
function device.announce(channel, user, id)
  redis.call('SPUBLISH', channel, cjson.encode({ user = user, device = id }))
end
