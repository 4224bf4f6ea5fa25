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
--   ENTERED        '1' once the client has put the session into its lists
--
-- An answer begins with a word. After 'done' comes what `owner` returns; then, and after another word, what the script
-- says. {'missing'}, {'taken'}, {'stale', revision}, {'order', position, last} and {'repeated'} are refusals.
--
-- Numbers that matter are text throughout: Lua counts in doubles, and positions may be larger than those hold exactly.

local SESSION, MESSAGES, IDS, ONCE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local NOW, SCORE, TENANT, USER, INDEX, ID, EXPECTED, EXPIRES, SWEEP, ROWS, NUMBERED, ENTERED =
  string.match(ARGV[1], '^(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.*)$')
local call = redis.call

if ONCE and call('EXISTS', ONCE) == 1 then return {'repeated'} end

-- what stands in the session: [1] revision, [2] last_position, [3] message_count, and so on
local h = call('HMGET', SESSION, 'revision', 'last_position', 'message_count', 'updated_at', 'tenant_id', 'user_id',
  'expires_at')
local there = h[1] and true or false
local expired = there and h[7] and h[7] <= NOW
local latest = h[4] and h[4] > NOW and h[4] or NOW
local seen = there and not expired and (TENANT == '' or h[5] == TENANT) and (USER == '' or h[6] == USER)
local revision = seen and h[1] or '0'
local stale = EXPECTED ~= '' and EXPECTED ~= revision and {'stale', revision}

-- position (text) plus a number, exactly
local function plus(position, n)
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
local function bare(position)
  return (string.gsub(position, '^0+(%d)', '%1'))
end

-- call with many arguments, in parts that Lua's stack can hold (a multiple of all group sizes)
local function each(command, key, args)
  for i = 1, #args, 4000 do
    call(command, key, unpack(args, i, math.min(i + 3999, #args)))
  end
end

-- the text after the nth line break
local function after_line(row, n)
  local at = 0
  for _ = 1, n do at = string.find(row, '\n', at + 1, true) end
  return string.sub(row, at + 1)
end

-- the line that begins at a byte
local function line(row, from)
  return string.sub(row, from, string.find(row, '\n', from, true) - 1)
end

local function id_of(member)
  return line(member, 21)
end

-- the member at a position, or nil
local function at(position)
  return call('ZRANGEBYLEX', MESSAGES, '[' .. position .. '\n', '(' .. position .. '\11', 'LIMIT', 0, 1)[1]
end

-- the member that a key names, by 'position' or by 'id', or nil
local function find(kind, key)
  if kind == 'id' then key = call('HGET', IDS, key) end
  return key and at(key)
end

-- the lists in which a session of this owner stands
local function lists(tenant, user)
  local names = {INDEX}
  if user then names[#names + 1] = INDEX .. ':user:' .. user end
  if tenant then names[#names + 1] = INDEX .. ':tenant:' .. tenant end
  return names
end

-- move the session forward in its lists
local function listed()
  if INDEX == '' then return end
  -- where the clock was set back, `updated_at` stays, and so does the place in the index
  if latest ~= NOW then SCORE = call('ZSCORE', INDEX, ID) or SCORE end
  for _, name in ipairs(lists(h[5], h[6])) do call('ZADD', name, SCORE, ID) end
end

-- take the session out of lists, except some
local function unlisted(names, except)
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
  if there then unlisted(lists(h[5], h[6]), {}) end
end

-- set when the session looks missing, and when the server takes it away
local function expire()
  if EXPIRES ~= '' then
    h[7] = EXPIRES
    call('HSET', SESSION, 'expires_at', EXPIRES)
    call('PEXPIRE', SESSION, SWEEP)
  end
end

-- let the server sweep the whole of an expiring session at one moment, long after it looks missing
local function sweep()
  local left = h[7] and call('PTTL', SESSION) or -1
  if left > 0 then
    call('PEXPIRE', MESSAGES, left)
    call('PEXPIRE', IDS, left)
  end
end

-- note that the script ran
local function done_once()
  if ONCE then call('SET', ONCE, '1', 'EX', 60) end
end

-- the end of every change to a session that stays: count it on, as `revision` does too
local function touch(count, last)
  revision = string.format('%d', tonumber(h[1]) + 1)
  call('HSET', SESSION, 'revision', revision, 'message_count', count, 'last_position', last, 'updated_at', latest)
  sweep()
  done_once()
end

-- a session of the scope's that begins now; `touch` follows
local function begin()
  vacate()
  latest = NOW
  h = {SCORE, '0', '0', false, TENANT ~= '' and TENANT, USER ~= '' and USER, false}
  listed()
  call('HSET', SESSION, 'metadata', '{}', 'created_at', NOW)
  if h[5] then call('HSET', SESSION, 'tenant_id', h[5]) end
  if h[6] then call('HSET', SESSION, 'user_id', h[6]) end
end

-- what a client needs that keeps the lists; nothing where the script has done it
local function owner()
  if INDEX == '' then return latest, h[5] or '', h[6] or '' end
end
