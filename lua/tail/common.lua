-- Shared by the functions that look into a bucket of the ledger, or write to it.

-- Whether one time (8 bytes, most significant first) is before another. A text comparison would
-- depend on the server's locale, and the numbers are too long for Lua's.
local function before(one, other)
  local high, low = struct.unpack('>I4I4', one)
  local other_high, other_low = struct.unpack('>I4I4', other)
  return high < other_high or (high == other_high and low < other_low)
end

-- Writes values of a hash by their fields, 2,000 at most; '' takes a field out. Costs two commands
-- at most.
local function keep(key, values)
  local set, del = {}, {}
  for field, value in pairs(values) do
    if value == '' then
      del[#del + 1] = field
    else
      set[#set + 1] = field
      set[#set + 1] = value
    end
  end
  if #set > 0 then redis.call('HSET', key, unpack(set)) end
  if #del > 0 then redis.call('HDEL', key, unpack(del)) end
end
