-- Ends an upload of the user's without a version, and frees what it reserved. Its bytes go later.
--
-- KEYS  1 share
-- ARGV  1 user  2 version  3 writer; '' whoever writes it
-- Returns 'ended'; 'outrun' when another writer has taken it over; 'gone' when there is none.
-- Cost  O(1). Repeated, it returns 'gone'.

define('upload_end', function(KEYS, ARGV)
  local share = KEYS[1]
  local upload = redis.call('HMGET', contents.upload(share, ARGV[2]), 'user', 'writer')
  if upload[1] ~= ARGV[1] then return 'gone' end
  if ARGV[3] ~= '' and upload[2] ~= ARGV[3] then return 'outrun' end
  contents.need(share)
  contents.end_upload(share, ARGV[2], fs.now())
  return 'ended'
end, { 'allow-oom' })
