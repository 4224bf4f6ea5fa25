-- Make a session, with the messages passed.
--
-- ARGV[2]: in how many milliseconds the server takes it away ('' for never); [3]: how many fields and values; these;
-- members of the sorted set.
--
-- {'done'} or {'taken'}.

if there and not expired then return {'taken'} end
local to = 3 + tonumber(ARGV[3])
vacate()
local fields = {}
for i = 4, to, 2 do fields[ARGV[i]] = ARGV[i + 1] end
h = {SCORE, '0', '0', false, fields['tenant_id'], fields['user_id'], fields['expires_at']}
latest = NOW
listed()
for field, value in pairs(fields) do call('HSET', SESSION, field, value) end
if h[7] then call('PEXPIRE', SESSION, ARGV[2]) end
local members, places = {}, {}
for i = to + 1, #ARGV do
  members[#members + 1] = '0'
  members[#members + 1] = ARGV[i]
  places[#places + 1] = id_of(ARGV[i])
  places[#places + 1] = string.sub(ARGV[i], 1, 19)
end
each('ZADD', MESSAGES, members)
each('HSET', IDS, places)
sweep()
if ONCE then call('SET', ONCE, '1', 'EX', 60) end
return {'done'}
