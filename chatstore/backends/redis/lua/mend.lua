-- Put an entry of an index right that was read as wrong, unless it has moved since.
--
-- KEYS: the index. ARGV: the session id; the score that was read; the right one ('' to take the entry away).

local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
