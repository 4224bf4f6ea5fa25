"""The Lua that runs inside the server: each change is one script, which checks first and writes last.

Redis runs a script alone and to its end, and does not roll back what one has written; so nothing here writes before
everything that could refuse has been asked. A server whose memory is full, or whose ACL forbids a command, refuses at
the first such command and not before. So what adds begins with an addition (of the index, which is repaired where it
is wrong), and what removes begins with the removal, which must work on a full server.

Each script gets the session's three keys (and a fourth, for an attempt that must not be carried out twice by a client
that repeats by itself) and begins with the same arguments; see `prelude`. It answers a list whose first element is a
word.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final, NamedTuple

from chatstore.backends.redis.layout import FIELDS
from chatstore.backends.redis.prelude import HEAD


class Script(NamedTuple):
    """A script, and the digest under which a server that has seen it knows it."""

    name: str
    source: str
    digest: str


#: Where a message is named by a key: ARGV[2] is 'position' or 'id', ARGV[3] which.
_FIND: Final = """
local position = ARGV[3]
if ARGV[2] == 'id' then position = call('HGET', IDS, position) end
local found = position and at(position)
"""

#: Append. The rest: the revision expected ('' for any); when the session will expire, and in how many milliseconds it
#: will be swept ('' to leave that); '1' once the index has the session; how many rows; how many positions (all or 0).
#: From ARGV[2] on: the rows, their positions, and pairs of a place among the rows and a stored body that is as good.
_APPEND: Final = """
if there and not expired and not seen then return {'taken'} end
local expected, moment, swept, entered, n, m = string.match(rest, '^(.-)\\n(.-)\\n(.-)\\n(.-)\\n(.-)\\n(.*)$')
n, m = tonumber(n), tonumber(m)
local ids, known, equal, found, differ = {}, {}, {}, 0, {}
for i = 1, n do ids[i] = line(ARGV[1 + i], 1) end
for i = 2 + n + m, #ARGV, 2 do equal[tonumber(ARGV[i])] = ARGV[i + 1] end
if seen then
  for from = 1, n, 4000 do
    local to = math.min(from + 3999, n)
    for i, position in ipairs(call('HMGET', IDS, unpack(ids, from, to))) do
      local stored, place = position and at(position), from + i - 1
      if stored then
        known[place], found = stored, found + 1
        local have = behind(stored, 4)
        if have ~= behind(ARGV[1 + place], 3) and have ~= equal[place] then
          differ[#differ + 1] = tostring(place)
          differ[#differ + 1] = stored
        end
      end
    end
  end
end
if #differ > 0 then return {'differs', differ} end
local revision, answer, last = h[1], {}, seen and h[2] or '0'
if found < n then
  if expected ~= '' and expected ~= (seen and revision or '0') then return {'stale', seen and revision or '0'} end
  if m > 0 then
    for i = 1, n do
      if not known[i] then
        if ARGV[1 + n + i] <= plus(last, 0) then return {'order', bare(ARGV[1 + n + i]), last} end
        break
      end
    end
  end
  if not seen and INDEX == '' and entered ~= '1' then return {'enter'} end
  if seen then listed() else begin() end
  expires(moment, swept)
  local members, places, position, first = {}, {}, plus(last, 0), ''
  for i = 1, n do
    if not known[i] then
      position = m > 0 and ARGV[1 + n + i] or plus(position, 1)
      if first == '' then first = position end
      members[#members + 1] = '0'
      members[#members + 1] = position .. '\\n' .. ARGV[1 + i]
      places[#places + 1] = ids[i]
      places[#places + 1] = position
    end
  end
  each('ZADD', MESSAGES, members)
  each('HSET', IDS, places)
  revision = touch(string.format('%d', tonumber(h[3]) + n - found), bare(position))
  answer[1] = first
else
  answer[1] = ''
end
for i = 1, found > 0 and n or 0 do
  if known[i] then
    answer[#answer + 1] = tostring(i)
    answer[#answer + 1] = known[i]
  end
end
return {'done', revision, answer, {owner()}}
"""

#: Replace. The rest: as in append, up to the number of rows; from ARGV[2] on: the rows.
_REPLACE: Final = """
if there and not expired and not seen then return {'taken'} end
local expected, moment, swept, entered, n = string.match(rest, '^(.-)\\n(.-)\\n(.-)\\n(.-)\\n(.*)$')
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
  members[#members + 1] = position .. '\\n' .. ARGV[i]
  places[#places + 1] = line(ARGV[i], 1)
  places[#places + 1] = position
end
each('ZADD', MESSAGES, members)
each('HSET', IDS, places)
local revision = touch(n, bare(position))
return {'done', revision, {first}, {owner()}}
"""

#: Make a session of what is passed, with its messages. ARGV[2]: when it will be swept, in milliseconds ('' for never);
#: [3]: how many fields and values; then these; then members.
_CREATE: Final = """
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
"""

#: Change a session's own data. ARGV[2]: the revision expected; [3]: when it will be swept ('' for never); then
#: triples of a field, '1' if it gets a value, and the value. The answer has, after the word, whether anything changed.
_UPDATE: Final = """
if not seen then return {'missing'} end
if ARGV[2] ~= '' and ARGV[2] ~= h[1] then return {'stale', h[1]} end
local changed = {}
for i = 4, #ARGV, 3 do
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
return {'done', next(changed) ~= nil and '1' or '', call('HMGET', SESSION, %s)}
"""

_EDIT: Final = """
if not seen then return {'missing'} end
if not call('ZSCORE', MESSAGES, ARGV[3]) then return {'gone'} end
if ARGV[2] ~= '' and ARGV[2] ~= h[1] then return {'stale', h[1]} end
listed()
call('ZADD', MESSAGES, '0', ARGV[4])
call('ZREM', MESSAGES, ARGV[3])
local revision = touch(h[3], h[2])
return {'done', revision, {owner()}}
"""

_REMOVE: Final = (
    """
if not seen then return {'missing'} end
"""
    + _FIND
    + """
if not found then return {'none'} end
call('ZREM', MESSAGES, found)
call('HDEL', IDS, id_of(found))
listed()
local revision = touch(call('ZCARD', MESSAGES), h[2])
return {'done', revision, {owner()}}
"""
)

_POP: Final = """
local found = seen and call('ZREVRANGE', MESSAGES, 0, 0)[1]
if not found then return {'none'} end
call('ZREM', MESSAGES, found)
call('HDEL', IDS, id_of(found))
listed()
local revision = touch(call('ZCARD', MESSAGES), h[2])
return {'done', revision, found, {owner()}}
"""

#: ARGV[2]: the last position that stays.
_TRUNCATE: Final = """
if not seen then return {'none'} end
local from, ids = '[' .. ARGV[2] .. '\\11', {}
if call('ZLEXCOUNT', MESSAGES, from, '+') == 0 then return {'none'} end
if call('ZLEXCOUNT', MESSAGES, '-', '(' .. ARGV[2] .. '\\11') == 0 then
  call('DEL', MESSAGES, IDS)
else
  for i, found in ipairs(call('ZRANGEBYLEX', MESSAGES, from, '+')) do ids[i] = id_of(found) end
  call('ZREMRANGEBYLEX', MESSAGES, from, '+')
  each('HDEL', IDS, ids)
end
listed()
local revision = touch(call('ZCARD', MESSAGES), h[2])
return {'done', revision, {owner()}}
"""

#: ARGV[2]: '' to delete a session that is seen; else the revision at which it goes, expired or not.
_DELETE: Final = """
if ARGV[2] == '' and not seen or ARGV[2] ~= '' and ARGV[2] ~= h[1] then return {'none'} end
vacate()
if ONCE then call('SET', ONCE, '1', 'EX', 60) end
return {'done', h[1], {h[4], h[5] or '', h[6] or ''}}
"""

_MESSAGE: Final = (
    """
if not seen then return {'missing'} end
"""
    + _FIND
    + """
if not found then return {'none'} end
return {'done', h[1], found}
"""
)

#: A session's own data and some of its messages at one moment. ARGV: the command that reads them, its range, how many.
_SNAPSHOT: Final = """
return {
  redis.call('HMGET', KEYS[1], %s),
  redis.call(ARGV[1], KEYS[2], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
}
"""

#: A part of an index, newest first. ARGV: the highest and the lowest score, how many. Scores come as text.
_PAGE: Final = """
return redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
"""

#: Put an entry right that was read as wrong, unless it has moved since. ARGV: the session id, the score that was read,
#: the right one ('' to take the entry away).
_MEND: Final = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
"""


def _script(name: str, source: str) -> Script:
    text = source.strip() + "\n"
    return Script(name, text, sha1(text.encode()).hexdigest())  # noqa: S324 - Redis names scripts so


def _of_session(name: str, source: str) -> Script:
    return _script(name, HEAD + source)


_FIELDS: Final = ", ".join(f"'{name}'" for name in FIELDS)

APPEND = _of_session("append", _APPEND)
REPLACE = _of_session("replace", _REPLACE)
CREATE = _of_session("create", _CREATE)
UPDATE = _of_session("update", _UPDATE.replace("%s", _FIELDS))
EDIT = _of_session("edit", _EDIT)
REMOVE = _of_session("remove", _REMOVE)
POP = _of_session("pop", _POP)
TRUNCATE = _of_session("truncate", _TRUNCATE)
DELETE = _of_session("delete", _DELETE)
MESSAGE = _of_session("message", _MESSAGE)
SNAPSHOT = _script("snapshot", _SNAPSHOT.replace("%s", _FIELDS))
PAGE = _script("page", _PAGE)
MEND = _script("mend", _MEND)
