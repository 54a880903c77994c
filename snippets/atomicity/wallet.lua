#!lua name=wallet

local function balance(keys)
    return tonumber(server.call('GET', keys[1]) or 0)
end

local function pay(keys, args)
    if balance(keys) < tonumber(args[1]) then
        return server.error_reply('NOFUNDS not enough coins')
    end
    return server.call('DECRBY', keys[1], args[1])
end

server.register_function('pay', pay)
server.register_function {
    function_name = 'balance',
    callback = balance,
    flags = { 'no-writes' },
}
