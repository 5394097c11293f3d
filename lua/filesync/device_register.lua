-- Registers a device of a user, or takes in what a registered one says of itself now.
--
-- KEYS  1 device  2 devices of its user  3 state of the tenant  4 devices by when they were seen
-- ARGV  1 user  2 device id  3 its place in the devices by when they were seen  4 name  5 platform
--       6 version  7 instance, new for each registration  8 most devices of a user  9 channel of
--       what live sockets have to know
-- Returns 'created', 'known' or 'full', and the device as of HGETALL; nothing of it when the user
--       has as many as one may have.
-- Cost  O(log devices of the tenant). Repeated, it returns the same.

define('device_register', function(KEYS, ARGV)
  local call = redis.call
  local is_new = call('EXISTS', KEYS[1]) == 0
  if is_new and call('SCARD', KEYS[2]) >= tonumber(ARGV[8]) then return { 'full', {} } end
  need('SADD', KEYS[2], '')
  need('HINCRBY', KEYS[3], '', 1)
  need('ZADD', KEYS[4], 0, '')
  need('SPUBLISH', ARGV[9], '')

  local now = fs.text(fs.now())
  if is_new then
    -- Of a tenant no two devices ever have one number, not even those of one id.
    local number = call('HINCRBY', KEYS[3], 'devices', 1)
    call(
      'HSET',
      KEYS[1],
      'seq',
      number,
      'user',
      ARGV[1],
      'id',
      ARGV[2],
      'active',
      '1',
      'by_clock',
      '',
      'created',
      now,
      'first',
      ARGV[7]
    )
    call('SADD', KEYS[2], ARGV[2])
  end
  call(
    'HSET',
    KEYS[1],
    'name',
    ARGV[4],
    'platform',
    ARGV[5],
    'version',
    ARGV[6],
    'instance',
    ARGV[7]
  )
  device.see(KEYS[1], KEYS[4], ARGV[3], now)
  device.announce(ARGV[9], ARGV[1], ARGV[2])
  local is_first = call('HGET', KEYS[1], 'first') == ARGV[7]
  return { is_first and 'created' or 'known', call('HGETALL', KEYS[1]) }
end)
