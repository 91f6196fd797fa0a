-- Prolongs a lease that is still held, also where the server is full: it takes PEXPIRE. Another
-- leader could write no more, and each change of leaders costs updates one of their deliveries.
--
-- KEYS  lease
-- ARGV  owner, fence, time to live in ms
-- Gives 1, or 0 if the lease was lost.

local held = redis.call('HMGET', KEYS[1], 'owner', 'fence')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
