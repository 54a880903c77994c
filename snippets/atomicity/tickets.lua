#!lua name=tickets

-- KEYS of every function: a number, a hash and a sorted set
--   1  tickets nobody has
--   2  order -> how many tickets it has, paid or not
--   3  order that is not paid -> until when, in milliseconds since 1970

local function now()
    local time = server.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- An unpaid order's tickets become free. How many; 0 if there is no such order.
local function release(keys, order)
    if server.call('ZREM', keys[3], order) == 0 then
        return 0
    end
    local count = tonumber(server.call('HGET', keys[2], order))
    server.call('HDEL', keys[2], order)
    server.call('INCRBY', keys[1], count)
    return count
end

local function late(keys)
    return server.call('ZRANGE', keys[3], '-inf', now(), 'BYSCORE')
end

local function collect(keys)
    for _, order in ipairs(late(keys)) do
        release(keys, order)
    end
end

-- ARGV: order, how many, for how many milliseconds
local function reserve(keys, args)
    local order, count, time = args[1], tonumber(args[2]), tonumber(args[3])
    if not (order and count and time and count >= 1 and time >= 1) then
        return server.error_reply('ERR order, count and milliseconds are needed')
    end
    collect(keys)
    local has = server.call('HGET', keys[2], order)
    if has then
        return tonumber(has) -- asked twice: once is enough
    end
    if tonumber(server.call('GET', keys[1]) or 0) < count then
        return server.error_reply('SOLDOUT not enough tickets')
    end
    server.call('DECRBY', keys[1], count)
    server.call('HSET', keys[2], order, count)
    server.call('ZADD', keys[3], now() + time, order)
    return count
end

-- ARGV: order. The number of tickets sold; 0 if the time was over.
local function confirm(keys, args)
    collect(keys)
    server.call('ZREM', keys[3], args[1])
    return tonumber(server.call('HGET', keys[2], args[1]) or 0)
end

-- ARGV: order. The number of tickets given back; 0 if it was paid.
local function cancel(keys, args)
    return release(keys, args[1])
end

-- How many could be reserved now. Changes nothing.
local function left(keys)
    local count = tonumber(server.call('GET', keys[1]) or 0)
    for _, order in ipairs(late(keys)) do
        count = count + tonumber(server.call('HGET', keys[2], order))
    end
    return count
end

server.register_function('tickets_reserve', reserve)
server.register_function('tickets_confirm', confirm)
server.register_function('tickets_cancel', cancel)
server.register_function {
    function_name = 'tickets_left',
    callback = left,
    flags = { 'no-writes' },
}
