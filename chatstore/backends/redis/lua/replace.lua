-- Put messages in the place of all others; positions go on.
--
-- rest: as for append, up to the number of rows. ARGV from 2: the rows.
--
-- {'done', revision, {first position}, owner}, {'stale', revision}, {'enter'} or {'taken'}.

if there and not expired and not seen then return {'taken'} end
local expected, moment, swept, entered, n = string.match(rest, '^(.-)\n(.-)\n(.-)\n(.-)\n(.*)$')
if expected ~= '' and expected ~= (seen and h[1] or '0') then return {'stale', seen and h[1] or '0'} end
if not seen and INDEX == '' and entered ~= '1' then return {'enter'} end
if seen then listed() else begin() end
call('HSET', SESSION, 'updated_at', latest)
expires(moment, swept)
if seen then call('DEL', MESSAGES, IDS) end
local members, places, position = {}, {}, plus(h[2], 0)
local first = plus(position, 1)
for i = 2, #ARGV do
  position = plus(position, 1)
  members[#members + 1] = '0'
  members[#members + 1] = position .. '\n' .. ARGV[i]
  places[#places + 1] = line(ARGV[i], 1)
  places[#places + 1] = position
end
each('ZADD', MESSAGES, members)
each('HSET', IDS, places)
local revision = touch(n, bare(position))
return {'done', revision, {first}, {owner()}}
