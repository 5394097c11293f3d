-- What has changed in a document since a revision.
--
-- KEYS  1 document  2 changes
-- ARGV  1 the revision; '' for none  2 most changes  3 createdAt of the document that it is of, ms;
--       '' when that is not known
-- Returns {'gone'} when there is no document; else what log.since returns: JSON as each write left
--       the document.
-- Cost  O(size of what is returned).

define('changes', function(KEYS, ARGV)
  local call = redis.call
  local current = call('JSON.GET', KEYS[1], '.revision')
  if not current then return { 'gone' } end
  -- The log of another document with the same id has another epoch.
  local epoch = ARGV[3] == '' and '' or call('JSON.GET', KEYS[1], '.createdAt')
  return log.since(
    KEYS[2],
    epoch,
    current,
    ARGV[3],
    ARGV[1],
    ARGV[2],
    function() return call('JSON.GET', KEYS[1]) end
  )
end, { 'no-writes' })
