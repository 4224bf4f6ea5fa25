-- Delete the newest message.
--
-- {'done', owner, member} or {'none'}.

local found = seen and call('ZREVRANGE', MESSAGES, 0, 0)[1]
if not found then return {'none'} end
call('ZREM', MESSAGES, found)
call('HDEL', IDS, id_of(found))
listed()
touch(call('ZCARD', MESSAGES), h[2])
return {'done', {owner()}, found}
