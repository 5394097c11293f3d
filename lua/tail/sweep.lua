-- Some documents of one bucket of the ledger that a walk has not come by, or any.
--
-- KEYS  1 state of the bucket  2 its documents
-- ARGV  1 token  2 generation of the walk (2 bytes); '' for any  3 cursor, '0' at first  4 about
--       how many to look at
-- Returns {'closed'} when the bucket is closed to this token; else {'open', next cursor ('0' at the
--       end), then _id and record of each}.
-- Cost  O(documents looked at). May be repeated.

define('sweep', function(KEYS, ARGV)
  local call = redis.call
  if tonumber(call('HGET', KEYS[1], 'token') or 0) > tonumber(ARGV[1]) then return { 'closed' } end
  local page = call('HSCAN', KEYS[2], ARGV[3], 'COUNT', ARGV[4])
  local found = { 'open', page[1] }
  for at = 1, #page[2], 2 do
    local record = page[2][at + 1]
    if string.sub(record, 9, 10) ~= ARGV[2] then
      found[#found + 1] = page[2][at]
      found[#found + 1] = record
    end
  end
  return found
end, { 'no-writes' })
