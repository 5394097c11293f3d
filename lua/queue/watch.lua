-- Has changes of the queue's jobs published for another while, for whoever watches one; nothing
-- else needs them.
--
-- KEYS[1]  the queue's root
-- Returns  1
-- Cost     O(1)

define('watch', function()
  note_meta(WATCHED_UNTIL, 'watched_until', now + WATCH_MS)
  return 1
end)
