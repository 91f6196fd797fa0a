-- Records a refusal once: the first verdict on an update stands, and only a leader gives one.
--
-- KEYS  lease applied refused refused_at totals fleet
-- ARGV  owner, fence, update id, worker, reason, detail, now in ms, time before which to forget in ms
-- Gives {'ok'}, {'known'} if the update had its verdict, or {'fenced', holder}.

local lease, applied, refused, refused_at, totals, fleet = unpack(KEYS)
local owner, fence, id, worker, reason, detail, now_ms, forget_before_ms = unpack(ARGV)
-- Few at a time, so that one refusal after a long pause does not stop the server.
local forgotten_at_once = 100

local held = redis.call('HMGET', lease, 'owner', 'fence')
if held[1] ~= owner or held[2] ~= fence then
  return {'fenced', held[1] or ''}
end

if redis.call('ZSCORE', applied, id) or redis.call('HEXISTS', refused, id) == 1 then
  return {'known'}
end

redis.call('HSET', refused, id, reason)
redis.call('ZADD', refused_at, now_ms, id)
redis.call('HINCRBY', totals, 'refused:' .. reason, 1)
redis.call('HINCRBY', fleet, worker .. ':refused', 1)
redis.call('HSET', fleet, worker .. ':refusal', reason .. ': ' .. detail,
  worker .. ':seen_ms', now_ms)

local old = redis.call('ZRANGEBYSCORE', refused_at, '-inf', '(' .. forget_before_ms,
  'LIMIT', 0, forgotten_at_once)
for _, forgotten in ipairs(old) do
  redis.call('HDEL', refused, forgotten)
  redis.call('ZREM', refused_at, forgotten)
end
return {'ok'}
