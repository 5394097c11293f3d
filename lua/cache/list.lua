-- One page of a user's entries: the live set in rank order, then the single entries by expiry.
--
-- KEYS  1 epoch  2-6 live: info, entries, order, docs, stamps  7-9 single: entries, expiry, docs
-- ARGV  1 most entries in the page
--       2 phase: live | single  3 position: index in the order | expiry of the last single entry,
--       us
--       4 epoch and 5 generation the cursor was made in; '' for the first page
-- Returns {'page', epoch, generation, total, next phase ('' at the end), next position, {JSON...}};
--       'changed' in the first place when the epoch or the generation is another one by now.
-- A page ends early, with a cursor, once it holds 1 MiB: others wait for as long as it takes to
-- copy.
-- Cost  O(entries of the page), plus at most 10 pages of removed entries passed over.

define('list', function(KEYS, ARGV)
  local call = redis.call
  local limit, phase, position = tonumber(ARGV[1]), ARGV[2], ARGV[3]
  local info = call('HMGET', KEYS[2], 'generation', 'entries', 'parts')
  -- A set with a part missing (evicted) is none.
  if info[3] and call('EXISTS', KEYS[3], KEYS[4], KEYS[5], KEYS[6]) ~= tonumber(info[3]) then
    info = {}
  end
  local live, singles = info[3], call('EXISTS', KEYS[7], KEYS[8], KEYS[9]) == 3
  local epoch, generation = call('HGET', KEYS[1], 'value') or '0', info[1] or '0'
  if ARGV[4] ~= '' and (ARGV[4] ~= epoch or ARGV[5] ~= generation) then
    return { 'changed', 0, 0, 0, '', 0, {} }
  end
  local time = call('TIME')
  local now_us = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
  local total = tonumber(info[2] or 0) + (singles and call('ZCOUNT', KEYS[8], now_us, '+inf') or 0)

  local page, bytes, most_bytes = {}, 0, 1048576
  local function add(json)
    page[#page + 1] = json
    bytes = bytes + #json
  end

  if phase == 'live' and not live then
    phase, position = 'single', now_us
  end
  if phase == 'live' then
    local index, rounds = tonumber(position), 0
    while #page < limit and bytes < most_bytes and rounds < 10 do
      local wanted = limit - #page
      local ids = call('LRANGE', KEYS[4], index, index + wanted - 1)
      for _, id in ipairs(ids) do
        if bytes >= most_bytes then break end
        local json = call('HGET', KEYS[3], id)
        if json and json ~= '' then add(json) end
        index = index + 1
      end
      rounds = rounds + 1
      if #ids < wanted then break end
    end
    position = tostring(index)
    if index >= call('LLEN', KEYS[4]) then
      phase, position = 'single', now_us
    end
  end

  if phase == 'single' then
    -- What has expired is not listed, wherever the former page ended.
    if tonumber(position) < tonumber(now_us) then position = now_us end
    local wanted = singles and bytes < most_bytes and limit - #page or 0
    local found = {}
    if wanted > 0 then
      found =
        call('ZRANGEBYSCORE', KEYS[8], '(' .. position, '+inf', 'WITHSCORES', 'LIMIT', 0, wanted)
    end
    for at = 1, #found, 2 do
      if bytes >= most_bytes then break end
      local json = call('HGET', KEYS[7], found[at])
      if json then add(json) end
      position = found[at + 1]
    end
    if not singles or call('ZCOUNT', KEYS[8], '(' .. position, '+inf') == 0 then phase = '' end
  end
  return { 'page', tonumber(epoch), tonumber(generation), total, phase, position, page }
end, { 'no-writes' })
