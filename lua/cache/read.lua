-- Looks an entry up, first in the live set, then among the single ones; on a miss one caller gets
-- the lease to fetch it. The function `look` never takes the lease, and so answers where Valkey
-- takes no writes.
--
-- KEYS  1 epoch  2-6 live: info, entries, order, docs, stamps  7-9 single: entries, expiry, docs
--       10 fetch lease of the id, for `read`
-- ARGV  1 id, then for `read`: 2 nonce of this call, to get the lease by  3 lease, ms
-- Returns {'bulk' | 'single', epoch, JSON} for a hit in the live set | among the singles;
--       {'granted' | 'missing', epoch} for a miss with | without lease.
-- Cost  O(1). May be repeated.

local function read(KEYS, ARGV, takes_lease)
  local call = redis.call
  local epoch = tonumber(call('HGET', KEYS[1], 'value') or 0)

  local json = call('HGET', KEYS[3], ARGV[1])
  if json and json ~= '' and is_whole(KEYS) then return { 'bulk', epoch, json } end
  json = call('HGET', KEYS[7], ARGV[1])
  if json and call('EXISTS', KEYS[9]) == 1 then
    local expires = tonumber(call('ZSCORE', KEYS[8], ARGV[1]) or 0)
    if expires > clock_us() then return { 'single', epoch, json } end
  end
  if not takes_lease then return { 'missing', epoch } end
  -- The nonce lets a repeated call see that the lease is its own.
  if call('SET', KEYS[10], ARGV[2], 'NX', 'PX', ARGV[3]) or call('GET', KEYS[10]) == ARGV[2] then
    return { 'granted', epoch }
  end
  return { 'missing', epoch }
end

define('read', function(KEYS, ARGV) return read(KEYS, ARGV, true) end)
define('look', function(KEYS, ARGV) return read(KEYS, ARGV, false) end, { 'no-writes' })
