-- Shared by the functions that judge changes: the table of conflicts, and edit times.
local rules = {}

-- What happens by row and strategy: `later` and `else` are LAST_WRITER_WINS for an edit that is
-- later than the server's, and any other. D dropped, F forced, H held, K copied, S suffixed, V
-- revived, X moved aside, T two entries of a cycle that is undone. `next` is what a dropped change
-- asks of its client.
local function row(reason, next, later, otherwise, both, server, client)
  return {
    reason = reason,
    next = next,
    later = later,
    ['else'] = otherwise,
    KEEP_BOTH = both,
    SERVER_WINS = server,
    CLIENT_WINS = client,
    MANUAL = 'H',
  }
end

rules.rows = {
  [2] = row('edited', 'download', 'F', 'D', 'K', 'D', 'F'),
  [3] = row('deleted', 'set_aside', 'V', 'D', 'V', 'D', 'V'),
  [6] = row('edited', 'download', 'F', 'D', 'D', 'D', 'F'),
  [8] = row('moved', 'pull', 'F', 'D', 'D', 'D', 'F'),
  [11] = row('deleted', 'pull', 'V', 'D', 'V', 'D', 'V'),
  [14] = row('moved', 'pull', 'F', 'D', 'D', 'D', 'F'),
  [15] = row('name_taken', 'pull', 'S', 'S', 'S', 'D', 'X'),
  [16] = row('parent_gone', 'pull', 'V', 'D', 'V', 'D', 'V'),
  [19] = row('name_taken', 'set_aside', 'F', 'D', 'K', 'D', 'F'),
  [20] = row('kind', 'set_aside', 'S', 'S', 'S', 'D', 'X'),
  [21] = row('name_taken', 'pull', 'S', 'S', 'S', 'D', 'X'),
  [23] = row('inner_changed', 'pull', 'F', 'D', 'D', 'D', 'F'),
  [28] = row('cycle', 'pull', 'D', 'D', 'D', 'D', 'T'),
}

-- Edits within this of each other, in ms, are not told apart.
local CLOSE = 2000
-- 1980-01-02, in ms since 1970: earlier times are those of file systems that have none.
local EARLIEST = 315619200000
-- A clock that is further off, in ms, is not believed.
local DAY = 86400000

-- When an edit was made on the server's clock, in ms, and whether the client's clock was ignored.
-- `earliest` is when what it was made on came to be.
function rules.edit_time(now, modified, sent, earliest)
  if not modified or not sent then return now, false end
  local offset = now - sent
  local time = modified + offset
  if math.abs(offset) > DAY or modified < EARLIEST or time > now + CLOSE then return now, true end
  return math.max(earliest, math.min(time, now)), false
end

-- What happens to a change in a row of the table, by strategy.
function rules.outcome(number, strategy, client_time, server_time)
  local by = strategy
  if strategy == 'LAST_WRITER_WINS' then
    by = client_time > server_time + CLOSE and 'later' or 'else'
  end
  return rules.rows[number][by]
end
