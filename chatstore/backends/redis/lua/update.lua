-- Change a session's own data.
--
-- ARGV[2]: how many fields to answer with; from 3: their names; then '1' to change only what has no value, '1' to move
-- the time of the last change and the place in lists; then triples of a field to change, '1' if it gets a
-- value, and the value.
--
-- {'done', owner (nothing if nothing changed), values of the fields} or a refusal.

if not seen then return {'missing'} end
if stale then return stale end
local names = tonumber(ARGV[2])
local changed = {}
local only_unset, touch = ARGV[3 + names] == '1', ARGV[4 + names] == '1'
for i = 5 + names, #ARGV, 3 do
  local field, value = ARGV[i], ARGV[i + 1] == '1' and ARGV[i + 2]
  local old = call('HGET', SESSION, field)
  -- metadata that nobody has set is an empty object
  if only_unset and old and not (field == 'metadata' and old == '{}') then value = old end
  -- what is archived stays archived at its first time
  if old ~= value and not (field == 'archived_at' and old and value) then changed[field] = value end
end
if next(changed) ~= nil then
  if not touch then latest = state.updated_at end
  local expiring, old = changed['expires_at'], name_lists(state.tenant_id, state.user_id)
  if changed['tenant_id'] ~= nil then state.tenant_id = changed['tenant_id'] end
  if changed['user_id'] ~= nil then state.user_id = changed['user_id'] end
  enter_lists()
  call('HSET', SESSION, 'updated_at', latest)
  for field, value in pairs(changed) do
    if value then call('HSET', SESSION, field, value) else call('HDEL', SESSION, field) end
  end
  if expiring then
    expire()
  elseif expiring == false then
    state.expires_at = false
    for i = 1, 3 do call('PERSIST', KEYS[i]) end
  end
  leave_lists(old, name_lists(state.tenant_id, state.user_id))
  count_on(state.message_count, state.last_position)
end
return {'done', next(changed) ~= nil and {name_owner()} or {}, call('HMGET', SESSION, unpack(ARGV, 3, 2 + names))}
