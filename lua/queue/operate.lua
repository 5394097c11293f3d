-- Cancels, retries or deletes one job.
--
-- KEYS[1]  the queue's root
-- ARGV     1 operation of operations.lua  2 id
-- Returns  the word that the operation returns
-- Cost     O(log n)

define('operate', function(ARGV)
  local answer = operations[ARGV[1]](ARGV[2])
  announce()
  return answer
end)
