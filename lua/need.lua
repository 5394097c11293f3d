-- Shared by the functions that write more than once.

-- Ends the script when the user may not run a command that comes later, so that nothing is half
-- written. Costs 0.3 µs.
local function need(...)
  if not redis.acl_check_cmd(...) then
    error({ err = 'NOPERM this user may not run ' .. ... .. ' on ' .. select(2, ...) })
  end
end
