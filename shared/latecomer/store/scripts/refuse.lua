-- Records a refusal once: the first verdict on an update stands.
--
-- KEYS  applied refused refused_at totals fleet
-- ARGV  update id, worker, reason, detail, now in ms, time before which to forget in ms
-- Gives 1, or 0 if the update had its verdict.

local applied, refused, refused_at, totals, fleet = unpack(KEYS)
local id, worker, reason, detail, now_ms, forget_before_ms = unpack(ARGV)
-- Few at a time, so that one refusal after a long pause does not stop the server.
local forgotten_at_once = 100

if redis.call('ZSCORE', applied, id) or redis.call('HEXISTS', refused, id) == 1 then
  return 0
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
return 1
