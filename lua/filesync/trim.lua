-- Trims the log of a share: entries that are old, but for the last ones; with them what is
-- remembered of changes from before; and conflicts that were resolved long ago.
--
-- KEYS  1 share
-- ARGV  1 entries of before this time go, as RFC 3339 writes it  2 entries that stay in any case
--       3 most of each in one call  4 that time in ms
-- Returns how many entries, outcomes and conflicts went; less than ARGV[3] of each when all is done.
-- Cost  O(ARGV[3]). May be repeated.

define('trim', function(KEYS, ARGV)
  local call = redis.call
  local share = KEYS[1]
  local head, floor = unpack(call('HMGET', share, 'head', 'floor'))
  if not head then return { 0, 0, 0 } end
  head, floor = tonumber(head), tonumber(floor)
  local most = tonumber(ARGV[3])
  local spare = math.min(most, head - floor + 1 - tonumber(ARGV[2]))
  local entries, outcomes = 0, 0
  if spare > 0 then
    local id
    for _, entry in ipairs(call('XRANGE', share .. ':log', '-', '+', 'COUNT', spare)) do
      local text = entry[2][2]
      if string.match(text, '"changed_at":"([^"]*)"') >= ARGV[1] then break end
      entries = entries + 1
      id = record.id_of(text)
    end
    if entries > 0 then
      need('XTRIM', share .. ':log', 'MINID', '0')
      floor = floor + entries
      call('HSET', share, 'floor', fs.text(floor), 'floor_id', id)
      call('XTRIM', share .. ':log', 'MINID', fs.text(floor) .. '-0')
    end
  end
  -- What was judged when the head was below the floor.
  local last = '(' .. fs.text(floor) .. '-0'
  for _, judged in ipairs(call('XRANGE', share .. ':judged', '-', last, 'COUNT', most)) do
    call('HDEL', share .. ':outcomes', judged[2][2])
    call('XDEL', share .. ':judged', judged[1])
    outcomes = outcomes + 1
  end
  local old = call('ZRANGEBYSCORE', share .. ':resolved', '-inf', ARGV[4], 'LIMIT', 0, most)
  for _, id in ipairs(old) do
    call('UNLINK', share .. ':conflict:' .. id)
    call('ZREM', share .. ':conflicts', id)
    call('ZREM', share .. ':resolved', id)
    call('SREM', fs.tenant(share) .. 'home:' .. id, string.match(share, 'share:(.*)$'))
  end
  return { entries, outcomes, #old }
end, { 'allow-oom' })
