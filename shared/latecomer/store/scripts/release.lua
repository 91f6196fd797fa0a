-- Gives a lease back if it is still held; the counter of fences stays.
--
-- KEYS  lease
-- ARGV  owner, fence
-- Gives 1, or 0 if the lease was lost.

local held = redis.call('HMGET', KEYS[1], 'owner', 'fence')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 0
end
return redis.call('DEL', KEYS[1])
