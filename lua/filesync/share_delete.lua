-- Deletes a share: nobody can see it from here on. What it held is removed by later steps.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 what the ids of entries begin with
-- Returns 'not_found'; 'forbidden' for a caller below level 3; 'deleted'.
-- Cost  O(grants). Repeated, it returns what the first call did.

define('share_delete', function(KEYS, ARGV)
  local call = redis.call
  local share, tenant = KEYS[1], fs.tenant(KEYS[1])
  local made = fs.made(tenant, ARGV[3])
  if made then return made end
  local denial = fs.denial(fs.level(share, ARGV[1], ARGV[2]), 3)
  if denial then return denial end
  local writing = record.open(share, ARGV[1], nil, '0', ARGV[3])
  need('HDEL', share, 'owner')
  need('ZADD', share .. ':doomed', 0, '')
  need('SADD', tenant .. 'removed', '')
  record.need(writing)

  local grantees = call('HKEYS', share .. ':grants')
  grantees[#grantees + 1] = 'u:' .. call('HGET', share, 'owner')
  record.append(writing, {
    kind = 'share',
    resource = writing.name,
    type = 'deleted',
    grantees = grantees,
  })
  for _, grantee in ipairs(grantees) do
    call('SREM', tenant .. 'granted:' .. grantee, writing.name)
  end
  for _, part in ipairs({ 'grants', 'log', 'outcomes', 'judged', 'open', 'held' }) do
    call('UNLINK', share .. ':' .. part)
  end
  -- With the root all goes that is in it.
  local root = share .. ':node:root'
  local generation = call('HGET', root, 'gen') or '0'
  call('HSET', root, 'gone', '1')
  call('ZADD', share .. ':doomed', 0, 'root ' .. generation)
  call('HDEL', share, 'owner')
  call('SREM', tenant .. 'shares', writing.name)
  call('SADD', tenant .. 'removed', writing.name)
  for _, grantee in ipairs(grantees) do
    call('SPUBLISH', tenant .. 'access', grantee)
  end
  fs.remember(tenant, ARGV[3], 'deleted')
  return 'deleted'
end)
