-- Which jobs an operator means.

-- What is said to have gone wrong with a job, last.
local function last_error(error, errors)
  local attempt = string.match(errors or '', '([^\n]*)\n$')
  local read, last = pcall(cjson.decode, attempt or '{}')
  return error or (read and type(last) == 'table' and last.message) or attempt or ''
end

-- Whether a job is one of a user ('' any), whose last error contains `error` ('' any), and that has
-- `text` ('' any) in its id, user, group, unique key or last error, whatever its case. One that
-- cannot be read is meant only by who means all.
local function is_meant(id, user, error, text)
  local job = try('HMGET', root .. 'job:' .. id, 'user', 'error', 'errors', 'group', 'unique')
  if job.err then return user == '' and error == '' and text == '' end
  if user ~= '' and job[1] ~= user then return false end
  if error == '' and text == '' then return true end
  local message = last_error(job[2], job[3])
  if error ~= '' and not string.find(message, error, 1, true) then return false end
  if text == '' then return true end
  text = string.lower(text)
  for _, value in ipairs({ id, job[1] or '', job[4] or '', job[5] or '', message }) do
    if string.find(string.lower(value), text, 1, true) then return true end
  end
  return false
end
