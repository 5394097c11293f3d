-- Removes what was deleted below the floor of a share's log, or all of a deleted share: nodes, all
-- that deleted folders held, and versions, whose contents are garbage then.
--
-- KEYS  1 share
-- ARGV  1 most steps in one call
-- Returns how many steps were made; less than ARGV[1] when all is done.
-- Cost  O(ARGV[1]), and O(versions of the files that go). May be repeated.

-- Removes the versions of a file. Those of an open conflict stay.
local function remove_versions(share, file)
  local versions = share .. ':versions:' .. file
  for _, id in ipairs(redis.call('ZRANGE', versions, 0, -1)) do
    local state = redis.call('HGET', contents.version(share, id), 'state')
    local may_end = state == 'kept' and not contents.is_retained(share, id)
    if may_end then contents.end_version(share, id, fs.now()) end
  end
  redis.call('UNLINK', versions)
end

local function remove_node(share, id)
  local tenant = fs.tenant(share)
  remove_versions(share, id)
  redis.call('UNLINK', share .. ':node:' .. id)
  redis.call('ZREM', share .. ':nodes', id)
  redis.call('SREM', tenant .. 'home:' .. id, string.match(share, 'share:(.*)$'))
end

-- One step for a folder of a generation: removes some of what it held. Returns whether it is empty.
local function empty(share, view, folder, generation, position)
  local names = share .. ':names:' .. folder .. ':' .. generation
  local found = redis.call('HSCAN', names, 0, 'COUNT', 50)[2]
  for at = 1, #found, 2 do
    local node = tree.read(view, found[at + 1])
    -- One that came back, or moved on, is held by another folder.
    if node and node.p == folder and node.pg == generation then
      if node.k == 'folder' then
        redis.call('ZADD', share .. ':doomed', position, node.id .. ' ' .. node.gen)
        redis.call('HSET', share .. ':node:' .. node.id, 'gone', '1')
      else
        remove_node(share, node.id)
      end
    end
    redis.call('HDEL', names, found[at])
  end
  return #found == 0
end

define('sweep', function(KEYS, ARGV)
  local call = redis.call
  local share, most = KEYS[1], tonumber(ARGV[1])
  need('UNLINK', share .. ':node:')
  contents.need(share)
  local owner, floor = unpack(call('HMGET', share, 'owner', 'floor'))
  local view = tree.open(share)
  -- Of a share that is deleted all goes.
  local conflicts = owner and {} or call('ZRANGE', share .. ':conflicts', 0, most - 1)
  for _, id in ipairs(conflicts) do
    call('UNLINK', share .. ':conflict:' .. id)
    call('ZREM', share .. ':conflicts', id)
    call('ZREM', share .. ':resolved', id)
    call('SREM', fs.tenant(share) .. 'home:' .. id, string.match(share, 'share:(.*)$'))
  end
  local doomed = call(
    'ZRANGE',
    share .. ':doomed',
    '-inf',
    owner and '(' .. floor or '+inf',
    'BYSCORE',
    'LIMIT',
    0,
    most,
    'WITHSCORES'
  )
  for at = 1, #doomed, 2 do
    local id, generation = string.match(doomed[at], '^(%S+) ?(%d*)$')
    if generation == '' then
      local node = tree.read(view, id)
      if node and node.gone then remove_node(share, id) end
      call('ZREM', share .. ':doomed', doomed[at])
    elseif empty(share, view, id, generation, doomed[at + 1]) then
      call('UNLINK', share .. ':ghosts:' .. id .. ':' .. generation)
      local node = tree.read(view, id)
      if node and node.gone and node.gen == generation then
        local parent = tree.read(view, node.p)
        if parent then call('HDEL', tree.ghosts(view, parent), tree.folded(node)) end
        remove_node(share, id)
      end
      call('ZREM', share .. ':doomed', doomed[at])
    end
  end
  return #doomed / 2 + #conflicts
end, { 'allow-oom' })
