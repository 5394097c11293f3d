-- Which contents nothing refers to: neither an upload nor a version. Of a share that is not known
-- nothing is said: what Valkey has lost as a whole may come back.
--
-- KEYS  1 share
-- ARGV  versions
-- Returns those that are not known.
-- Cost  O(versions).

define('content_unknown', function(KEYS, ARGV)
  local share, unknown = KEYS[1], {}
  if redis.call('EXISTS', share) == 0 then return unknown end
  for _, version in ipairs(ARGV) do
    local keys = { contents.upload(share, version), contents.version(share, version) }
    if redis.call('EXISTS', unpack(keys)) == 0 then unknown[#unknown + 1] = version end
  end
  return unknown
end, { 'no-writes' })
