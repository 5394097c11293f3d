-- Shared by the functions of what has a log: a stream whose entries have the offsets of their log
-- as ids, `<offset>-0`, one by one, and hold a text in the field `entry`. A log that begins anew
-- has another epoch; offsets of different epochs are not compared. Entries go from the oldest on.
local log = {}

-- Whether a log has entries of an offset or later ones. Of a log that gets there only now these are
-- of another epoch, or of a past that the server has lost.
function log.reaches(key, offset)
  return redis.call('XRANGE', key, offset .. '-0', '+', 'COUNT', 1)[1] ~= nil
end

-- Appends an entry, and keeps the last `most`; all of them without a number, when another function
-- trims the log. Costs O(entries that go).
function log.append(key, offset, entry, most)
  if most then
    redis.call('XADD', key, 'MAXLEN', '=', most, offset .. '-0', 'entry', entry)
  else
    redis.call('XADD', key, offset .. '-0', 'entry', entry)
  end
end

-- The entry of an offset, if it is kept.
function log.entry(key, offset)
  local found = redis.call('XRANGE', key, offset .. '-0', offset .. '-0')[1]
  return found and found[2][2]
end

-- What a reader lacks of a log that is in `epoch` at the offset `last`, as `sluice_valkey::Since`
-- reads it: {'present', present()} for a reader that has nothing; {'since', entry...} oldest first,
-- `most` at most, none when the reader has all; {'reset', present()} when the log does not reach
-- back to the reader's place, or that is of another epoch. `present` returns the state that the log
-- has led to. A reader's offset or epoch is '' when it has none. Costs O(answer).
function log.since(key, epoch, last, reader_epoch, reader_offset, most, present)
  if reader_offset == '' then return { 'present', present() } end
  if reader_epoch ~= '' and reader_epoch ~= epoch then return { 'reset', present() } end
  if reader_offset == last then return { 'since' } end
  local next = string.format('%.0f-0', tonumber(reader_offset) + 1)
  local entries = redis.call('XRANGE', key, next, '+', 'COUNT', most)
  if not entries[1] or entries[1][1] ~= next then return { 'reset', present() } end
  local answer = { 'since' }
  for place, entry in ipairs(entries) do
    answer[place + 1] = entry[2][2]
  end
  return answer
end
