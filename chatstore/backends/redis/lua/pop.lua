-- Delete the newest message.
--
-- {'done', owner, member} or {'none'}.

local found = seen and call('ZREVRANGE', MESSAGES, 0, 0)[1]
if not found then return {'none'} end
call('ZREM', MESSAGES, found)
call('HDEL', IDS, parse_id(found))
enter_lists()
count_on(call('ZCARD', MESSAGES), state.last_position)
return {'done', {name_owner()}, found}
