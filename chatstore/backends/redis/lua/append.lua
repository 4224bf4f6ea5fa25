-- Append messages, or load them at positions of their own, and change the session's own fields with them. A known id is
-- no new message. With AFTER, the messages behind that position are deleted first, unless all ids are known; then, with
-- another revision than the one expected, nothing is changed at all.
--
-- ARGV from 2: the rows; their positions, if NUMBERED; pairs of a row's number and a stored body that has been found
-- equal to that row's; the OWN fields.
--
-- {'done', owner, revision, {first new position or '', number of a known row, what is stored of it, ...}};
-- {'differs', {number of a known row, what is stored of it, ...}} where a body has other bytes; {'enter'} where the
-- client must put the session into its lists first; a refusal.

if there and not expired and not seen then return {'taken'} end
local n = tonumber(ROWS)
local m = NUMBERED == '1' and n or 0
local ids, known, equal, found, differ = {}, {}, {}, 0, {}
for i = 1, n do ids[i] = read_line(ARGV[1 + i], 1) end
for i = 2 + n + m, #ARGV - OWN, 2 do equal[tonumber(ARGV[i])] = ARGV[i + 1] end
if seen then
  for from = 1, n, 4000 do
    local to = math.min(from + 3999, n)
    for i, position in ipairs(call('HMGET', IDS, unpack(ids, from, to))) do
      local stored, place = position and member_at(position), from + i - 1
      if stored then
        known[place], found = stored, found + 1
        local have = skip_lines(stored, 4)
        if have ~= skip_lines(ARGV[1 + place], 3) and have ~= equal[place] then
          differ[#differ + 1] = tostring(place)
          differ[#differ + 1] = stored
        end
      end
    end
  end
end
if #differ > 0 then return {'differs', differ} end
local answer, last = {}, seen and state.last_position or '0'
local again = n > 0 and stale
if found < n or n == 0 then
  if stale then return stale end
  if m > 0 then
    for i = 1, n do
      if not known[i] then
        if ARGV[1 + n + i] <= add(last, 0) then return {'order', strip_zeros(ARGV[1 + n + i]), last} end
        break
      end
    end
  end
  if not seen and INDEX == '' and ENTERED ~= '1' then return {'enter'} end
  if seen and n > 0 then enter_lists() end
  if not seen then begin_session() end
  if n > 0 or not seen then expire() end
  local gone = 0
  if AFTER ~= '' and seen then
    gone = cut_after(AFTER)
    for place, stored in pairs(known) do
      if string.sub(stored, 1, 19) > AFTER then
        known[place], found = nil, found - 1
      end
    end
  end
  local members, places, position, first = {}, {}, add(last, 0), ''
  for i = 1, n do
    if not known[i] then
      position = m > 0 and ARGV[1 + n + i] or add(position, 1)
      if first == '' then first = position end
      members[#members + 1] = '0'
      members[#members + 1] = position .. '\n' .. ARGV[1 + i]
      places[#places + 1] = ids[i]
      places[#places + 1] = position
    end
  end
  if m > 0 and state.last_position == (call('HGET', SESSION, 'forked_at') or '0') then
    -- the first message of its own: loaded from elsewhere, the session began there
    local row = members[2]
    local at = read_line(row, string.find(row, '\n', 21, true) + 1)
    if at < call('HGET', SESSION, 'created_at') then call('HSET', SESSION, 'created_at', at) end
  end
  local changed = change_own()
  call_in_parts('ZADD', MESSAGES, members)
  call_in_parts('HSET', IDS, places)
  if n == 0 and seen and changed then enter_lists() end
  if n > 0 or changed or not seen then count_on(string.format('%d', tonumber(state.message_count) - gone + n - found), strip_zeros(position)) end
  answer[1] = first
else
  answer[1] = ''
  if not again and change_own() then
    enter_lists()
    count_on(state.message_count, state.last_position)
  end
end
for i = 1, found > 0 and n or 0 do
  if known[i] then
    answer[#answer + 1] = tostring(i)
    answer[#answer + 1] = known[i]
  end
end
return {'done', {name_owner()}, revision, answer}
