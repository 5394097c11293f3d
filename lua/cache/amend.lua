-- Brings what is cached of a user up to date with changes in Convex, in whichever order and however
-- often they arrive: in the live set of two changes of one document the later holds, and of two
-- documents with one id the newer is shown; a single entry is dropped, to be fetched anew when it
-- is read, unless it is the revision that a change brought. Nothing is added, except to a live set
-- that is complete, and in the place of what was removed when the caller says so. A revision that
-- would take the set above its limit leaves it.
--
-- KEYS  1-5 live: info, entries, order, docs, stamps  6-8 single: entries, expiry, docs 9.. fetch
--       lease of each change (of the _id for a removal whose id is not known)
-- ARGV  1 limit of the live set, bytes  2 the changes succeed to ids that were left: 0 | 1
--       then for each change: Convex _id, id, JSON, time (ns); a removal has '' as JSON, and as id
--       when that is not known
-- Returns {number of cached entries that were refreshed, added or removed, then the ids of the live
--       set that the document left which was shown: another one, that is not known here, may be the
--       newest now}.
-- Cost  O(changes * log singles); O(changes) where nothing is cached. Documents that meet at one id
--       are parsed.

define('amend', function(KEYS, ARGV)
  local call = redis.call
  -- Whoever is fetching one of these entries now may hold its former revision: that must not be
  -- cached.
  if call('EXISTS', unpack(KEYS, 9)) > 0 then
    for change = 1, #KEYS - 8 do
      call('SET', KEYS[8 + change], 'stale', 'XX', 'KEEPTTL')
    end
  end
  local info = call('HMGET', KEYS[1], 'complete', 'entries', 'skipped', 'bytes', 'as_of', 'parts')
  local parts, single_parts =
    call('EXISTS', KEYS[2], KEYS[3], KEYS[4], KEYS[5]), call('EXISTS', KEYS[6], KEYS[7], KEYS[8])
  local live, singles = info[6] and parts == tonumber(info[6]), single_parts == 3
  -- A set with a part missing (evicted) cannot be kept up to date.
  if not live and (info[2] or parts > 0) then
    call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  end
  if not singles and single_parts > 0 then call('UNLINK', KEYS[6], KEYS[7], KEYS[8]) end
  if not live and not singles then return { 0 } end

  local complete, limit, as_of = info[1] == '1', tonumber(ARGV[1]), info[5] or '0'
  local entries, skipped, bytes =
    tonumber(info[2] or 0), tonumber(info[3] or 0), tonumber(info[4] or 0)
  local succeeds = ARGV[2] == '1'
  local touched, left = 0, {}
  -- Whether the set may have got a part that does not expire yet.
  local is_new_part = false

  -- Takes an entry out of the live set; with a document, only if it is that one's.
  local function take_out(id, doc)
    local freed = bury(KEYS[2], id, doc)
    if not freed then return false end
    entries = entries - 1
    bytes = bytes - freed
    return true
  end

  local function drop_single(id)
    if call('ZREM', KEYS[7], id) == 0 then return end
    call('HDEL', KEYS[6], id)
    local doc = call('HGET', KEYS[8], 'i:' .. id)
    if doc then call('HDEL', KEYS[8], 'i:' .. id, 'd:' .. doc) end
    touched = touched + 1
  end

  -- Puts an entry in, if it fits.
  local function put_in(doc, id, json)
    local size = #id + #json
    if bytes + size <= limit then
      if call('HSET', KEYS[2], id, json) == 1 then call('RPUSH', KEYS[3], id) end
      entries = entries + 1
      bytes = bytes + size
    else
      skipped = skipped + 1
      complete = false
    end
    if doc == id then
      call('HDEL', KEYS[4], doc)
    else
      call('HSET', KEYS[4], doc, id)
      is_new_part = true
    end
  end

  local function amend_live(doc, id, json, ts)
    local stamp = call('HGET', KEYS[5], doc)
    -- It comes again, perhaps since the former caller did not come to ask who has the id now.
    if json == '' and stamp and not after(ts, stamp) and call('HEXISTS', KEYS[2], id) == 1 then
      left[id] = true
    end
    if after(stamp or as_of, ts) then return end
    local known = call('HGET', KEYS[4], doc)
    local is_hidden = known and string.byte(known) == 0
    local held = known or doc
    local stays = held == id and json ~= ''
    -- What is known of no document can be another one's.
    local there = not is_hidden and take_out(held, not known and not stays and doc)
    local is_changed = known
    if there and not stays then left[held] = true end
    local gives, is_taken = false, false
    if json ~= '' and not stays then
      gives, is_taken = gives_way(KEYS[2], KEYS[4], id, doc, json)
      is_new_part = is_new_part or is_taken
    end
    if json == '' then
      call('HDEL', KEYS[4], doc)
    elseif gives then
      is_changed = true
    else
      if is_taken then there = take_out(id) or there end
      if not there and not complete and not succeeds then return end
      put_in(doc, id, json)
      there = true
    end
    if there or is_changed then call('HSET', KEYS[5], doc, ts) end
    if there then touched = touched + 1 end
  end

  for change = 1, #KEYS - 8 do
    local at = 4 * change - 1
    local doc, id, json, ts = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    if singles then
      local known = call('HGET', KEYS[8], 'd:' .. doc) or doc
      if known ~= id then drop_single(known) end
      if id ~= '' and (json == '' or call('HGET', KEYS[6], id) ~= json) then drop_single(id) end
    end
    if live then amend_live(doc, id, json, ts) end
  end

  local answer = { touched }
  if live then
    local now = call('EXISTS', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
    call(
      'HSET',
      KEYS[1],
      'complete',
      complete and 1 or 0,
      'entries',
      entries,
      'skipped',
      skipped,
      'bytes',
      bytes,
      'parts',
      now
    )
    if is_new_part or now ~= parts then
      -- It expires with the others.
      local ttl = call('PTTL', KEYS[1])
      for part = 2, 5 do
        call('PEXPIRE', KEYS[part], ttl)
      end
    end
    for id in pairs(left) do
      answer[#answer + 1] = id
    end
  end
  return answer
end)
