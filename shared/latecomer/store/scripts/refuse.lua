-- Records a refusal once: the first verdict on an update stands, and only a leader gives one.
--
-- KEYS  lease applied refused refused_at totals fleet ledger, then the update's staged payloads.
-- ARGV  owner, fence, update id, worker, reason, detail, now in ms, the ledger's longest step in ms,
--       its window in ms
-- Gives {'ok'}, {'known'} if the update had its verdict, or {'fenced', holder}.

local lease, applied, refused, refused_at, totals, fleet, ledger = unpack(KEYS)
local first_payload = 8
local owner, fence, id, worker, reason, detail, now_ms, step_ms, window_ms = unpack(ARGV)
-- Few at a time, so that one refusal after a long pause does not stop the server.
local forgotten_at_once = 100

local held = redis.call('HMGET', lease, 'owner', 'fence')
if held[1] ~= owner or held[2] ~= fence then
  return {'fenced', held[1] or ''}
end

if redis.call('ZSCORE', applied, id) or redis.call('HEXISTS', refused, id) == 1 then
  return {'known'}
end

local at_ms = ledger_time(ledger, now_ms, step_ms)
redis.call('HSET', refused, id, reason)
redis.call('ZADD', refused_at, string.format('%.0f', at_ms), id)
redis.call('HINCRBY', totals, 'refused:' .. reason, 1)
redis.call('HINCRBY', fleet, worker .. ':refused', 1)
redis.call('HSET', fleet, worker .. ':refusal', reason .. ': ' .. detail,
  worker .. ':seen_ms', now_ms)

for _, forgotten in ipairs(outside_window(refused_at, at_ms, window_ms, forgotten_at_once)) do
  redis.call('HDEL', refused, forgotten)
  redis.call('ZREM', refused_at, forgotten)
end
for i = first_payload, #KEYS do
  redis.call('DEL', KEYS[i])
end
return {'ok'}
