-- The ledger's own time; stands before the scripts that give verdicts.
--
-- It goes as the calendar of whoever leads, but never back, and by at most `step_ms` from one verdict
-- to the next: a calendar that is put right by a year would otherwise forget every id. So a pause or
-- a jump counts as one step, and ids are kept for longer, never for less than the window less a step
-- per jump.
--
-- The key holds at_ms, the ledger's time, and seen_ms, what the calendar said at the last verdict.

local function ledger_time(ledger, now_ms, step_ms)
  local last = redis.call('HMGET', ledger, 'at_ms', 'seen_ms')
  local gone_ms = tonumber(now_ms) - tonumber(last[2] or now_ms)
  local at_ms = tonumber(last[1] or now_ms) + math.max(0, math.min(gone_ms, tonumber(step_ms)))
  redis.call('HSET', ledger, 'at_ms', string.format('%.0f', at_ms), 'seen_ms', now_ms)
  return at_ms
end

-- Ids that were stamped before the window, oldest first, as bounds for ZRANGEBYSCORE and at most
-- `limit` of them: forgetting all at once after a long pause would stop the server.
local function outside_window(stamped, at_ms, window_ms, limit)
  local window_from = string.format('(%.0f', at_ms - tonumber(window_ms))
  return redis.call('ZRANGEBYSCORE', stamped, '-inf', window_from, 'LIMIT', 0, limit)
end

