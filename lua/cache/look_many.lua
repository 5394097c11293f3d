-- Looks many entries of a user up, as `look` does each.
--
-- KEYS  1 epoch  2-6 live: info, entries, order, docs, stamps  7-9 single: entries, expiry, docs
-- ARGV  ids
-- Returns {epoch, places, JSON of each hit, in the order of the ids}: places has a letter for each
--       id, 'b' for a hit in the live set, 's' for one among the singles, '-' for a miss.
-- Cost  O(ids). May be repeated.

define('look_many', function(KEYS, ARGV)
  local call = redis.call
  local epoch = tonumber(call('HGET', KEYS[1], 'value') or 0)

  local places, found, missing = {}, {}, {}
  local live = call('HMGET', KEYS[3], unpack(ARGV))
  local whole
  for at, json in ipairs(live) do
    if json and json ~= '' and whole == nil then whole = is_whole(KEYS) end
    if json and json ~= '' and whole then
      places[at], found[at] = 'b', json
    else
      places[at] = '-'
      missing[#missing + 1] = at
    end
  end
  if #missing > 0 and call('EXISTS', KEYS[9]) == 1 then
    local ids = {}
    for nth, at in ipairs(missing) do
      ids[nth] = ARGV[at]
    end
    local singles = call('HMGET', KEYS[7], unpack(ids))
    local expiries = call('ZMSCORE', KEYS[8], unpack(ids))
    local now = clock_us()
    for nth, at in ipairs(missing) do
      if singles[nth] and tonumber(expiries[nth] or 0) > now then
        places[at], found[at] = 's', singles[nth]
      end
    end
  end

  local answer = { epoch, table.concat(places) }
  for at = 1, #ARGV do
    if found[at] then answer[#answer + 1] = found[at] end
  end
  return answer
end, { 'no-writes' })
