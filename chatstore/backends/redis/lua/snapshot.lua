-- Read a session's own data and some of its messages at one moment.
--
-- KEYS: the session's own data, its messages. ARGV: the command that reads messages; its range; how many; then the
-- names of the fields.
--
-- {values of the fields, members}.

return {
  redis.call('HMGET', KEYS[1], unpack(ARGV, 5)),
  redis.call(ARGV[1], KEYS[2], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
}
