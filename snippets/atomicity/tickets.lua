#!lua name=tickets

-- KEYS of every function: a number, a hash and a sorted set
--   1  tickets nobody has taken
--   2  order -> how many tickets are held for it
--   3  order -> until when, in milliseconds since 1970

local function now()
    local time = server.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- An order's tickets, and the order is forgotten. 0 if there is no such order.
local function take(keys, order)
    local count = tonumber(server.call('HGET', keys[2], order) or 0)
    server.call('HDEL', keys[2], order)
    server.call('ZREM', keys[3], order)
    return count
end

local function late(keys)
    return server.call('ZRANGE', keys[3], '-inf', now(), 'BYSCORE')
end

local function collect(keys)
    for _, order in ipairs(late(keys)) do
        server.call('INCRBY', keys[1], take(keys, order))
    end
end

-- ARGV: order, how many, for how many milliseconds
local function reserve(keys, args)
    local order, count, time = args[1], tonumber(args[2]), tonumber(args[3])
    if not order or not count or not time or count < 1 then
        return server.error_reply('ERR order, count and milliseconds are needed')
    end
    collect(keys)
    local held = server.call('HGET', keys[2], order)
    if held then
        return tonumber(held) -- asked twice: once is enough
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
    return take(keys, args[1])
end

-- ARGV: order. The number of tickets given back.
local function cancel(keys, args)
    local count = take(keys, args[1])
    server.call('INCRBY', keys[1], count)
    return count
end

-- How many could be reserved now. Changes nothing.
local function left(keys)
    local count = tonumber(server.call('GET', keys[1]) or 0)
    for _, order in ipairs(late(keys)) do
        count = count + tonumber(server.call('HGET', keys[2], order) or 0)
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
