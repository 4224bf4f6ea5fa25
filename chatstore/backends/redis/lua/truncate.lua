-- Delete the messages after a position.
--
-- ARGV[2]: the last position that stays.
--
-- {'done', owner} or {'none'}.

if not seen then return {'none'} end
local from, ids = '[' .. ARGV[2] .. '\11', {}
if call('ZLEXCOUNT', MESSAGES, from, '+') == 0 then return {'none'} end
if call('ZLEXCOUNT', MESSAGES, '-', '(' .. ARGV[2] .. '\11') == 0 then
  call('DEL', MESSAGES, IDS)
else
  for i, found in ipairs(call('ZRANGEBYLEX', MESSAGES, from, '+')) do ids[i] = parse_id(found) end
  call('ZREMRANGEBYLEX', MESSAGES, from, '+')
  call_in_parts('HDEL', IDS, ids)
end
enter_lists()
count_on(call('ZCARD', MESSAGES), state.last_position)
return {'done', {name_owner()}}
