-- Put one member in the place of another, if that is still there.
--
-- ARGV[2]: the revision expected ('' for any); [3]: the member that was read; [4]: the new one.
--
-- {'done', revision, owner}, {'gone'}, {'stale', revision} or {'missing'}.

if not seen then return {'missing'} end
if not call('ZSCORE', MESSAGES, ARGV[3]) then return {'gone'} end
if ARGV[2] ~= '' and ARGV[2] ~= h[1] then return {'stale', h[1]} end
listed()
call('ZADD', MESSAGES, '0', ARGV[4])
call('ZREM', MESSAGES, ARGV[3])
local revision = touch(h[3], h[2])
return {'done', revision, {owner()}}
