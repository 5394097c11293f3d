-- How fast jobs start.
--
-- A rate is kept in `meta` as "<kind>/<starts>/<ms>/<burst>". What counts the starts is named after
-- it (and the user), so that another rate starts anew, and goes by itself when it has no more to
-- say.

local function parse(rate)
  local kind, starts, per, burst = string.match(rate, '(%a+)/(%d+)/(%d+)/(%d+)')
  return kind, tonumber(starts), tonumber(per), tonumber(burst)
end

local function counter(rate, user) return root .. 'started:' .. rate .. (user and ':' .. user or '') end

-- When a bucket will be full: at the latest when an empty one would be, whatever the clock said
-- when that was written.
local function full_again(key, whole)
  return math.min(math.max(number(call('GET', key), 0), now), now + whole)
end

-- How many jobs (of a user) may start now, and when one more than these may, in ms since 1970.
-- Cost: O(log n) of the starts in a sliding window, and of those that left it; else O(1).
local function allowance(rate, user)
  local kind, starts, per, burst = parse(rate)
  local key = counter(rate, user)
  if kind == 'fixed' then
    local window = now - now % per
    local count = call('GET', key .. ':' .. window) or 0
    return math.max(starts - count, 0), window + per
  elseif kind == 'sliding' then
    call('ZREMRANGEBYSCORE', key, '-inf', now - per)
    call('ZREMRANGEBYSCORE', key, '(' .. now, '+inf') -- from before the clock was set back
    local oldest = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or now
    return math.max(starts - call('ZCARD', key), 0), oldest + per
  end
  -- What is kept of a bucket is when it will be full.
  local interval = per / starts
  local full_at = full_again(key, per / starts * burst)
  local tokens = math.max(math.floor(burst - (full_at - now) / interval + 0.000001), 0)
  -- The first token after those of now. When there are any, as many fall due meanwhile, whether
  -- they are used or not.
  return tokens, tokens > 0 and now + tokens * interval or full_at - (burst - 1) * interval
end

-- Counts jobs (of a user) that start now.
local function spend(rate, user, ids)
  local kind, starts, per, burst = parse(rate)
  local key = counter(rate, user)
  if kind == 'fixed' then
    local window = now - now % per
    call('INCRBY', key .. ':' .. window, #ids)
    call('PEXPIREAT', key .. ':' .. window, window + per)
  elseif kind == 'sliding' then
    for _, id in ipairs(ids) do
      call('ZADD', key, now, id .. '/' .. now)
    end
    call('PEXPIRE', key, per)
  else
    local full_at = full_again(key, per / starts * burst) + #ids * per / starts
    call('SET', key, string.format('%.3f', full_at), 'PXAT', math.ceil(full_at))
  end
end
