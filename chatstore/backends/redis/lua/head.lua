-- What every script on one session begins with: what is stored, who sees it, and how a change ends.
--
-- KEYS: the session's own data, its messages, their ids; and, for a change that a client might repeat by itself, a
-- fourth under which the script notes that it ran.
-- ARGV[1] is one text, since each argument costs both sides. It has, each on a line:
--   NOW, SCORE     the time, and the same as a score of an index
--   TENANT, USER   the scope, '' for any
--   INDEX          the index of all sessions; '' where it stands in another slot and the client keeps the lists
--   ID             the session id
--   EXPECTED       the revision that the session must have, '' for any
--   EXPIRES        when it will look missing, '' to leave that
--   SWEEP          in how many milliseconds the server takes it away then
--   ROWS           how many messages are passed
--   NUMBERED       '1' if their positions are passed too
--   AFTER          behind which position an append deletes first, '' for nothing
--   OWN            how many of the last arguments are the session's own fields, each with '=' and its new value, or ''
--   ASKED          '1' if a deletion is of a session that is seen
--   ENTERED        '1' once the client has put the session into its lists
--
-- An answer begins with a word. After 'done' comes what `name_owner` returns, then what the script has to say, as after
-- another word. {'missing'}, {'taken'}, {'stale', revision}, {'order', position, last}, {'repeated'} are refusals.
--
-- Numbers that matter are text throughout: Lua counts in doubles, and positions may be larger than those can hold.

local SESSION, MESSAGES, IDS, ONCE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local NOW, SCORE, TENANT, USER, INDEX, ID, EXPECTED, EXPIRES, SWEEP, ROWS, NUMBERED, AFTER,
  OWN, ASKED, ENTERED =
  string.match(ARGV[1], '^' .. string.rep('(.-)\n', 14) .. '(.*)$')
local call = redis.call

if ONCE and call('EXISTS', ONCE) == 1 then return {'repeated'} end

-- what stands in the session; false for what does not
local values = call('HMGET', SESSION, 'revision', 'last_position', 'message_count', 'updated_at', 'tenant_id',
  'user_id', 'expires_at')
local state = {
  revision = values[1], last_position = values[2], message_count = values[3], updated_at = values[4],
  tenant_id = values[5], user_id = values[6], expires_at = values[7]
}
local there = state.revision and true or false
local expired = there and state.expires_at and state.expires_at <= NOW
local latest = state.updated_at and state.updated_at > NOW and state.updated_at or NOW
local seen = there and not expired
  and (TENANT == '' or state.tenant_id == TENANT) and (USER == '' or state.user_id == USER)
local revision = seen and state.revision or '0'
local stale = EXPECTED ~= '' and EXPECTED ~= revision and {'stale', revision}

-- position (text) plus a number, exactly
local function add(position, n)
  local number = tonumber(position) + n
  if number < 9e15 then return string.format('%019d', number) end
  position = string.rep('0', 19 - #position) .. position
  local high, low = tonumber(string.sub(position, 1, 9)), tonumber(string.sub(position, 10)) + n
  if low >= 1e10 then
    high, low = high + math.floor(low / 1e10), low % 1e10
  end
  return string.format('%09d%010d', high, low)
end

-- a position without its leading zeros
local function strip_zeros(position)
  return (string.gsub(position, '^0+(%d)', '%1'))
end

-- call with many arguments, in parts that Lua's stack can hold (a multiple of all group sizes)
local function call_in_parts(command, key, args)
  for i = 1, #args, 4000 do
    call(command, key, unpack(args, i, math.min(i + 3999, #args)))
  end
end

-- the text after the nth line break
local function skip_lines(row, n)
  local at = 0
  for _ = 1, n do at = string.find(row, '\n', at + 1, true) end
  return string.sub(row, at + 1)
end

-- the line that begins at a byte
local function read_line(row, from)
  return string.sub(row, from, string.find(row, '\n', from, true) - 1)
end

local function parse_id(member)
  return read_line(member, 21)
end

-- delete the messages behind a position; return how many there were
local function cut_after(position)
  local from, ids = '[' .. position .. '\11', {}
  for i, found in ipairs(call('ZRANGEBYLEX', MESSAGES, from, '+')) do ids[i] = parse_id(found) end
  call('ZREMRANGEBYLEX', MESSAGES, from, '+')
  call_in_parts('HDEL', IDS, ids)
  return #ids
end

-- the member at a position, or nil
local function member_at(position)
  return call('ZRANGEBYLEX', MESSAGES, '[' .. position .. '\n', '(' .. position .. '\11', 'LIMIT', 0, 1)[1]
end

-- the member that a key names, by 'position' or by 'id', or nil
local function find_member(kind, key)
  if kind == 'id' then key = call('HGET', IDS, key) end
  return key and member_at(key)
end

-- the lists in which a session of this owner stands
local function name_lists(tenant, user)
  local names = {INDEX}
  if user then names[#names + 1] = INDEX .. ':user:' .. user end
  if tenant then names[#names + 1] = INDEX .. ':tenant:' .. tenant end
  return names
end

-- move the session forward in its lists
local function enter_lists()
  if INDEX == '' then return end
  -- where the clock was set back, `updated_at` stays, and so does the place in the index
  if latest ~= NOW then SCORE = call('ZSCORE', INDEX, ID) or SCORE end
  for _, name in ipairs(name_lists(state.tenant_id, state.user_id)) do call('ZADD', name, SCORE, ID) end
end

-- take the session out of lists, except some
local function leave_lists(names, except)
  if INDEX == '' then return end
  local stays = {}
  for _, name in ipairs(except) do stays[name] = true end
  for _, name in ipairs(names) do
    if not stays[name] then call('ZREM', name, ID) end
  end
end

-- what is left of a session that expired, or that the server evicted in part
local function vacate()
  if call('EXISTS', SESSION, MESSAGES, IDS) > 0 then call('DEL', SESSION, MESSAGES, IDS) end
  if there then leave_lists(name_lists(state.tenant_id, state.user_id), {}) end
end

-- set when the session looks missing, and when the server takes it away
local function expire()
  if EXPIRES ~= '' then
    state.expires_at = EXPIRES
    call('HSET', SESSION, 'expires_at', EXPIRES)
    call('PEXPIRE', SESSION, SWEEP)
  end
end

-- let the server sweep the whole of an expiring session at one moment, long after it looks missing
local function sweep_together()
  local left = state.expires_at and call('PTTL', SESSION) or -1
  if left > 0 then
    call('PEXPIRE', MESSAGES, left)
    call('PEXPIRE', IDS, left)
  end
end

-- put the session's own fields that are passed in place; tell whether one of them differs
local function change_own()
  local changed = false
  for i = #ARGV - OWN + 1, #ARGV, 2 do
    local field, value = ARGV[i], ARGV[i + 1] ~= '' and string.sub(ARGV[i + 1], 2)
    if call('HGET', SESSION, field) ~= value then
      changed = true
      if value then call('HSET', SESSION, field, value) else call('HDEL', SESSION, field) end
    end
  end
  return changed
end

-- note that the script ran
local function mark_run()
  if ONCE then call('SET', ONCE, '1', 'EX', 60) end
end

-- the end of every change to a session that stays: count it on, as `revision` does too
local function count_on(count, last)
  revision = string.format('%d', tonumber(state.revision) + 1)
  call('HSET', SESSION, 'revision', revision, 'message_count', count, 'last_position', last, 'updated_at', latest)
  sweep_together()
  mark_run()
end

-- a session of the scope's that begins now; `count_on` follows
local function begin_session()
  vacate()
  latest = NOW
  state = {
    revision = SCORE, last_position = '0', message_count = '0',
    tenant_id = TENANT ~= '' and TENANT, user_id = USER ~= '' and USER
  }
  enter_lists()
  call('HSET', SESSION, 'metadata', '{}', 'created_at', NOW)
  if state.tenant_id then call('HSET', SESSION, 'tenant_id', state.tenant_id) end
  if state.user_id then call('HSET', SESSION, 'user_id', state.user_id) end
end

-- what a client needs that keeps the lists; nothing where the script has done it
local function name_owner()
  if INDEX == '' then return latest, state.tenant_id or '', state.user_id or '' end
end
