-- Writes the next revision of a document, unless another writer came first, with its change and the
-- nudge to watchers.
--
-- KEYS  1 document  2 changes  3 record of this write  4 accepted writes  5 past
-- ARGV  1 revision that the new one was computed from; without a document, where its revisions
--       begin
--       2 the new document's JSON up to its times 3 createdAt of the former one, ms; '': there must
--       be no document
--       4 its updatedAt, ms  5 what follows the times  6 when the document goes, ms; '' for never
--       7 channel  8 fingerprint of the request  9 how long this write is remembered, ms
--       10 token of an accepted write; '' for one that is made at once
--       11 until when its revisions are not used again, ms; '' when it never goes
--       12 '1' when the JSON module may write a float in other digits than the new document's JSON
--       has
--       then for each float that the JSON module may read wrongly: JSONPath, value, what to add
--       when it has
-- Returns {status, createdAt, updatedAt, JSON as it is kept; '' when that is as it was given}; 0, 0
--       and '' with any status but the first: 'written'; 'outrun' when the document has moved on;
--       'reused' when the record is of another request; 'waiting' when writes that were accepted
--       before have to be made first, or this accepted one is not among them any more; 'made' when
--       this write was made before.
-- Cost  O(size of the document), for each such float too. May be repeated.

define('write', function(KEYS, ARGV)
  local call = redis.call
  local made = call('HGET', KEYS[3], 'fingerprint')
  if made then return { made == ARGV[8] and 'made' or 'reused', 0, 0, '' } end
  if ARGV[10] == '' then
    if call('ZCOUNT', KEYS[4], '(0', '+inf') > 0 then return { 'waiting', 0, 0, '' } end
  elseif not call('ZSCORE', KEYS[4], ARGV[10]) then
    return { 'waiting', 0, 0, '' }
  end
  local current = call('JSON.GET', KEYS[1], '.revision')
  if current then
    -- The former one may be gone and another of its revision be there.
    local is_former = current == ARGV[1] and call('JSON.GET', KEYS[1], '.createdAt') == ARGV[3]
    if not is_former then return { 'outrun', 0, 0, '' } end
  else
    local past = call('GET', KEYS[5])
    -- A revision is left out, so that no reader takes the first change of the new document for the
    -- next one of the former.
    local begin = past and tonumber(past) + 1 or 0
    if ARGV[3] ~= '' or string.format('%.0f', begin) ~= ARGV[1] then
      return { 'outrun', 0, 0, '' }
    end
  end

  local revision = string.format('%.0f', tonumber(ARGV[1]) + 1)
  local now = time_after(ARGV[4])
  local now_text = string.format('%.0f', now)
  local created = ARGV[3] == '' and now_text or ARGV[3]
  local json = ARGV[2] .. ',"createdAt":' .. created .. ',"updatedAt":' .. now_text .. ARGV[5]
  -- Changes of this revision or later ones are of another document, or of a past that the server
  -- has lost.
  local is_new = not current or log.reaches(KEYS[2], revision)
  if #ARGV > 12 then need('JSON.NUMINCRBY', KEYS[1], '$', 0) end
  if is_new then need('UNLINK', KEYS[2]) end
  need('XADD', KEYS[2], '*', 'entry', '')
  for key = 1, 2 do
    if ARGV[6] == '' then
      need('PERSIST', KEYS[key])
    else
      need('PEXPIREAT', KEYS[key], 0)
    end
  end
  if ARGV[11] ~= '' then need('SET', KEYS[5], '') end
  need('HSET', KEYS[3], 'revision', '')
  need('PEXPIRE', KEYS[3], 0)
  if ARGV[10] ~= '' then need('ZREM', KEYS[4], '') end

  -- Watchers look once this has ended. A nudge without a write does no harm, and a write that may
  -- not be made is none.
  call('SPUBLISH', ARGV[7], revision)
  call('JSON.SET', KEYS[1], '$', json)
  for float = 13, #ARGV, 3 do
    local held = call('JSON.GET', KEYS[1], ARGV[float]) or ''
    if tonumber(string.sub(held, 2, -2)) ~= tonumber(ARGV[float + 1]) then
      -- Where the module cannot name the place, the float stays off by one unit.
      redis.pcall('JSON.NUMINCRBY', KEYS[1], ARGV[float], ARGV[float + 2])
    end
  end
  local kept_json = ''
  if ARGV[12] == '1' then
    kept_json = call('JSON.GET', KEYS[1])
    json = kept_json
  end

  if is_new then call('UNLINK', KEYS[2]) end
  enter_change(KEYS, revision, json)

  for key = 1, 2 do
    if ARGV[6] == '' then
      call('PERSIST', KEYS[key])
    else
      call('PEXPIREAT', KEYS[key], ARGV[6])
    end
  end
  if ARGV[11] ~= '' then call('SET', KEYS[5], revision, 'PXAT', ARGV[11]) end
  remember(KEYS, revision, created, now_text, ARGV[5], ARGV[8], ARGV[9])
  if ARGV[10] ~= '' then call('ZREM', KEYS[4], ARGV[10]) end
  return { 'written', tonumber(created), now, kept_json }
end)
