-- Delete one message.
--
-- ARGV[2]: 'position' or 'id'; [3]: which.
--
-- {'done', owner}, {'none'} or a refusal.

if not seen then return {'missing'} end
local found = find(ARGV[2], ARGV[3])
if not found then return {'none'} end
call('ZREM', MESSAGES, found)
call('HDEL', IDS, id_of(found))
listed()
touch(call('ZCARD', MESSAGES), h[2])
return {'done', {owner()}}
