-- Cancels, retries, runs or deletes one job, or restores one that was deleted.
--
-- KEYS[1]  the queue's root
-- ARGV     1 operation of operations.lua  2 id  3 the action, by which it can be undone ('' none)
-- Returns  the word that the operation returns
-- Cost     O(log n)

define('operate', function(ARGV)
  local answer = operations[ARGV[1]](ARGV[2], ARGV[3])
  announce()
  return answer
end)
