-- Records in one bucket of the ledger what was done about changes, and tells whoever listens: of each change once.
--
-- KEYS  1 state of the bucket  2 its documents
-- ARGV  1 token  2 the changes are deltas, which come in the order of time: 0 | 1  3 channel of the nudges
--       then for each change: _id, time (8 bytes, most significant first), record ('' when the document is gone),
--       nudges, a line each
-- Returns the number of changes that were not settled before; -1 when the bucket is closed to this token.
-- Cost  O(changes), and a PUBLISH for each. A repeated call changes and tells nothing.
local call = redis.call
local state = call('HMGET', KEYS[1], 'token', 'settled')
if tonumber(state[1] or 0) > tonumber(ARGV[1]) then return -1 end
-- A change that is recorded and not told of would never be told of.
need('HDEL', KEYS[2], '')
need('HSET', KEYS[2], '', '')
need('PUBLISH', ARGV[3], '')
local deltas, settled = ARGV[2] == '1', state[2]

-- A text comparison would depend on the server's locale, and the numbers are too long for Lua's.
local function before(one, other)
  local high, low = struct.unpack('>I4I4', one)
  local other_high, other_low = struct.unpack('>I4I4', other)
  return high < other_high or (high == other_high and low < other_low)
end

local done, last = 0, settled
for at = 4, #ARGV, 4 do
  local doc, time, record, nudges = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local known = call('HGET', KEYS[2], doc)
  -- Of the last time settled, some changes may not be: a transaction can be divided between calls.
  local is_settled = (deltas and settled and before(time, settled)) or (known and not before(known, time))
  if not is_settled and (known or record ~= '') then
    if record == '' then call('HDEL', KEYS[2], doc) else call('HSET', KEYS[2], doc, record) end
    for nudge in string.gmatch(nudges, '[^\n]+') do call('PUBLISH', ARGV[3], nudge) end
    done = done + 1
  end
  if not last or before(last, time) then last = time end
end
if deltas and last then call('HSET', KEYS[1], 'settled', last) end
return done
