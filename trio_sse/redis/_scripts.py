"""What is done in Redis in one step, in Lua; and the keys that it is done to.

A hub has four keys, and one for each of its publishers:

* ``events``: the stream. The fields of an entry are ``prev``, ``before``, ``topic``, and what the
  event has of ``data``, ``event``, ``retry`` and ``comment``. ``prev`` is the id of the entry
  before, of the first one the epoch: so a reader sees whether an entry is the next after the one
  that it has, and the first entry tells how far back the stream reaches. ``before`` is the id of
  the entry before with the same topic, or one that is no earlier: so it can be seen whether a
  topic has lost anything to the stream's being trimmed.
* ``state``: a hash of ``epoch``, ``last`` (the id of the last entry), the bounds ``max_events``,
  ``max_age`` (milliseconds) and ``max_topics``, and ``floor`` and ``turned`` (see ``topics``).
* ``topics`` and ``topics:old``: hashes of the id of each topic's last entry. When the one is
  full it takes the place of the other. ``turned`` is the last id at that time; ``floor`` is the
  last id of the time before, and so nothing that is forgotten was later.
* ``publisher:<name>``: what the last batch of a publisher was answered, for a while: the answer
  to the same batch sent again.
"""

from dataclasses import dataclass
from hashlib import sha1

# Seconds for which the answer to a batch is kept. It is one answer for each publisher.
RETRY_WINDOW = 3600

# Entries that are looked at for a page, at most: a millisecond or two of a Redis that does
# nothing else meanwhile.
SCANNED = 2000

# Events that the trails of topics are followed over, at most: half a millisecond. Who has missed
# more is read all that there is, page by page.
STEPS = 500

# Bytes of a page, about.
PAGE_BYTES = 1024 * 1024

_COMMON = """
local EVENTS, STATE, TOPICS, OLD = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function begin_anew()
  redis.call('UNLINK', EVENTS, TOPICS, OLD)
  redis.call('HDEL', STATE, 'last', 'floor', 'turned')
  local now = redis.call('TIME')
  local epoch = string.format('%x%05x', now[1], now[2])
  redis.call('HSET', STATE, 'epoch', epoch)
  return epoch, false
end

-- Where a key is missing, events may be; what is numbered from then on is another epoch.
local function current()
  local state = redis.call('HMGET', STATE, 'epoch', 'last', 'turned')
  local epoch, last, turned = state[1], state[2], state[3]
  local whole = epoch and (not last or redis.call('EXISTS', EVENTS, TOPICS) == 2)
  if whole and (not turned or redis.call('EXISTS', OLD) == 1) then
    return epoch, last
  end
  return begin_anew()
end

local function trim()
  local bounds = redis.call('HMGET', STATE, 'max_events', 'max_age')
  if bounds[1] then
    redis.call('XTRIM', EVENTS, 'MAXLEN', '~', bounds[1])
    local now = redis.call('TIME')
    local oldest = now[1] * 1000 + math.floor(now[2] / 1000) - bounds[2]
    if oldest > 0 then
      redis.call('XTRIM', EVENTS, 'MINID', '~', string.format('%d', oldest))
    end
  end
end

local function before(one, other)
  local ms, n = one:match('^(%d+)-(%d+)$')
  local other_ms, other_n = other:match('^(%d+)-(%d+)$')
  ms, n, other_ms, other_n = tonumber(ms), tonumber(n), tonumber(other_ms), tonumber(other_n)
  return ms < other_ms or (ms == other_ms and n < other_n)
end

-- Others may add entries to the stream; they are passed over.
local function is_event(entry)
  return entry[2][1] == 'prev' and entry[2][3] == 'before' and entry[2][5] == 'topic'
end

local function prev_of(entry)
  return entry[2][2]:match('^%d+-%d+$') or '0-0'
end

-- The id of the last event that a topic had, or one that is no earlier.
local function last_of(topic)
  return redis.call('HGET', TOPICS, topic) or redis.call('HGET', OLD, topic)
    or redis.call('HGET', STATE, 'floor') or '0-0'
end

-- The id that the stream reaches back to: nothing after it is missing.
local function reach(last)
  local seen
  for _, entry in ipairs(redis.call('XRANGE', EVENTS, '-', '+', 'COUNT', 10)) do
    seen = entry[1]
    if is_event(entry) and last and before(prev_of(entry), last) then
      return prev_of(entry)
    end
  end
  -- Behind so many others there may be events; none after the last one.
  return last and seen and before(seen, last) and seen or last or '0-0'
end
"""

# KEYS: events, state, topics, topics:old and, with a sequence, publisher:<name>
# ARGV: sequence; for each event its topic, how many arguments follow, and these: names of
#       fields and their values
_PUBLISH = """
local FIELDS = {data = true, event = true, retry = true, comment = true}

local sequence
if ARGV[1] ~= '' then
  sequence = ARGV[1]:match('^%d+$') and #ARGV[1] <= 15 and tonumber(ARGV[1])
  if not sequence or not KEYS[5] then
    return redis.error_reply('ERR a sequence is a number, and has a key of its publisher')
  end
  local kept = redis.call('GET', KEYS[5])
  if kept then
    local words = {}
    for word in kept:gmatch('%S+') do
      words[#words + 1] = word
    end
    local answered = tonumber(table.remove(words, 1))
    if answered == sequence then
      return words
    elseif answered > sequence then
      return redis.error_reply('STALE this batch was given up before it came')
    end
  end
end

local events = {}
local at = 2
while at <= #ARGV do
  local topic = ARGV[at]
  local count = (ARGV[at + 1] or ''):match('^[2468]$')
  count = count and tonumber(count)
  if not count or at + 1 + count > #ARGV then
    return redis.error_reply('ERR after a topic comes how many arguments its event has')
  elseif topic == '' or #topic > 512 or topic:find('[%z\\r\\n]') then
    return redis.error_reply('ERR a topic is one line of up to 512 bytes')
  end
  local given = {}
  for field = at + 2, at + 1 + count, 2 do
    local name, value = ARGV[field], ARGV[field + 1]
    if not FIELDS[name] or given[name] then
      return redis.error_reply('ERR the fields of an event are data, event, retry and comment')
    elseif name == 'event' and value:find('[\\r\\n]') then
      return redis.error_reply('ERR the name of an event is one line')
    elseif name == 'retry' and not value:match('^%d+$') then
      return redis.error_reply('ERR retry is a number of milliseconds')
    end
    given[name] = true
  end
  events[#events + 1] = {topic, at + 2, at + 1 + count}
  at = at + 2 + count
end

if #events == 0 then
  return redis.error_reply('ERR there is no event')
end

local epoch, last = current()
local max_topics = tonumber(redis.call('HGET', STATE, 'max_topics'))
if max_topics and redis.call('HLEN', TOPICS) >= max_topics then
  local floor = redis.call('HGET', STATE, 'turned') or '0-0'
  redis.call('UNLINK', OLD)
  redis.call('RENAME', TOPICS, OLD)
  redis.call('HSET', STATE, 'floor', floor, 'turned', last)
end
local answer = {epoch}
for _, event in ipairs(events) do
  local topic = event[1]
  last = redis.call('XADD', EVENTS, '*', 'prev', last or epoch, 'before', last_of(topic),
    'topic', topic, unpack(ARGV, event[2], event[3]))
  redis.call('HSET', TOPICS, topic, last)
  answer[#answer + 1] = last
end
redis.call('HSET', STATE, 'last', last)
trim()
if sequence then
  local kept = ARGV[1] .. ' ' .. table.concat(answer, ' ')
  redis.call('SET', KEYS[5], kept, 'EX', @RETRY_WINDOW@)
end
return answer
"""

# ARGV: max_events, max_age, max_topics; the epoch and the id that the reader has ('' and 0-0: none)
# Returns the epoch, the last id, and the id that the stream reaches back to.
_CHECK = """
local epoch, last = current()
-- Only where they differ: a Redis that is full refuses to be written to, and can still be read.
for n, name in ipairs({'max_events', 'max_age', 'max_topics'}) do
  if redis.call('HGET', STATE, name) ~= ARGV[n] then
    redis.call('HSET', STATE, name, ARGV[n])
  end
end
trim()

-- The last id that somebody has deleted by hand, as far as this Redis says it.
local function deleted()
  local info = redis.call('XINFO', 'STREAM', EVENTS)
  for n = 1, #info, 2 do
    if info[n] == 'max-deleted-entry-id' then
      return info[n + 1]
    end
  end
  return '0-0'
end

-- Whether there has been an entry with this id, as far as one can still know.
local function happened(id)
  local next = redis.call('XRANGE', EVENTS, id, '+', 'COUNT', 1)[1]
  if id == '0-0' or id == last or (next and (next[1] == id or prev_of(next) == id)) then
    return true
  end
  return last and not (before(reach(last), id) and before(deleted(), id))
end

if ARGV[4] == epoch and not happened(ARGV[5]) then
  epoch, last = begin_anew()
end
return {epoch, last or '0-0', reach(last)}
"""

# ARGV: the epoch; the id to begin after; how many entries at most; the topics
# Returns one word: "other" (another epoch), "beyond" (there is no such id yet), "lost"; or "found",
# the id that was looked up to, and the entries.
_READ = """
local epoch, last = current()
if epoch ~= ARGV[1] then
  return {'other'}
end
last = last or '0-0'
local after, limit = ARGV[2], tonumber(ARGV[3])
if before(last, after) then
  return {'beyond'}
end
local wanted = {}
for n = 4, #ARGV do
  wanted[ARGV[n]] = true
end

-- Follows the trail of each topic back to the id, from event to event. It ends early at what is
-- gone, at what was deleted, and at the floor, which is an entry of any topic. Then what the
-- topics had is not known; otherwise these are their events, without a look at any others.
local function trails()
  local ids, steps = {}, @STEPS@
  for topic in pairs(wanted) do
    local id = last_of(topic)
    while before(after, id) do
      local entry = redis.call('XRANGE', EVENTS, id, id)[1]
      if not entry or not is_event(entry) or entry[2][6] ~= topic or steps == 0 then
        return nil
      end
      ids[#ids + 1] = id
      id = entry[2][4]
      steps = steps - 1
    end
  end
  table.sort(ids, before)
  return ids
end

local found, size = {}, 0
local function take(entry)
  found[#found + 1] = entry
  for _, part in ipairs(entry[2]) do
    size = size + #part
  end
  after = entry[1]
  return #found == limit or size >= @PAGE_BYTES@
end

local ids = trails()
if ids then
  for _, id in ipairs(ids) do
    if limit == 0 or take(redis.call('XRANGE', EVENTS, id, id)[1]) then
      return {'found', after, found}
    end
  end
  return {'found', last, found}
elseif before(after, reach(last)) then
  return {'lost'}
end

local scanned = 0
while limit > 0 and scanned < @SCANNED@ do
  local entries = redis.call('XRANGE', EVENTS, '(' .. after, '+', 'COUNT', 100)
  for _, entry in ipairs(entries) do
    if not is_event(entry) or not wanted[entry[2][6]] then
      after = entry[1]
    elseif take(entry) then
      return {'found', after, found}
    end
  end
  if #entries < 100 then
    return {'found', last, found}
  end
  scanned = scanned + #entries
end
return {'found', after, found}
"""


@dataclass(frozen=True)
class Script:
    """A script, and what Redis knows it by once it was sent."""

    text: str
    sha: str


def _script(body: str) -> Script:
    text = _COMMON + body
    for name, value in (
        ("RETRY_WINDOW", RETRY_WINDOW),
        ("SCANNED", SCANNED),
        ("STEPS", STEPS),
        ("PAGE_BYTES", PAGE_BYTES),
    ):
        text = text.replace(f"@{name}@", str(value))
    text = text.strip() + "\n"
    return Script(text, sha1(text.encode()).hexdigest())


PUBLISH = _script(_PUBLISH)
CHECK = _script(_CHECK)
READ = _script(_READ)


class Keys:
    """The keys of one hub. The braces have a cluster keep them in one place."""

    def __init__(self, name: str) -> None:
        prefix = f"trio_sse:{{{name}}}"
        self.events = f"{prefix}:events"
        self.all = (self.events, f"{prefix}:state", f"{prefix}:topics", f"{prefix}:topics:old")
        self._prefix = prefix

    def publisher(self, name: str) -> str:
        """Return the key of a publisher."""
        return f"{self._prefix}:publisher:{name}"
