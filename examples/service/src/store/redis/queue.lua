-- The rules of the queue, for Redis: the same as `store/ledger`, function by function, and held against it by random operations
-- (`tests/store/model.rs`). Each call is one atomic step.
--
-- KEYS[1]   what every key begins with; its {tag} keeps them all in one slot of a cluster
-- ARGV[1]   the step; [2] the time in milliseconds, or empty: the server's; [3..12] the policy; [13..] what the step needs
--
-- Keys, after the beginning:
--   job:ID            the moving half of a job, packed; a field that is not there is none, zero, no, or empty
--   spec:ID           what was asked for, as text that is not looked at here
--   keys              idempotency key -> ID
--   all               IDs by number; status:CODE, group:NAME the same of a part
--   ready:QUEUE:LANE  IDs by priority, then number; delayed, leased, settled: IDs by time
--   leases:QUEUE      lane -> how many of its jobs are leased
--   turns:QUEUE       lanes that have something ready, and room for it, by turn
--   asked, pinned     group -> settings as text; limits: group -> what follows from both
--   counts:GROUP      status -> how many
--   sequence, token, turn: the last number of a kind; stats:ENTITY instance -> time of its end, text
--   check             when somebody last asked whether all is well

local call, number = redis.call, tonumber
local step = ARGV[1]
local FIRST = 13 -- of the step's own arguments
local PIECE = 500

local policy = {
    lease = number(ARGV[3]),
    callbacks = number(ARGV[4]),
    removals = number(ARGV[5]),
    deletion = number(ARGV[6]), -- nil: never
    delivered = number(ARGV[7]),
    dead = number(ARGV[8]),
    silent = number(ARGV[9]),
    waiting = number(ARGV[10]),
    losses = number(ARGV[11]),
    jobs = number(ARGV[12]),
}

local now = number(ARGV[2])
if not now then
    local time = call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function key(name) return KEYS[1] .. name end

-- Where attempts of a queue are counted.
local ATTEMPTS = { d = 'downloads', c = 'callbacks', r = 'removals' }

local function read(id)
    local packed = call('GET', key('job:' .. id))
    return packed and cmsgpack.unpack(packed)
end

local function lane_of(job) return job.lane or job.group end

local function status(job)
    if not job.result then
        return job.spot == 'delayed' and 'wn' or job.spot == 'leased' and 'rn' or 'qn'
    end
    local callback = job.callback or 'n'
    if not job.callback and job.queue == 'c' then callback = job.spot == 'leased' and 'g' or 'p' end
    return job.result .. callback
end

-- Lanes ---------------------------------------------------------------------------------------------------------------------------------

local news, quiet = {}, false -- queues in which a lane got a turn, or something is due before all else

local function limit(queue, lane)
    if queue == 'd' then return number(call('HGET', key('limits'), lane) or 1) end
    return queue == 'c' and policy.callbacks or policy.removals
end

local function refresh(queue, lane)
    local turns = key('turns:' .. queue)
    local eligible = call('EXISTS', key('ready:' .. queue .. ':' .. lane)) == 1
        and number(call('HGET', key('leases:' .. queue), lane) or 0) < limit(queue, lane)
    if not eligible then
        call('ZREM', turns, lane)
    elseif not call('ZSCORE', turns, lane) then
        call('ZADD', turns, call('INCR', key('turn')), lane)
        if not quiet then news[queue] = true end
    end
end

-- The lane whose turn it is, or the one that was asked for if it has a turn. It loses the turn.
local function take_turn(queue, only)
    local lane = only or call('ZRANGE', key('turns:' .. queue), 0, 0)[1]
    return lane and call('ZREM', key('turns:' .. queue), lane) == 1 and lane
end

-- Rows ----------------------------------------------------------------------------------------------------------------------------------

local function count(name, field, by)
    if call('HINCRBY', name, field, by) == 0 then call('HDEL', name, field) end
end

-- What the orders and sums know of a job.
local function marks(job)
    return { queue = job.queue, lane = lane_of(job), spot = job.spot, time = job.time, status = status(job) }
end

local function forget_group(group)
    if call('EXISTS', key('counts:' .. group)) == 0 and call('HEXISTS', key('pinned'), group) == 0 then
        call('HDEL', key('asked'), group)
        call('HDEL', key('limits'), group)
    end
end

-- Writes a job, and keeps all orders and sums in step. `before` are its marks as they were, nil of a new one; `job` is nil when it is forgotten.
local function change(id, before, job, group)
    local after = job and marks(job)
    if job then call('SET', key('job:' .. id), cmsgpack.pack(job)) end
    if before then
        if before.spot == 'ready' then
            call('ZREM', key('ready:' .. before.queue .. ':' .. before.lane), id)
        elseif not after or after.spot ~= before.spot then
            call('ZREM', key(before.spot), id)
        end
        if before.spot == 'leased' then count(key('leases:' .. before.queue), before.lane, -1) end
    end
    if after then
        if after.spot == 'ready' then
            local turn = job.sequence - (job.priority or 0) * 17592186044416 -- 2^44
            call('ZADD', key('ready:' .. after.queue .. ':' .. after.lane), turn, id)
        else
            call('ZADD', key(after.spot), after.time, id)
            -- A claim of any queue tells when the first is due, whichever its queue is: whoever waits, waits for the wrong time.
            if after.spot == 'delayed' and call('ZRANGE', key('delayed'), 0, 0)[1] == id then
                news.d, news.c, news.r = true, true, true
            end
        end
        if after.spot == 'leased' then count(key('leases:' .. after.queue), after.lane, 1) end
    end
    if not before or not after or before.status ~= after.status then
        if before then
            call('ZREM', key('status:' .. before.status), id)
            count(key('counts:' .. group), before.status, -1)
        end
        if after then
            call('ZADD', key('status:' .. after.status), job.sequence, id)
            count(key('counts:' .. group), after.status, 1)
        end
    end
    if before and before.queue then refresh(before.queue, before.lane) end
    if after and after.queue and not (before and before.queue == after.queue and before.lane == after.lane) then
        refresh(after.queue, after.lane)
    end
    if not after then forget_group(group) end
end

local function insert(id, job, spec)
    call('SET', key('spec:' .. id), spec)
    if job.key then call('HSET', key('keys'), job.key, id) end
    call('ZADD', key('all'), job.sequence, id)
    call('ZADD', key('group:' .. job.group), job.sequence, id)
    change(id, nil, job, job.group)
end

local function remove(id, job)
    call('DEL', key('job:' .. id), key('spec:' .. id))
    if job.key then call('HDEL', key('keys'), job.key) end
    call('ZREM', key('all'), id)
    call('ZREM', key('group:' .. job.group), id)
    change(id, marks(job), nil, job.group)
end

-- The first in an order by time.
local function first(order)
    local found = call('ZRANGE', key(order), 0, 0, 'WITHSCORES')
    return found[1], number(found[2])
end

-- Moves: one job from place to place ----------------------------------------------------------------------------------------------------

local function place(job, queue, spot, time)
    job.queue, job.spot, job.time, job.token, job.worker = queue, spot, time, nil, nil
end

local function enter(job, queue, spot, time)
    if queue == 'c' then
        job.lane = nil
    elseif queue == 'r' and job.site then
        job.lane = job.site
    end
    job[ATTEMPTS[queue]], job.losses = nil, nil
    place(job, queue, spot, time)
end

local function text(value) return value ~= '' and value or nil end

-- An ending is { result, text of the ending, error, site }.
local function finish(job, ending)
    job.result, job.ended, job.ending = ending.result, now, ending.text
    job.error, job.site = text(ending.error), ending.site
    job.done, job.total = nil, nil
    local notify = job.notify or 0
    local told
    if job.result == 'd' then told = notify % 2 == 1 else told = notify >= 2 end
    if told then enter(job, 'c', 'ready') else place(job, nil, 'settled', now + policy.silent) end
end

local function failure(result, error)
    return { result = result, error = error, text = cjson.encode({ success = false, error = error, response_code = 0 }) }
end

local function cancelled() return failure('c', 'cancelled') end

local function called_back(job, callback)
    job.callback = callback
    if callback == 'x' then
        place(job, nil, 'settled', now + policy.dead)
        return
    end
    job.error = nil
    if policy.deletion and job.site then
        enter(job, 'r', 'delayed', now + policy.deletion)
    else
        place(job, nil, 'settled', now + policy.delivered)
    end
end

-- What the holder of the lease says.
local function settle(job, queue, said)
    job.settled = job.token or job.settled
    job.done, job.total = nil, nil
    if said.counted then job[ATTEMPTS[queue]] = (job[ATTEMPTS[queue]] or 0) + 1 end
    job.losses = nil
    if job.cancelled and queue == 'd' and not (said.kind == 'downloaded' and said.ending.result == 'd') then
        finish(job, cancelled())
    elseif said.kind == 'downloaded' then
        finish(job, said.ending)
    elseif said.kind == 'delivered' then
        called_back(job, 'v')
    elseif said.kind == 'undeliverable' then
        job.error = text(said.reason)
        called_back(job, 'x')
    elseif said.kind == 'removed' then
        job.site = nil
        place(job, nil, 'settled', now + policy.delivered)
    elseif said.kind == 'again' then
        job.error = text(said.reason)
        if said.delay == 0 then place(job, queue, 'ready') else place(job, queue, 'delayed', now + said.delay) end
    else
        place(job, queue, 'ready')
    end
end

-- The lease ended by itself: its holder was lost.
local function lose(job, queue)
    job.losses = (job.losses or 0) + 1
    job.done, job.total = nil, nil
    local lost = 'the worker was lost ' .. job.losses .. ' times'
    if queue == 'd' and job.cancelled then
        finish(job, cancelled())
    elseif queue == 'd' and job.losses > policy.losses then
        finish(job, failure('f', lost))
    elseif queue == 'c' and job.losses > policy.losses then
        job.error = lost
        called_back(job, 'x')
    else
        place(job, queue, 'ready')
    end
end

local function overdue(job)
    finish(job, failure('f', 'not downloaded within ' .. math.floor(policy.waiting / 1000) .. ' s'))
end

-- The time of its record is over. Is it to be forgotten? If not, its file is to be removed first.
local function outlived(job)
    if not job.site or not policy.deletion then return true end
    enter(job, 'r', 'ready')
    return false
end

-- Steps ---------------------------------------------------------------------------------------------------------------------------------

-- Goes through what `find` finds until `move` says that it did nothing. Did it stop because that was enough for once?
local function each(find, move)
    for _ = 1, PIECE do
        local id, time = find()
        if not id then return false end
        local job = read(id)
        local before = marks(job)
        local moved = move(job, time, id)
        if moved == nil then return false end
        if moved then change(id, before, job, job.group) end
    end
    return true
end

local function take_back()
    return each(function() return first('leased') end, function(job, time)
        if time > now then return nil end
        lose(job, job.queue)
        return true
    end)
end

local function bring_forward()
    return each(function() return first('delayed') end, function(job, time)
        if time > now then return nil end
        place(job, job.queue, 'ready')
        return true
    end)
end

-- The job if this lease of it is held now.
local function held(id, queue, token)
    local job = read(id)
    local holds = job and job.spot == 'leased' and job.queue == queue and job.token == token and job.time > now
    return holds and job, job
end

local function effective_limit(group)
    local pinned = call('HGET', key('pinned'), group)
    local chosen = pinned and cjson.decode(pinned).limit
    return chosen or cjson.decode(call('HGET', key('asked'), group)).limit
end

local function ask_of_group(group, asked)
    local before = call('HGET', key('asked'), group)
    if before == asked then return end
    call('HSET', key('asked'), group, asked)
    call('HSET', key('limits'), group, effective_limit(group))
    if before then refresh('d', group) end
end

-- All fields of a job, in the order in which `reply.rs` reads them.
local function whole(id, job)
    return {
        id, job.sequence, job.group, lane_of(job), job.priority or 0, job.notify or 0, job.key or false, job.fingerprint,
        job.created, job.queue or false, job.spot, job.time or 0, job.token or 0, job.worker or '', job.result or false,
        job.callback or false, job.downloads or 0, job.callbacks or 0, job.removals or 0, job.losses or 0,
        job.settled or 0, job.cancelled and 1 or 0, job.error or '', job.ending or false, job.site or false,
        job.done or false, job.total or false, job.ended or false,
    }
end

local steps = {}

-- For each job: id, specification, group, priority, whom to notify, idempotency key, fingerprint, settings of the group.
function steps.submit()
    local answers = {}
    for at = FIRST, #ARGV, 8 do
        local id, spec, group, priority, notify, idempotency, fingerprint, asked = unpack(ARGV, at, at + 7)
        local there = read(id)
        local known = not there and idempotency ~= '' and call('HGET', key('keys'), idempotency)
        local answer
        if there then
            answer = there.fingerprint == fingerprint and 'accepted' or 'id-taken'
        elseif known then
            local other = read(known)
            answer = (other and other.fingerprint == fingerprint and 'known ' or 'key-taken ') .. known
        elseif call('ZCARD', key('all')) >= policy.jobs then
            answer = 'full'
        else
            ask_of_group(group, asked)
            insert(id, {
                sequence = call('INCR', key('sequence')),
                group = group,
                priority = priority ~= '0' and number(priority) or nil,
                notify = notify ~= '0' and number(notify) or nil,
                key = text(idempotency),
                fingerprint = fingerprint,
                created = now,
                queue = 'd',
                spot = 'ready',
            }, spec)
            answer = 'accepted'
        end
        answers[#answers + 1] = answer
    end
    return answers
end

-- Queue, worker, how many, 1 if of one lane only, that lane.
function steps.claim()
    local queue, worker, most, chosen, lane = unpack(ARGV, FIRST, FIRST + 4)
    local only = chosen == '1' and lane or nil
    take_back()
    bring_forward()
    quiet = true -- a lane that is claimed from only goes to the end of the line
    local work = {}
    while #work < number(most) do
        lane = take_turn(queue, only)
        if not lane then break end
        local id = call('ZRANGE', key('ready:' .. queue .. ':' .. lane), 0, 0)[1]
        if not id then return redis.error_reply('BROKEN a lane has a turn, but no job') end
        local job = read(id)
        local before = marks(job)
        place(job, queue, 'leased', now + policy.lease)
        job.token, job.worker = call('INCR', key('token')), worker
        change(id, before, job, job.group)
        work[#work + 1] = {
            id, job.token, call('GET', key('spec:' .. id)), call('HGET', key('asked'), job.group),
            call('HGET', key('pinned'), job.group), job[ATTEMPTS[queue]] or 0, job.ending or false,
        }
    end
    local _, delayed = first('delayed')
    local _, leased = first('leased')
    local soonest = math.min(delayed or math.huge, leased or math.huge)
    return { soonest < math.huge and math.max(soonest - now, 0) or false, work }
end

-- For each lease: id, queue, token, bytes done or empty, bytes in all or empty.
function steps.renew()
    local answers = {}
    for at = FIRST, #ARGV, 5 do
        local id, queue, token, done, total = unpack(ARGV, at, at + 4)
        local job = held(id, queue, number(token))
        local answer = 'lost'
        if job then
            local before = marks(job)
            job.time = now + policy.lease
            if done ~= '' then job.done, job.total = number(done), number(total) end
            change(id, before, job, job.group)
            answer = job.cancelled and queue == 'd' and 'cancelled' or 'held'
        end
        answers[#answers + 1] = answer
    end
    return answers
end

-- For each lease: id, queue, token, kind, 1 if it counts, reason or error, delay; result, text and site (1 and it, or 0) of an ending.
function steps.settle()
    local answers = {}
    for at = FIRST, #ARGV, 11 do
        local id, queue, token, kind, counted, reason, delay, result, ending, has_site, site = unpack(ARGV, at, at + 10)
        local job, there = held(id, queue, number(token))
        if job then
            local before = marks(job)
            settle(job, queue, {
                kind = kind,
                counted = counted == '1',
                reason = reason,
                delay = number(delay),
                ending = { result = result, text = ending, error = reason, site = has_site == '1' and site or nil },
            })
            change(id, before, job, job.group)
            answers[#answers + 1] = 1
        else
            answers[#answers + 1] = there and there.settled == number(token) and 1 or 0
        end
    end
    return answers
end

-- Worker.
function steps.recover()
    local recovered = 0
    for _, id in ipairs(call('ZRANGE', key('leased'), 0, -1)) do
        local job = read(id)
        if job.worker == ARGV[FIRST] then
            local before, settled = marks(job), job.settled
            settle(job, job.queue, { kind = 'released' })
            job.settled = settled -- its holder said nothing: should it still be there, it is refused
            change(id, before, job, job.group)
            recovered = recovered + 1
        end
    end
    return recovered
end

-- Id.
function steps.cancel()
    local id = ARGV[FIRST]
    local job = read(id)
    if not job then return 'unknown' end
    if job.queue ~= 'd' then return 'too-late' end
    local before = marks(job)
    job.cancelled = true
    local answer = 'requested'
    if job.spot == 'leased' then
        call('PUBLISH', key('cancelled'), id)
    else
        finish(job, cancelled())
        answer = 'cancelled'
    end
    change(id, before, job, job.group)
    return answer
end

-- Id.
function steps.replay()
    local id = ARGV[FIRST]
    local job = read(id)
    if not job then return 'unknown' end
    if job.callback ~= 'x' or job.queue then return 'not-dead' end
    local before = marks(job)
    job.callback, job.error = nil, nil
    enter(job, 'c', 'ready')
    change(id, before, job, job.group)
    return 'queued'
end

-- Id.
function steps.job()
    local id = ARGV[FIRST]
    local job = read(id)
    return job and { whole(id, job), call('GET', key('spec:' .. id)) } or false
end

-- The number before which to look, how many at most, and the names of orders. Of each: the jobs, the newest first, without their specifications.
function steps.scan()
    local before, most = ARGV[FIRST], ARGV[FIRST + 1]
    local found = {}
    for at = FIRST + 2, #ARGV do
        local ids = call('ZRANGE', key(ARGV[at]), '(' .. before, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, most)
        for _, id in ipairs(ids) do found[#found + 1] = whole(id, read(id)) end
    end
    return found
end

-- Codes of statuses.
function steps.counts()
    local counts = {}
    for at = FIRST, #ARGV do counts[#counts + 1] = call('ZCARD', key('status:' .. ARGV[at])) end
    return counts
end

local function group_view(group)
    return { group, call('HGET', key('asked'), group), call('HGET', key('pinned'), group), call('HGETALL', key('counts:' .. group)) }
end

function steps.groups()
    local groups = {}
    for _, group in ipairs(call('HKEYS', key('asked'))) do groups[#groups + 1] = group_view(group) end
    return groups
end

-- Group, what is pinned (empty: nothing), what it asks for if it is new (empty: nothing, and it is not made).
function steps.configure()
    local group, pinned, asked = unpack(ARGV, FIRST, FIRST + 2)
    if call('HEXISTS', key('asked'), group) == 0 then
        if asked == '' then return false end
        call('HSET', key('asked'), group, asked)
    end
    if pinned == '' then call('HDEL', key('pinned'), group) else call('HSET', key('pinned'), group, pinned) end
    call('HSET', key('limits'), group, effective_limit(group))
    local view = group_view(group)
    refresh('d', group)
    forget_group(group)
    return view
end

local function stats_of(entity)
    local name, kept = key('stats:' .. entity), {}
    local all = call('HGETALL', name)
    for at = 1, #all, 2 do
        local ends, json = string.match(all[at + 1], '^(%d+) (.*)$')
        if number(ends) > now then
            kept[#kept + 1] = { all[at], json }
        else
            call('HDEL', name, all[at])
        end
    end
    return kept
end

-- Entity, instance, text, for how long.
function steps.put_stats()
    local entity, instance, json, keep = unpack(ARGV, FIRST, FIRST + 3)
    stats_of(entity) -- forgets what is over, for nobody may ever ask
    call('HSET', key('stats:' .. entity), instance, string.format('%.0f %s', now + number(keep), json))
    return 1
end

-- Entity.
function steps.stats() return stats_of(ARGV[FIRST]) end

function steps.sweep()
    local back, forward = take_back(), bring_forward()
    local more = back or forward
    for _, code in ipairs({ 'qn', 'wn' }) do
        local left = each(function() return first('status:' .. code) end, function(job)
            if job.created + policy.waiting > now then return nil end
            overdue(job)
            return true
        end)
        more = left or more
    end
    local left = each(function() return first('settled') end, function(job, time, id)
        if time > now then return nil end
        if not outlived(job) then return true end
        remove(id, job)
        return false
    end)
    return (left or more) and 1 or 0
end

-- Writes: a server that is full, or cannot write its file, would let itself be read.
function steps.check()
    call('SET', key('check'), now)
    return 1
end

local answer = steps[step]()
for queue in pairs(news) do call('PUBLISH', key('wakes'), queue) end
return answer
