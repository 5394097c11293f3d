-- Makes a write of a few steps where the document is: nobody reads it first, and of its JSON only
-- what changes is parsed. Whatever is not as in most writes is left to `read` and `write`, which
-- also say what is wrong with a write: this function has done nothing then.
--
-- KEYS  1 document  2 changes  3 record of this write  4 accepted writes  5 past
-- ARGV  1 revision that the document must be at  2 createdAt that it must have, ms; '' for any
--       3 most bytes of its data  4 channel  5 fingerprint of the request  6 how long this write is
--       remembered, ms
--       then for each step: what to do, JSONPath, value; the places differ, and none is within
--       another: 'set' puts JSON in place of what is there, 'increment' adds an integer, 'toggle'
--       makes true false, and false true
-- Returns {'written', revision, createdAt, JSON as it is kept}; {'left', 0, 0, ''} when nothing was
--       done.
-- Cost  O(size of the document), to print it once. Repeated, it returns 'left'.

-- The facts of an envelope around its data, as texts; none when there is no document, or one that
-- is deleted.
local function facts_of(key)
  local paths = { '$.revision', '$.createdAt', '$.updatedAt', '$.deleted', '$.expiresAt' }
  local json = redis.call('JSON.GET', key, unpack(paths)) or ''
  local function fact(name) return string.match(json, '"%$%.' .. name .. '":%[([^%]]*)%]') end
  local facts = {
    revision = fact('revision'),
    created = fact('createdAt'),
    updated = fact('updatedAt'),
    expires = fact('expiresAt'),
  }
  return fact('deleted') == '' and facts
end

-- The bytes of the data of an envelope as `write` and this function keep it; none when it looks
-- different.
local function data_bytes(json)
  local _, before = string.find(json, ',"data":', 1, true)
  local tail = string.sub(json, -160)
  local times = string.find(tail, ',"createdAt":%d+,"updatedAt":%d+}$')
    or string.find(tail, ',"createdAt":%d+,"updatedAt":%d+,"expiresAt":%d+}$')
  return before and times and #json - #tail + times - 1 - before
end

-- Whether a text is an integer that Lua's numbers hold exactly, as well as a sum of two.
local function is_small(text) return #text < 16 and string.find(text, '^-?%d+$') end

-- What a step makes of the JSON that is there; none when that has to be left to others.
local function made_of(held, step, value)
  if step == 'set' then return value end
  if step == 'toggle' then
    if held == 'true' then return 'false' end
    return held == 'false' and 'true'
  end
  if not is_small(held) or not is_small(value) then return nil end
  return string.format('%.0f', tonumber(held) + tonumber(value))
end

define('mutate', function(KEYS, ARGV)
  local call = redis.call
  local left = { 'left', 0, 0, '' }
  if call('EXISTS', KEYS[3]) == 1 or call('ZCOUNT', KEYS[4], '(0', '+inf') > 0 then return left end
  local facts = facts_of(KEYS[1])
  if not facts then return left end
  local is_expected = (ARGV[1] == '' or ARGV[1] == facts.revision)
    and (ARGV[2] == '' or ARGV[2] == facts.created)
  if not is_expected then return left end
  -- The last change has the size of the document. Others than that of its revision are of another
  -- document, or of a past that the server has lost.
  local last = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
  local bytes = last and last[1] == facts.revision .. '-0' and data_bytes(last[2][2])
  if not bytes then return left end
  -- Where it is missing, its end is not known in its digits.
  local ends = facts.expires ~= ''
  if ends and call('EXISTS', KEYS[5]) == 0 then return left end

  local made = {}
  for at = 7, #ARGV, 3 do
    local held = redis.pcall('JSON.GET', KEYS[1], ARGV[at + 1])
    held = type(held) == 'string' and string.match(held, '^%[(.+)%]$')
    local json = held and made_of(held, ARGV[at], ARGV[at + 2])
    if not json then return left end
    made[at] = json
    bytes = bytes + #json - #held
  end
  if bytes > tonumber(ARGV[3]) then return left end

  local revision = string.format('%.0f', tonumber(facts.revision) + 1)
  local now = string.format('%.0f', time_after(facts.updated))
  need('XADD', KEYS[2], '*', 'entry', '')
  if ends then need('SET', KEYS[5], '') end
  need('HSET', KEYS[3], 'revision', '')
  need('PEXPIRE', KEYS[3], 0)

  -- Watchers look once this has ended. A nudge without a write does no harm.
  call('SPUBLISH', ARGV[4], revision)
  for at = 7, #ARGV, 3 do
    call('JSON.SET', KEYS[1], ARGV[at + 1], made[at])
  end
  call('JSON.SET', KEYS[1], '$.revision', revision)
  call('JSON.SET', KEYS[1], '$.updatedAt', now)
  local json = call('JSON.GET', KEYS[1])
  enter_change(KEYS, revision, json)
  if ends then call('SET', KEYS[5], revision, 'KEEPTTL') end
  local rest = ends and ',"expiresAt":' .. facts.expires .. '}' or '}'
  remember(KEYS, revision, facts.created, now, rest, ARGV[5], ARGV[6])
  return { 'written', revision, facts.created, json }
end)
