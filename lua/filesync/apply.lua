-- Applies one change of a device to a share: judges it against what other devices did, changes the
-- state, appends to the log and publishes the nudge.
--
-- KEYS  1 share
-- ARGV  1 user  2 groups  3 device  4 strategy; '' for none  5 position that the device had applied; ''
--       for its cursor  6 the client's clock when it sent the change, ms; ''  7 the change, prepared:
--       {"id", "k" kind, "r" resource, "y" change type, "bv" base version, "v" version, "p" parent,
--       "dir" folded names of the parent's path, "n" [name, folded], "bad" why the name is not
--       portable, "od", "on" whether folder and name of old_path are the "same" or "other", "path",
--       "meta" {"t", "m", "x"}, "mod" edit time in ms, "known" descendants that were known, "most"
--       {"levels", "bytes"} of a path and {"versions"} of a file}
--       8 the change as it was sent  9 its fingerprint  10 what the ids of entries begin with  11 id
--       of a node that may be made  12 id of a conflict that may be stored  13 copy names by name:
--       {name: [[name, folded]...]}  14 ids that are blocked, as a JSON object  15 '1' to confirm
--       mass deletions  16 id of this call
-- Returns {status, item, first position, last position, base, head}: 'done' with the item as JSON,
--       'conflicts' with it when it belongs among the conflicts, 'skipped' and 'rejected' likewise
--       (neither is remembered); 'conflict', or 'stale' when only the base version is outdated, with
--       the server's node, when there is no strategy; 'names' with {"name", "tried", "device"} when
--       copy names are wanted; 'not_found', 'forbidden', 'no_device', 'inactive', 'reused', 'reset' for a base
--       past the head, 'guarded' for a mass deletion.
-- Cost  O(depth * size of a node). Repeated, it returns what the first call did.

local function remembered(w, id, fingerprint)
  if not id then return fs.made(w.writing.tenant, w.call) end
  local kept = redis.call('HGET', w.view.share .. ':outcomes', w.me .. '\t' .. id)
  if not kept then return nil end
  local known, answer = string.match(kept, '^([^\t]*)\t(.*)$')
  return known == fingerprint and answer or false
end

local function remember(w, id, fingerprint, answer)
  local text = cmsgpack.pack(answer)
  if not id then return fs.remember(w.writing.tenant, w.call, text) end
  local field = w.me .. '\t' .. id
  redis.call('HSET', w.view.share .. ':outcomes', field, fingerprint .. '\t' .. text)
  redis.call('XADD', w.view.share .. ':judged', fs.text(w.writing.head) .. '-*', 'of', field)
end

-- Whether so many deletions more, counted under a key, are too many within an hour.
local function is_guarded(w, key, nodes, guard)
  local before = tonumber(redis.call('GET', key) or 0)
  local all = tonumber(tree.read(w.view, 'root').cnt or 0) + before
  return (before + nodes) * 100 > guard * all
end

define('apply', function(KEYS, ARGV)
  local call = redis.call
  local share, user, device = KEYS[1], ARGV[1], ARGV[3]
  local denial = fs.denial(fs.level(share, user, ARGV[2]), 2)
  if denial then return { denial, '', 0, 0, 0, 0 } end
  local tenant = fs.tenant(share)
  local device_key = fs.device(tenant, user, device)
  local known = call('HMGET', device_key, 'seq', 'active')
  if not known[1] then return { 'no_device', '', 0, 0, 0, 0 } end
  if known[2] ~= '1' then return { 'inactive', '', 0, 0, 0, 0 } end
  local writing = record.open(share, user, device, known[1], ARGV[10])
  local base = ARGV[5]
  if base == '' then
    local cursor = call('HGET', device_key .. ':cursors', writing.name)
    base = cursor and string.match(cursor, '^%d+') or '0'
  end
  base = tonumber(base)
  if base > writing.head then return { 'reset', '', 0, 0, base, writing.head } end

  local change = cjson.decode(ARGV[7])
  local w = {
    view = tree.open(share),
    writing = writing,
    change = change,
    prepared = ARGV[7],
    raw = ARGV[8],
    me = known[1],
    user = user,
    base = base,
    strategy = ARGV[4],
    portable = call('HGET', share, 'portable') == '1',
    blocked = cjson.decode(ARGV[14]),
    copies = cjson.decode(ARGV[13]),
    new_id = ARGV[11],
    conflict = ARGV[12],
    call = ARGV[16],
  }
  local kept = remembered(w, change.id, ARGV[9])
  if kept == false then return { 'reused', '', 0, 0, base, writing.head } end
  if kept then return cmsgpack.unpack(kept) end
  local based = change.bv and call('HGET', share .. ':version:' .. change.bv, 'applied')
  local sent = ARGV[6] ~= '' and tonumber(ARGV[6])
  w.time, w.is_clock_ignored =
    rules.edit_time(writing.now, change.mod, sent, based and tonumber(based) or 0)

  local verdict = judge[change.y](w)
  -- What the device changes in a resource that is held goes into the conflict.
  local open = w.strategy == 'MANUAL'
    and change.r
    and call('HGET', share .. ':open', change.r .. '\t' .. w.me)
  if open and verdict.letter ~= 'R' and verdict.letter ~= 'H' then
    local row = tonumber(call('HGET', share .. ':conflict:' .. open, 'row'))
    verdict = { letter = 'H', row = row, server = tree.read(w.view, change.r), next = 'none' }
  end
  local letter = verdict.letter
  if letter == 'W' then
    local wanted = outcome.wanted(w, verdict)
    return { 'names', wanted, 0, 0, base, writing.head }
  end
  if letter == 'C' then
    local status = verdict.is_stale and 'stale' or 'conflict'
    local server = verdict.server and tree.json(w.view, verdict.server) or 'null'
    return { status, server, 0, 0, base, writing.head }
  end
  local guard = tonumber(call('HGET', share, 'guard') or '')
  local deleted = share .. ':deleted:' .. w.me
  local nodes = verdict.delete and perform.weight(verdict.node)
  if nodes and guard and ARGV[15] ~= '1' and is_guarded(w, deleted, nodes, guard) then
    return { 'guarded', '', 0, 0, base, writing.head }
  end
  perform.need(w)
  if nodes and call('INCRBY', deleted, nodes) == nodes then call('EXPIRE', deleted, 3600) end
  local item, first, last = outcome.done(w, verdict)
  tree.flush(w.view)
  local status = ({ D = 'conflicts', H = 'conflicts', B = 'skipped', R = 'rejected' })[letter]
    or 'done'
  local answer = { status, item, first, last, base, writing.head }
  if status == 'done' or status == 'conflicts' then remember(w, change.id, ARGV[9], answer) end
  return answer
end)
