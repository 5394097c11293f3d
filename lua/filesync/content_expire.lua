-- Ends uploads without progress, and versions that no change has named in time.
--
-- KEYS  1 the tenant's unnamed contents
-- ARGV  1 how many are looked at
-- Returns how many were looked at.
-- Cost  O(contents). May be repeated.

define('content_expire', function(KEYS, ARGV)
  local call, now = redis.call, fs.now()
  local due = call('ZRANGEBYSCORE', KEYS[1], '-inf', fs.text(now), 'LIMIT', 0, ARGV[1])
  local tenant = fs.tenant(KEYS[1])
  if due[1] then contents.need(tenant .. 'share:') end
  for _, name in ipairs(due) do
    local share, version = string.match(name, '^(.*) (.*)$')
    share = tenant .. 'share:' .. share
    if call('EXISTS', contents.upload(share, version)) == 1 then
      contents.end_upload(share, version, now)
    elseif call('HGET', contents.version(share, version), 'state') == 'pending' then
      contents.end_version(share, version, now)
    else
      call('ZREM', KEYS[1], name)
    end
  end
  return #due
end, { 'allow-oom' })
