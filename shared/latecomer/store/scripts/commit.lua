-- Makes one version visible: everything below, or nothing.
--
-- KEYS  head lease applied refused totals staleness fleet ledger, the new manifest, then `chunks`
--       chunks that the new version needs, then `payloads` staged payloads that it is made of, then
--       `spent` chunks that no aggregator needs any more, then what else it supersedes.
-- ARGV  1: the commit as JSON, every number in it as text. 2: the manifest's bytes; they are small,
--       and written here because a zombie that staged them under the version's own key could
--       overwrite the manifest that won.
-- Gives {'ok'} or {'repeated'}, or {why not, detail}.
--
-- All checks come before the first write: Redis does not undo a script that stops midway.

local head, lease, applied, refused = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local totals, staleness, fleet, ledger, manifest = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local commit = cjson.decode(ARGV[1])
local first_chunk = 10
local last_chunk = first_chunk + tonumber(commit.chunks) - 1
local last_payload = last_chunk + tonumber(commit.payloads)
local last_spent = last_payload + tonumber(commit.spent)
-- Beside as many as are entered, so that the ledger shrinks also where versions are large.
local forgotten_at_once = 1000

local now = redis.call('HMGET', head, 'commit_id', 'epoch', 'version', 'fence')
if now[1] == commit.commit_id then
  -- Changes nothing, but is a write: WAITAOF waits for the writes of its own connection, and the
  -- first attempt may have come over another one.
  redis.call('HSET', head, 'commit_id', commit.commit_id)
  return {'repeated'}
end

local held = redis.call('HMGET', lease, 'owner', 'fence')
local mine = held[1] == commit.owner and held[2] == commit.fence
if not mine or tonumber(commit.fence) < tonumber(now[4] or 0) then
  return {'fenced', held[1] or ''}
end

local version = now[2] and (now[2] .. '.' .. now[3]) or ''
if version ~= commit.expected then
  return {'conflict', version}
end

-- One call for many of a version's updates: a call costs more than its work. Lua passes up to 7,999
-- arguments; an even number, because some come in pairs.
local function portions(list, call)
  for first = 1, #list, 4000 do
    call(first, unpack(list, first, math.min(first + 3999, #list)))
  end
end

local ids, seen = {}, {}
for i, fold in ipairs(commit.folds) do
  if seen[fold.id] then
    return {'counted', fold.id}
  end
  ids[i], seen[fold.id] = fold.id, true
end
local counted
portions(ids, function(first, ...)
  local folded, rejected = redis.call('ZMSCORE', applied, ...), redis.call('HMGET', refused, ...)
  for i = 1, #folded do
    if folded[i] or rejected[i] then
      counted = counted or ids[first + i - 1]
    end
  end
end)
if counted then
  return {'counted', counted}
end

for i = first_chunk, last_chunk do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    return {'missing', KEYS[i]}
  end
end

redis.call('SET', manifest, ARGV[2])
for i = last_payload + 1, #KEYS do
  redis.call('PEXPIRE', KEYS[i], i <= last_spent and commit.spent_ms or commit.retention_ms)
end
-- After the expiries, so that a chunk in both lists stays.
for i = first_chunk, last_chunk do
  redis.call('PERSIST', KEYS[i])
end

redis.call('HSET', head, 'epoch', commit.epoch, 'version', commit.version, 'manifest',
  commit.manifest, 'commit_id', commit.commit_id, 'fence', commit.fence, 'at_ms', commit.at_ms)

local at_ms = ledger_time(ledger, commit.now_ms, commit.step_ms)
local stamp = string.format('%.0f', at_ms)
local entries, facts, behind = {}, {}, {}
for _, fold in ipairs(commit.folds) do
  table.insert(entries, stamp)
  table.insert(entries, fold.id)
  behind[fold.staleness] = (behind[fold.staleness] or 0) + 1
  redis.call('HINCRBY', fleet, fold.worker .. ':accepted', 1)
  table.insert(facts, fold.worker .. ':staleness')
  table.insert(facts, fold.staleness)
  table.insert(facts, fold.worker .. ':seen_ms')
  table.insert(facts, commit.now_ms)
end
for worker, report in pairs(commit.reports) do
  table.insert(facts, worker .. ':report')
  table.insert(facts, report)
end
portions(entries, function(_, ...) redis.call('ZADD', applied, ...) end)
portions(facts, function(_, ...) redis.call('HSET', fleet, ...) end)
if #ids > 0 then
  redis.call('HINCRBY', totals, 'accepted', #ids)
end
for staler, updates in pairs(behind) do
  redis.call('HINCRBY', staleness, staler, updates)
end
portions(outside_window(applied, at_ms, commit.window_ms, forgotten_at_once + #ids),
  function(_, ...) redis.call('ZREM', applied, ...) end)
-- In the same step: whatever a crash takes back of the version brings its payloads back.
for i = last_chunk + 1, last_payload do
  redis.call('DEL', KEYS[i])
end
return {'ok'}
