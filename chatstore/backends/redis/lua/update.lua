-- Change a session's own data.
--
-- ARGV[2]: the revision expected ('' for any); [3]: in how many milliseconds the server takes it away ('' for never);
-- [4]: how many fields to answer with; their names; then triples of a field, '1' if it gets a value, and the value.
--
-- {'done', '1' or '' where nothing changed, values of the fields}, {'stale', revision} or {'missing'}.

if not seen then return {'missing'} end
if ARGV[2] ~= '' and ARGV[2] ~= h[1] then return {'stale', h[1]} end
local changed = {}
for i = 5 + tonumber(ARGV[4]), #ARGV, 3 do
  local field, value = ARGV[i], ARGV[i + 1] == '1' and ARGV[i + 2]
  local old = call('HGET', SESSION, field)
  -- what is archived stays archived at its first time
  if old ~= value and not (field == 'archived_at' and old and value) then changed[field] = value end
end
if next(changed) ~= nil then
  local expiring, old = changed['expires_at'], lists(h[5], h[6])
  if changed['tenant_id'] ~= nil then h[5] = changed['tenant_id'] end
  if changed['user_id'] ~= nil then h[6] = changed['user_id'] end
  listed()
  call('HSET', SESSION, 'updated_at', latest)
  for field, value in pairs(changed) do
    if value then call('HSET', SESSION, field, value) else call('HDEL', SESSION, field) end
  end
  if expiring then
    expires(expiring, ARGV[3])
  elseif expiring == false then
    h[7] = false
    for i = 1, 3 do call('PERSIST', KEYS[i]) end
  end
  unlisted(old, lists(h[5], h[6]))
  touch(h[3], h[2])
end
return {'done', next(changed) ~= nil and '1' or '', call('HMGET', SESSION, unpack(ARGV, 5, 4 + tonumber(ARGV[4])))}
