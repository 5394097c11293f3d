-- Grants a share to a user or group, changes the level, or revokes it.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 grantee, `u:<user>` or `g:<group>`  4 level, 1 to 3; 0 to revoke
--       5 what the ids of entries begin with  6 most grants
-- Returns 'not_found'; 'forbidden' for a caller below level 3; 'owner' when the grantee owns the
--       share; 'full' when it has as many grants as it may; 'missing' when there was no grant to revoke;
--       'unchanged' or 'changed'.
-- Cost  O(groups). Repeated, it returns what the first call did.

define('share_grant', function(KEYS, ARGV)
  local call = redis.call
  local share, grantee, level = KEYS[1], ARGV[3], ARGV[4]
  local tenant = fs.tenant(share)
  local made = fs.made(tenant, ARGV[5])
  if made then return made end
  local denial = fs.denial(fs.level(share, ARGV[1], ARGV[2]), 3)
  if denial then return denial end
  if grantee == 'u:' .. call('HGET', share, 'owner') then return 'owner' end
  local grants = share .. ':grants'
  local before = call('HGET', grants, grantee)
  if level == '0' and not before then return 'missing' end
  if before and string.match(before, '^%d') == level then return 'unchanged' end
  if not before and call('HLEN', grants) >= tonumber(ARGV[6]) then return 'full' end
  local writing = record.open(share, ARGV[1], nil, '0', ARGV[5])
  need('HSET', grants, grantee, '')
  need('SADD', tenant .. 'granted:' .. grantee, '')
  record.need(writing)

  local type = level == '0' and 'deleted' or before and 'updated' or 'created'
  local who = string.sub(grantee, 1, 1) == 'u' and 'user' or 'group'
  local name = ({ ['1'] = 'read', ['2'] = 'write', ['3'] = 'admin' })[level]
  record.append(writing, {
    kind = 'share',
    resource = writing.name,
    type = type,
    grantees = { grantee },
    metadata = table.concat({
      '{"',
      who,
      '":',
      record.quoted(string.sub(grantee, 3)),
      ',"level":',
      record.quoted(name),
      '}',
    }),
  })
  if level == '0' then
    call('HDEL', grants, grantee)
    call('SREM', tenant .. 'granted:' .. grantee, writing.name)
  else
    local since = before and string.match(before, '\t(.*)$')
      or call('HGET', tenant .. 'tenant', 'position')
    call('HSET', grants, grantee, level .. '\t' .. since)
    call('SADD', tenant .. 'granted:' .. grantee, writing.name)
  end
  call('SPUBLISH', tenant .. 'access', grantee)
  fs.remember(tenant, ARGV[5], 'changed')
  return 'changed'
end)
