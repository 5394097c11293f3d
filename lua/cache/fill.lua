-- Writes fetched entries as single ones with a TTL each. An id which is in the live set gets no
-- second copy: its entry there is refreshed or left alone. Where that set ends before the new entry
-- would, the later of the two revisions moves out of it, to be a single one.
--
-- KEYS  1 epoch  2-6 live: info, entries, order, docs, stamps  7-9 single: entries, expiry, docs
--       10.. fetch lease of each entry
-- ARGV  1 epoch when the fetch began  2 TTL, us  3 limit of the live set, bytes
--       4 nonce of the fetch lease, without which nothing is written; '' to write whether or not
--       another caller holds it
--       5 a time (ns) since which the fetched revisions hold, to refresh the live set by; '' to
--       leave it alone
--       then for each entry: id, Convex _id ('' when it equals the id), JSON
-- Returns {'filled', written}; {'superseded', 0} when the epoch moved. An entry that changed while
--       it was fetched is not written.
-- Cost  O(entries * log singles). May be repeated.

define('fill', function(KEYS, ARGV)
  local call = redis.call
  local nonce, since = ARGV[4], ARGV[5]
  if (call('HGET', KEYS[1], 'value') or '0') ~= ARGV[1] then
    for at = 10, #KEYS do
      if nonce == '' or call('GET', KEYS[at]) == nonce then call('DEL', KEYS[at]) end
    end
    return { 'superseded', 0 }
  end
  local time = call('TIME')
  local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

  local function drop_single(id)
    call('ZREM', KEYS[8], id)
    call('HDEL', KEYS[7], id)
    local doc = call('HGET', KEYS[9], 'i:' .. id)
    if doc then call('HDEL', KEYS[9], 'i:' .. id, 'd:' .. doc) end
  end

  -- Expired ones cost memory until they go: each call takes more of them away than it adds.
  local expired = call('ZRANGEBYSCORE', KEYS[8], '-inf', now_us, 'LIMIT', 0, 2 * #KEYS)
  for _, id in ipairs(expired) do
    drop_single(id)
  end

  -- A set with a part missing (evicted) cannot be kept up to date.
  local info = call('HMGET', KEYS[2], 'parts', 'as_of')
  if not info[1] or call('EXISTS', KEYS[3], KEYS[4], KEYS[5], KEYS[6]) ~= tonumber(info[1]) then
    call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
  end
  if call('EXISTS', KEYS[7], KEYS[8], KEYS[9]) < 3 then
    call('UNLINK', KEYS[7], KEYS[8], KEYS[9])
  end

  local ttl_ms = math.ceil(tonumber(ARGV[2]) / 1000)
  local live_ttl = call('PTTL', KEYS[3])

  -- Takes an entry out of the live set; its place in the order stays.
  local function leave_live(id, old_length)
    call('HSET', KEYS[3], id, '')
    call('HINCRBY', KEYS[2], 'bytes', -old_length - #id)
    call('HINCRBY', KEYS[2], 'entries', -1)
    call('HSET', KEYS[2], 'complete', 0)
  end

  -- Refreshes an entry of the live set, or takes it out when the set would grow past its limit or
  -- ends too early. Returns the JSON that is to be a single entry, if any.
  local function refresh_live(id, doc, json, old_length)
    -- Another document is shown: which of the two is newer is decided where the change of either is
    -- applied.
    if not holds(KEYS[3], id, doc) then return nil end
    -- What is there may be a later revision.
    local is_later = after(since, call('HGET', KEYS[6], doc) or info[2] or '0')
    if live_ttl < ttl_ms then
      if not is_later then json = call('HGET', KEYS[3], id) end
      leave_live(id, old_length)
      return json
    end
    if not is_later then return nil end
    local bytes = tonumber(call('HGET', KEYS[2], 'bytes')) - old_length + #json
    if bytes <= tonumber(ARGV[3]) then
      call('HSET', KEYS[3], id, json)
      call('HSET', KEYS[6], doc, since)
      call('PEXPIRE', KEYS[6], live_ttl)
      call(
        'HSET',
        KEYS[2],
        'bytes',
        bytes,
        'parts',
        call('EXISTS', KEYS[3], KEYS[4], KEYS[5], KEYS[6])
      )
      return nil
    end
    leave_live(id, old_length)
    call('HINCRBY', KEYS[2], 'skipped', 1)
    return json
  end

  local written = 0
  for entry = 1, #KEYS - 9 do
    local id, doc, json = ARGV[3 * entry + 3], ARGV[3 * entry + 4], ARGV[3 * entry + 5]
    local lease = call('GET', KEYS[9 + entry])
    -- A stale lease: amend saw a later revision than the one that was being fetched. No lease: it
    -- may have.
    local may_write = lease ~= 'stale' and (nonce == '' or lease == nonce)
    if may_write or lease == 'stale' then call('DEL', KEYS[9 + entry]) end
    if may_write then
      local live_length = call('HSTRLEN', KEYS[3], id)
      local document = doc == '' and id or doc
      if live_length > 0 then
        if since == '' then
          json = nil
        else
          json = refresh_live(id, document, json, live_length)
        end
      end
      if json then
        drop_single(id)
        call('HSET', KEYS[7], id, json)
        -- Distinct scores in one chunk: a page of the list can end between any two.
        call('ZADD', KEYS[8], string.format('%.0f', now_us + tonumber(ARGV[2]) + entry), id)
        -- A field of its own makes it exist, so that it can be missed.
        call('HSET', KEYS[9], '.', '')
        if doc ~= '' then call('HSET', KEYS[9], 'd:' .. doc, id, 'i:' .. id, doc) end
      end
      written = written + 1
    end
  end
  for key = 7, 9 do
    call('PEXPIRE', KEYS[key], ttl_ms + 1000)
  end
  return { 'filled', written }
end)
