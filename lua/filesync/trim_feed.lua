-- Trims the feed of a tenant: the oldest entries, whose changes the logs of their shares have no more,
-- or whose shares are gone for so long.
--
-- KEYS  1 feed
-- ARGV  1 most entries in one call  2 entries that stay in any case
-- Returns how many entries went.
-- Cost  O(ARGV[1] * log entries of a share). May be repeated.

define('trim_feed', function(KEYS, ARGV)
  local call = redis.call
  local feed = KEYS[1]
  local tenant = fs.tenant(feed)
  local spare = math.min(tonumber(ARGV[1]), call('XLEN', feed) - tonumber(ARGV[2]))
  if spare <= 0 then return 0 end
  local gone, last = 0, nil
  for _, entry in ipairs(call('XRANGE', feed, '-', '+', 'COUNT', spare)) do
    local name, position = entry[2][2], entry[2][4]
    local share = tenant .. 'share:' .. name
    local floor = call('HGET', share, 'floor')
    local is_kept = floor and tonumber(position) >= tonumber(floor)
    -- A share that was removed has its name still, and no log.
    if is_kept and call('EXISTS', share .. ':log') == 1 then break end
    gone, last = gone + 1, entry[1]
  end
  if gone > 0 then
    local next = fs.text(tonumber(string.match(last, '^%d+')) + 1)
    call('XTRIM', feed, 'MINID', next .. '-0')
  end
  return gone
end, { 'allow-oom' })
