-- Takes the lease if it is free, prolongs it if it is the asker's own already.
--
-- KEYS  lease fence
-- ARGV  owner, time to live in ms
-- Gives the fence, or 0 while somebody else holds the lease. A repeat after a lost reply gives the
-- same fence; only a new holder raises it.

local lease, counter = KEYS[1], KEYS[2]
local owner, ttl_ms = ARGV[1], ARGV[2]

local held = redis.call('HMGET', lease, 'owner', 'fence')
if held[1] and held[1] ~= owner then
  return 0
end

local fence = held[2]
if not fence then
  fence = redis.call('INCR', counter)
  redis.call('HSET', lease, 'owner', owner, 'fence', tostring(fence))
end
redis.call('PEXPIRE', lease, ttl_ms)
return tonumber(fence)
