-- Shared by the functions that write a document. KEYS of each are the document, its changes, the
-- record of the write, the accepted writes and past.

-- The time in ms, not before a former one.
local function time_after(former)
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  return math.max(now, tonumber(former))
end

-- Enters the document as a write left it into its log.
local function enter_change(KEYS, revision, json)
  -- As many changes as make about 4 MiB, for a document as large as this one.
  local kept = math.max(8, math.min(1000, math.floor(4194304 / #json)))
  log.append(KEYS[2], revision, json, kept)
end

-- Remembers a write, for `ttl` ms. `rest` is what follows the times in the envelope.
local function remember(KEYS, revision, created, at, rest, fingerprint, ttl)
  redis.call(
    'HSET',
    KEYS[3],
    'revision',
    revision,
    'created',
    created,
    'at',
    at,
    'rest',
    rest,
    'fingerprint',
    fingerprint
  )
  redis.call('PEXPIRE', KEYS[3], ttl)
end
