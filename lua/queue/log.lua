-- Keeps lines that a running job logged, if the run still holds the lease. The oldest lines go
-- first.
--
-- KEYS[1]  the queue's root
-- ARGV     1 id  2 run, as fetched  3 number of this batch of lines within the run  4 how many
--       lines were dropped before them,
--       then for each line: how many ms ago it was logged, level, text
-- Returns  "saved", or "lost" when the lease is. Asked again after a lost answer, it adds nothing.
-- Cost     O(LOG_BYTES)

define('log', function(ARGV)
  local id, run = ARGV[1], ARGV[2]
  local key = root .. 'job:' .. id
  local job = fields(id, 'run', 'state', 'finished_at', 'attempts', 'log', 'log_batch', 'logged')
  if not holds(run, job) then return 'lost' end
  local attempt = number(job[4], 0) + 1
  local batch = run .. ' ' .. ARGV[3]
  if job[6] == batch then return 'saved' end

  local lines = {}
  for i = 5, #ARGV, 3 do
    local line = { at = now - ARGV[i], attempt = attempt, level = ARGV[i + 1], text = ARGV[i + 2] }
    lines[#lines + 1] = cjson.encode(line) .. '\n'
  end
  local log = (job[5] or '') .. table.concat(lines)

  local _, count = string.gsub(log, '\n', '\n')
  local from = 1
  for _ = 1, count - LOG_LINES do
    from = string.find(log, '\n', from, true) + 1
  end
  if #log - from >= LOG_BYTES then from = string.find(log, '\n', #log - LOG_BYTES, true) + 1 end

  local logged = number(job[7], 0) + #lines + ARGV[4]
  call(
    'HSET',
    key,
    'log',
    string.sub(log, from),
    'log_batch',
    batch,
    'logged',
    string.format('%.0f', logged)
  )
  moved[1] = id
  announce()
  return 'saved'
end)
