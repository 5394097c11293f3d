-- What has become of a document since a revision.
--
-- KEYS  1 document  2 changes
-- ARGV  1 the revision; '' for none  2 most changes  3 createdAt of the document that it is of, ms; '' when that is not known
-- Returns {'gone'} when there is no document; {'present', JSON} without a revision; {'reset', JSON} when the changes do not reach
--       back to it, or it is none of this document; else {'changes', JSON as each write left it...}, oldest first.
-- Cost  O(size of what is returned).

define('changes', function(KEYS, ARGV)
  local call = redis.call
  local current = call('JSON.GET', KEYS[1], '.revision')
  if not current then return { 'gone' } end
  if ARGV[1] == '' then return { 'present', call('JSON.GET', KEYS[1]) } end
  if ARGV[3] ~= '' and ARGV[3] ~= call('JSON.GET', KEYS[1], '.createdAt') then
    return { 'reset', call('JSON.GET', KEYS[1]) }
  end
  if ARGV[1] == current then return { 'changes' } end

  local next = string.format('%.0f-0', tonumber(ARGV[1]) + 1)
  local changes = call('XRANGE', KEYS[2], next, '+', 'COUNT', ARGV[2])
  if not changes[1] or changes[1][1] ~= next then return { 'reset', call('JSON.GET', KEYS[1]) } end
  local result = { 'changes' }
  for at, change in ipairs(changes) do
    result[at + 1] = change[2][2]
  end
  return result
end, { 'no-writes' })
