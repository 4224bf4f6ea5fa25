-- Delete one message.
--
-- ARGV[2]: 'position' or 'id'; [3]: which.
--
-- {'done', owner}, {'none'} or a refusal.

if not seen then return {'missing'} end
local found = find_member(ARGV[2], ARGV[3])
if not found then return {'none'} end
call('ZREM', MESSAGES, found)
call('HDEL', IDS, parse_id(found))
enter_lists()
count_on(call('ZCARD', MESSAGES), state.last_position)
return {'done', {name_owner()}}
