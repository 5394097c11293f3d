-- Shared by the functions that work on a staging set. KEYS of each begin with the epoch, then the
-- set's info, entries, order, docs and skipped; ARGV with the token of the attempt and the epoch
-- that it began in.

-- How many of the set's keys there are besides its info.
local function staged_parts(KEYS) return redis.call('EXISTS', KEYS[3], KEYS[4], KEYS[5], KEYS[6]) end

-- Drops the set as a whole. Values are freed by another thread.
local function drop_staging(KEYS) redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]) end

-- What keeps an attempt from its epoch: 'superseded' when that moved on, 'lost' when it moved back,
-- for then Valkey lost data; none when it is the epoch still.
local function left_epoch(KEYS, ARGV)
  local epoch = redis.call('HGET', KEYS[1], 'value') or '0'
  if epoch == ARGV[2] then return nil end
  return tonumber(epoch) > tonumber(ARGV[2]) and 'superseded' or 'lost'
end

-- The info of the caller's staging set: limit, policy, entries, skipped, bytes and seq (the last
-- step that was applied) as numbers but for the policy, and refused; or none, and why: 'superseded'
-- or 'lost', when the set is gone, in part or whole, or another attempt's.
local function staging(KEYS, ARGV)
  local why = left_epoch(KEYS, ARGV)
  if why then return nil, why end
  local info = redis.call(
    'HMGET',
    KEYS[2],
    'token',
    'parts',
    'limit',
    'policy',
    'entries',
    'skipped',
    'bytes',
    'seq',
    'refused'
  )
  if info[1] ~= ARGV[1] then return nil, 'lost' end
  if staged_parts(KEYS) ~= tonumber(info[2]) then
    -- Evicted in part: what is left is not the set.
    drop_staging(KEYS)
    return nil, 'lost'
  end
  return {
    limit = tonumber(info[3]),
    policy = info[4],
    entries = tonumber(info[5]),
    skipped = tonumber(info[6]),
    bytes = tonumber(info[7]),
    seq = tonumber(info[8]),
    refused = info[9],
  }
end

-- Refuses the set: what was staged is dropped, and each later step is refused.
local function refuse_staging(KEYS, limit)
  redis.call('UNLINK', KEYS[3], KEYS[4], KEYS[5], KEYS[6])
  redis.call('HSET', KEYS[2], 'refused', 1, 'parts', 0)
  return { 'refused', limit }
end

-- Keeps the totals after a step, and begins the set's life anew.
local function keep_staging(KEYS, seq, entries, skipped, bytes, ttl)
  redis.call(
    'HSET',
    KEYS[2],
    'seq',
    seq,
    'entries',
    entries,
    'skipped',
    skipped,
    'bytes',
    bytes,
    'parts',
    staged_parts(KEYS)
  )
  for at = 2, 6 do
    redis.call('PEXPIRE', KEYS[at], ttl)
  end
end
