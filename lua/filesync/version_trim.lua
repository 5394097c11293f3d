-- Ends versions that their files do not hold any more since before a time.
--
-- KEYS  1 share
-- ARGV  1 the time, ms  2 most versions in one call
-- Returns how many were looked at; less than ARGV[2] when all is done.
-- Cost  O(ARGV[2]). May be repeated.

define('version_trim', function(KEYS, ARGV)
  local call, share, now = redis.call, KEYS[1], fs.now()
  local superseded = share .. ':superseded'
  local due = call('ZRANGEBYSCORE', superseded, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
  if due[1] then contents.need(share) end
  for _, id in ipairs(due) do
    local state, file = unpack(call('HMGET', contents.version(share, id), 'state', 'file'))
    local is_held = file and call('HGET', share .. ':node:' .. file, 'v') == id
    if state == 'kept' and not is_held and not contents.is_retained(share, id) then
      contents.end_version(share, id, now)
    else
      contents.hold(share, id)
    end
  end
  return #due
end, { 'allow-oom' })
