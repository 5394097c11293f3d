-- Creates a share with its root folder.
--
-- KEYS  1 share
-- ARGV  1 user, who owns it  2 groups  3 name  4 epoch  5 quota, bytes; '' for none  6 '1' when names
--       are to be portable  7 limit of mass deletions; '' for none  8 what the ids of entries begin
--       with
-- Returns 'created'; the same when it is there already, since a share's id is new.
-- Cost  O(1). May be repeated.

define('share_create', function(KEYS, ARGV)
  local call = redis.call
  local share = KEYS[1]
  if call('EXISTS', share) == 1 then return 'created' end
  local writing = record.open(share, ARGV[1], nil, '0', ARGV[8])
  writing.head = 0
  need('SADD', writing.tenant .. 'shares', '')
  record.need(writing)
  local now = fs.text(writing.now)
  call(
    'HSET',
    share,
    'name',
    ARGV[3],
    'owner',
    ARGV[1],
    'created',
    now,
    'epoch',
    ARGV[4],
    'head',
    '0',
    'floor',
    '1',
    'quota',
    ARGV[5],
    'used',
    '0',
    'reserved',
    '0',
    'portable',
    ARGV[6],
    'guard',
    ARGV[7]
  )
  call('HSET', share .. ':node:root', 'k', 'folder', 'p', '', 'n', '', 'at', now, 'pos', '0')
  call('SADD', writing.tenant .. 'shares', writing.name)
  local grantee = 'u:' .. ARGV[1]
  call('SADD', writing.tenant .. 'granted:' .. grantee, writing.name)
  record.append(writing, {
    kind = 'share',
    resource = writing.name,
    type = 'created',
    grantees = { grantee },
    metadata = '{"user":' .. record.quoted(ARGV[1]) .. ',"level":"admin"}',
  })
  call('SPUBLISH', writing.tenant .. 'access', grantee)
  return 'created'
end)
