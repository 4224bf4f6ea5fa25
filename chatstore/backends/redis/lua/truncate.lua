-- Delete the messages after a position.
--
-- ARGV[2]: the last position that stays.
--
-- {'done', owner} or {'none'}.

if not seen then return {'none'} end
if call('ZLEXCOUNT', MESSAGES, '[' .. ARGV[2] .. '\11', '+') == 0 then return {'none'} end
if call('ZLEXCOUNT', MESSAGES, '-', '(' .. ARGV[2] .. '\11') == 0 then
  call('DEL', MESSAGES, IDS)
else
  cut_after(ARGV[2])
end
enter_lists()
count_on(call('ZCARD', MESSAGES), state.last_position)
return {'done', {name_owner()}}
