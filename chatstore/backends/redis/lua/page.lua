-- Read a part of an index, newest first. A script, so that scores come as text with every client.
--
-- KEYS: the index. ARGV: the highest and the lowest score; how many.
--
-- {session id, score, ...}.

return redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
