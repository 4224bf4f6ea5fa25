-- Put messages in the place of all others; positions go on.
--
-- ARGV from 2: the rows.
--
-- {'done', owner, revision, first position}, {'enter'} as for append, or a refusal.

if there and not expired and not seen then return {'taken'} end
if stale then return stale end
if not seen and INDEX == '' and ENTERED ~= '1' then return {'enter'} end
if seen then enter_lists() else begin_session() end
call('HSET', SESSION, 'updated_at', latest)
expire()
if seen then call('DEL', MESSAGES, IDS) end
local members, places, position = {}, {}, add(state.last_position, 0)
local first = add(position, 1)
for i = 2, #ARGV do
  position = add(position, 1)
  members[#members + 1] = '0'
  members[#members + 1] = position .. '\n' .. ARGV[i]
  places[#places + 1] = read_line(ARGV[i], 1)
  places[#places + 1] = position
end
call_in_parts('ZADD', MESSAGES, members)
call_in_parts('HSET', IDS, places)
count_on(ROWS, strip_zeros(position))
return {'done', {name_owner()}, revision, first}
