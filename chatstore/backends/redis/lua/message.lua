-- Read one message.
--
-- ARGV[2]: 'position' or 'id'; [3]: which.
--
-- {'done', {}, revision, member}, {'none'} or a refusal.

if not seen then return {'missing'} end
local found = find_member(ARGV[2], ARGV[3])
if not found then return {'none'} end
return {'done', {}, revision, found}
