-- Shared by the functions that make shares.
local share_of = {}

-- Makes a share with its root folder, and grants it to its owner. `settings` are fields of the share
-- and their values, besides those that every share has.
function share_of.create(writing, owner, name, epoch, settings)
  local call = redis.call
  need('SADD', writing.tenant .. 'shares', '')
  record.need(writing)
  writing.head = 0
  local now = fs.text(writing.now)
  local fields = {
    'name',
    name,
    'owner',
    owner,
    'created',
    now,
    'epoch',
    epoch,
    'head',
    '0',
    'floor',
    '1',
    'used',
    '0',
    'reserved',
    '0',
  }
  for _, field in ipairs(settings) do
    fields[#fields + 1] = field
  end
  call('HSET', writing.share, unpack(fields))
  call(
    'HSET',
    writing.share .. ':node:root',
    'k',
    'folder',
    'p',
    '',
    'n',
    '',
    'at',
    now,
    'pos',
    '0'
  )
  call('SADD', writing.tenant .. 'shares', writing.name)
  local grantee = 'u:' .. owner
  call('SADD', writing.tenant .. 'granted:' .. grantee, writing.name)
  record.append(writing, {
    kind = 'share',
    resource = writing.name,
    type = 'created',
    grantees = { grantee },
    metadata = '{"user":' .. record.quoted(owner) .. ',"level":"admin"}',
  })
  call('SPUBLISH', writing.tenant .. 'access', grantee)
end
