#!lua name=limits

-- Every function: KEYS[1] is the state of one caller. ARGV: how many requests, in how
-- many milliseconds; and a time in milliseconds to be used in place of the server's.
-- The reply: 0 if the request may pass, otherwise how many milliseconds to wait.

local function read(args)
    local limit, window, now = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
    if not now then
        local time = server.call('TIME')
        now = time[1] * 1000 + math.floor(time[2] / 1000)
    end
    return limit, window, now
end

local function numbers(key, ...)
    local found = server.call('HMGET', key, ...)
    return tonumber(found[1]) or 0, tonumber(found[2]) or 0, tonumber(found[3]) or 0
end

-- A counter that starts anew with each window.
local function fixed(keys, args)
    local limit, window, now = read(args)
    local start = now - now % window
    local began, count = numbers(keys[1], 'start', 'count')
    if began ~= start then
        count = 0
    end
    if count >= limit then
        return start + window - now
    end
    server.call('HSET', keys[1], 'start', start, 'count', count + 1)
    server.call('PEXPIRE', keys[1], window)
    return 0
end

-- The moments of the last requests that passed: as many as may pass in a window.
local function sliding(keys, args)
    local limit, window, now = read(args)
    local oldest = tonumber(server.call('LINDEX', keys[1], -limit) or nil)
    if oldest and now - oldest < window then
        return oldest + window - now
    end
    server.call('RPUSH', keys[1], now)
    server.call('LTRIM', keys[1], -limit, -1)
    server.call('PEXPIRE', keys[1], window)
    return 0
end

-- Two counters: this window's, and the part of the last one's that still counts.
local function weighted(keys, args)
    local limit, window, now = read(args)
    local start = now - now % window
    local began, count, last = numbers(keys[1], 'start', 'count', 'last')
    if began ~= start then
        last = (began == start - window) and count or 0
        count = 0
    end
    if count + 1 > limit then
        return start + window - now -- or longer: the new window weighs this one
    end
    if count + 1 + last * (start + window - now) / window > limit then
        return math.ceil(start + window - now - (limit - count - 1) * window / last)
    end
    server.call('HSET', keys[1], 'start', start, 'count', count + 1, 'last', last)
    server.call('PEXPIRE', keys[1], 2 * window)
    return 0
end

-- A bucket of as many tokens as the limit. What is missing comes back, evenly, all of it
-- in a window. One token is `window` parts, so that the sums are of whole numbers.
local function bucket(keys, args)
    local limit, window, now = read(args)
    local missing, at = numbers(keys[1], 'missing', 'at')
    now = math.max(now, at) -- a clock may go back
    missing = math.max(0, missing - (now - at) * limit) + window
    if missing > limit * window then
        return math.ceil((missing - limit * window) / limit)
    end
    server.call('HSET', keys[1], 'missing', missing, 'at', now)
    server.call('PEXPIRE', keys[1], window)
    return 0
end

server.register_function('limit_fixed', fixed)
server.register_function('limit_sliding', sliding)
server.register_function('limit_weighted', weighted)
server.register_function('limit_bucket', bucket)
