-- Creates a share with its root folder.
--
-- KEYS  1 share
-- ARGV  1 user, who owns it  2 groups  3 name  4 epoch  5 quota, bytes; '' for none  6 '1' when names
--       are to be portable  7 limit of mass deletions; '' for none  8 what the ids of entries begin
--       with
-- Returns 'created'; the same when it is there already, since a share's id is new.
-- Cost  O(1). May be repeated.

define('share_create', function(KEYS, ARGV)
  local share = KEYS[1]
  if redis.call('EXISTS', share) == 1 then return 'created' end
  local writing = record.open(share, ARGV[1], nil, '0', ARGV[8])
  local settings = { 'quota', ARGV[5], 'portable', ARGV[6], 'guard', ARGV[7] }
  share_of.create(writing, ARGV[1], ARGV[3], ARGV[4], settings)
  return 'created'
end)
