-- Put one member in the place of another, if that is still there.
--
-- ARGV[2]: the member that was read; [3]: the new one.
--
-- {'done', owner}, {'gone'} or a refusal.

if not seen then return {'missing'} end
if not call('ZSCORE', MESSAGES, ARGV[2]) then return {'gone'} end
if stale then return stale end
enter_lists()
call('ZADD', MESSAGES, '0', ARGV[3])
call('ZREM', MESSAGES, ARGV[2])
count_on(state.message_count, state.last_position)
return {'done', {name_owner()}}
