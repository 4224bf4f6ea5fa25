-- Make a session, with the messages passed.
--
-- ARGV from 2: members of the sorted set of messages, as many as ROWS says; fields of the session and their values.
--
-- {'done', owner} or a refusal.

if there and not expired then return {'taken'} end
local first = 2 + tonumber(ROWS)
vacate()
local fields = {}
for i = first, #ARGV, 2 do fields[ARGV[i]] = ARGV[i + 1] end
state = fields
latest = NOW
enter_lists()
for field, value in pairs(fields) do call('HSET', SESSION, field, value) end
if state.expires_at then call('PEXPIRE', SESSION, SWEEP) end
local members, places = {}, {}
for i = 2, first - 1 do
  members[#members + 1] = '0'
  members[#members + 1] = ARGV[i]
  places[#places + 1] = parse_id(ARGV[i])
  places[#places + 1] = string.sub(ARGV[i], 1, 19)
end
call_in_parts('ZADD', MESSAGES, members)
call_in_parts('HSET', IDS, places)
sweep_together()
mark_run()
return {'done', {name_owner()}}
