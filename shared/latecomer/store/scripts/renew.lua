-- Prolongs a lease that is still held, where there is memory for it: who cannot write does not lead.
-- (A server that is full refuses HSET, and takes PEXPIRE.)
--
-- KEYS  lease
-- ARGV  owner, fence, time to live in ms
-- Gives 1, or 0 if the lease was lost.

local held = redis.call('HMGET', KEYS[1], 'owner', 'fence')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
