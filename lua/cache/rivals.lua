-- Shared by the functions that change a set: which of several documents with one id is shown. It is
-- the newest, by `_creationTime` and then by `_id`, as in a set that is synced anew.
--
-- The docs of a set map an `_id` to the document's id, where they differ. HIDDEN before that id
-- says that another document is shown under it.
local HIDDEN = '\0'

local function parsed(json)
  local is_json, document = pcall(cjson.decode, json)
  return is_json and type(document) == 'table' and document or {}
end

-- Whether a document is newer than another; not so where that cannot be known.
local function is_newer(one, other)
  local created, other_created = one._creationTime, other._creationTime
  if type(created) ~= 'number' or type(other_created) ~= 'number' then return false end
  if created ~= other_created then return created > other_created end
  -- A comparison of texts would depend on the server's locale.
  local doc, other_doc = tostring(one._id), tostring(other._id)
  for at = 1, #doc do
    local byte, other_byte = string.byte(doc, at), string.byte(other_doc, at) or -1
    if byte ~= other_byte then return byte > other_byte end
  end
  return false
end

-- Whether the entry with this id is the document's, as far as that can be known.
local function holds(entries, id, doc)
  local holder = parsed(redis.call('HGET', entries, id) or '')._id
  return not holder or holder == doc
end

-- Whether a document that comes to an id leaves it to the one that is shown there, and whether
-- there is one. The older of the two is hidden.
local function gives_way(entries, docs, id, doc, json)
  local shown = redis.call('HGET', entries, id)
  if not shown or shown == '' then return false, false end
  local holder = parsed(shown)
  if holder._id == doc then return false, true end
  if is_newer(holder, parsed(json)) then
    redis.call('HSET', docs, doc, HIDDEN .. id)
    return true, true
  end
  if type(holder._id) == 'string' then redis.call('HSET', docs, holder._id, HIDDEN .. id) end
  return false, true
end

-- Takes an entry out of a set and leaves a tombstone, which keeps its place in the order; with a
-- document, only if it is that one's. Returns how many bytes go; none when nothing was taken.
local function bury(entries, id, doc)
  local length = redis.call('HSTRLEN', entries, id)
  if length == 0 or (doc and not holds(entries, id, doc)) then return nil end
  redis.call('HSET', entries, id, '')
  return #id + length
end

-- Whether a time is later than another. Times have too many digits for Lua's numbers; as texts they
-- compare by length, then by digits.
local function after(one, other) return #one > #other or (#one == #other and one > other) end
