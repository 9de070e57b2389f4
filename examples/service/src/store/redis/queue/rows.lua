-- The rules of the queue, for Redis: the same as `store/ledger`, function by function, and held against it by random operations
-- (`tests/store/model.rs`). One script of three files: the rows and sums here, `moves.lua`, `steps.lua`. A call takes any number of steps,
-- of different callers, each of which is atomic, since all are.
--
-- KEYS[1]   what every key begins with; its {tag} keeps them all in one slot of a cluster
-- ARGV[1]   the time in milliseconds, or empty: the server's; [2..11] the policy; then of each step: its name, how many arguments, those
--
-- Keys, after the beginning:
--   job:ID            the moving half of a job, packed; a field that is not there is none, zero, no, or empty
--   spec:ID           what was asked for, as text that is not looked at here
--   keys              idempotency key -> ID
--   all               IDs by number; status:CODE, group:NAME the same of a part. Of jobs with a worker there is none by status: they are few,
--                     and in `leased`
--   ready:QUEUE:LANE  IDs by priority, then number; delayed, leased, settled: IDs by time
--   leases:QUEUE      lane -> how many of its jobs are leased
--   turns:QUEUE       lanes that have something ready, and room for it, by turn
--   groups            group -> its settings, packed: what it asks for, what is pinned (both text), and the limit that follows
--   counts:GROUP      status -> how many; totals: the same of all groups
--   sequence, token, turn: the last number of a kind; stats:ENTITY instance -> time of its end, text
--   check             when somebody last asked whether all is well

local call, number = redis.call, tonumber
local FIRST = 12 -- of the steps
local PIECE = 500
local BLOCK = 17592186044416 -- 2^44: more than there are numbers of jobs; those of one priority lie in one block

local policy = {
    lease = number(ARGV[2]),
    callbacks = number(ARGV[3]),
    removals = number(ARGV[4]),
    deletion = number(ARGV[5]), -- nil: never
    delivered = number(ARGV[6]),
    dead = number(ARGV[7]),
    silent = number(ARGV[8]),
    waiting = number(ARGV[9]),
    losses = number(ARGV[10]),
    jobs = number(ARGV[11]),
}

local now = number(ARGV[1])
if not now then
    local time = call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local PREFIX = KEYS[1]
local JOB, SPEC = PREFIX .. 'job:', PREFIX .. 'spec:'
local function key(name) return PREFIX .. name end

-- Where attempts of a queue are counted.
local ATTEMPTS = { d = 'downloads', c = 'callbacks', r = 'removals' }

local function lane_of(job) return job.lane or job.group end

-- Names of orders, which are made once.
local TURNS = { d = 'turns:d', c = 'turns:c', r = 'turns:r' }
local STATUS = {} -- without those of jobs with a worker
for _, code in ipairs({ 'qn', 'wn', 'dn', 'dp', 'dv', 'dx', 'fn', 'fp', 'fv', 'fx', 'cn', 'cp', 'cv', 'cx' }) do
    STATUS[code] = 'status:' .. code
end

local function status(job)
    if not job.result then
        return job.spot == 'delayed' and 'wn' or job.spot == 'leased' and 'rn' or 'qn'
    end
    local callback = job.callback or 'n'
    if not job.callback and job.queue == 'c' then callback = job.spot == 'leased' and 'g' or 'p' end
    return job.result .. callback
end

-- What a call read and changed ----------------------------------------------------------------------------------------------------------
--
-- A command costs more than what it does: so what steps change is noted, and written with few commands, of one kind and key together, when
-- somebody looks there, or at the end of the call.

-- A command with many arguments, in pieces that Lua can hand over.
local function in_pieces(command, name, arguments, piece)
    for at = 1, #arguments, piece do
        local to = math.min(at + piece - 1, #arguments)
        if name then call(command, name, unpack(arguments, at, to)) else call(command, unpack(arguments, at, to)) end
    end
end

local jobs, changed = {}, {} -- ID -> job as it is now, or false; IDs of those to be written
local values = {} -- other keys with texts: what is to be written, or false: removed

local function take_up(id, packed) jobs[id] = packed and cmsgpack.unpack(packed) end

local function read(id)
    if jobs[id] == nil then take_up(id, call('GET', JOB .. id)) end
    return jobs[id]
end

-- Reads those at once that will be asked for.
local function prefetch(ids)
    local names, missing = {}, {}
    for _, id in ipairs(ids) do
        if jobs[id] == nil then
            missing[#missing + 1], names[#names + 1] = id, JOB .. id
            jobs[id] = false
        end
    end
    for at = 1, #names, 1000 do
        local found = call('MGET', unpack(names, at, math.min(at + 999, #names)))
        for offset, packed in ipairs(found) do take_up(missing[at + offset - 1], packed) end
    end
end

-- The specifications of these jobs.
local function specs_of(ids)
    local texts, names, places = {}, {}, {}
    for at, id in ipairs(ids) do
        local name = SPEC .. id
        texts[at] = values[name] or false
        if not texts[at] then names[#names + 1], places[#places + 1] = name, at end
    end
    for at = 1, #names, 1000 do
        local found = call('MGET', unpack(names, at, math.min(at + 999, #names)))
        for offset, text in ipairs(found) do texts[places[at + offset - 1]] = text end
    end
    return texts
end

local function write_values()
    local written, removed = {}, {}
    for id in pairs(changed) do
        local job = jobs[id]
        if job then
            written[#written + 1], written[#written + 2] = JOB .. id, cmsgpack.pack(job)
        else
            removed[#removed + 1] = JOB .. id
        end
    end
    for name, text in pairs(values) do
        if text then
            written[#written + 1], written[#written + 2] = name, text
        else
            removed[#removed + 1] = name
        end
    end
    changed, values = {}, {}
    in_pieces('MSET', nil, written, 1000)
    in_pieces('DEL', nil, removed, 1000)
end

local orders = {} -- order -> ID -> its place, or false: it leaves

local function put(order, at, id)
    local changes = orders[order]
    if not changes then
        changes = {}
        orders[order] = changes
    end
    changes[id] = at
end

local function drop(order, id) put(order, false, id) end

local function write_order(order)
    local changes = orders[order]
    if not changes then return end
    orders[order] = nil
    local name = PREFIX .. order
    local id, at = next(changes)
    if not next(changes, id) then
        if at then call('ZADD', name, at, id) else call('ZREM', name, id) end
        return
    end
    local added, removed, last_added, last_removed = {}, {}, 0, 0
    for id, at in pairs(changes) do
        if at then
            added[last_added + 1], added[last_added + 2] = at, id
            last_added = last_added + 2
        else
            last_removed = last_removed + 1
            removed[last_removed] = id
        end
    end
    in_pieces('ZREM', name, removed, 1000)
    in_pieces('ZADD', name, added, 1000)
end

-- The first in an order by time or number.
local function first(order)
    write_order(order)
    local found = call('ZRANGE', key(order), 0, 0, 'WITHSCORES')
    return found[1], number(found[2])
end

local numbers = {}

local function next_number(name)
    numbers[name] = (numbers[name] or number(call('GET', key(name)) or 0)) + 1
    return numbers[name]
end

local counts, totals = {}, {} -- group -> status -> how many more; the same of all groups
local all -- how many jobs there are

local function count_all(more)
    all = (all or call('ZCARD', key('all'))) + more
    return all
end

local function count(group, code, by)
    local more = counts[group]
    if not more then
        more = {}
        counts[group] = more
    end
    more[code] = (more[code] or 0) + by
end

local function write_sums(name, sums)
    for code, by in pairs(sums) do
        if by ~= 0 and call('HINCRBY', name, code, by) == 0 then call('HDEL', name, code) end
    end
end

local function write_counts(group)
    local more = counts[group] or {}
    write_sums(key('counts:' .. group), more)
    for code, by in pairs(more) do totals[code] = (totals[code] or 0) + by end
    counts[group] = nil
end

local groups = {}

-- What a group asks for and what is pinned of it, as text, and the limit that follows from both.
local function group_of(name)
    local group = groups[name]
    if not group then
        local packed = call('HGET', key('groups'), name)
        group = packed and cmsgpack.unpack(packed) or { limit = 1 }
        groups[name] = group
    end
    return group
end

local function forget_group(name)
    write_counts(name)
    if call('EXISTS', key('counts:' .. name)) == 0 and not group_of(name).pinned then
        call('HDEL', key('groups'), name)
        groups[name] = nil
    end
end

-- Lanes ---------------------------------------------------------------------------------------------------------------------------------

local news, quiet = {}, false -- queues in which a lane got a turn, or something is due before all else
local lanes, lines = { d = {}, c = {}, r = {} }, {}
local MOST_TURNS = 64 -- that are read at once

-- How much is ready in a lane, how much of it is leased, and which turn it has, or false.
local function lane(queue, name)
    local found = lanes[queue][name]
    if not found then
        local order = 'ready:' .. queue .. ':' .. name
        found = {
            queue = queue,
            name = name,
            order = order,
            ready = call('ZCARD', key(order)),
            leases = number(call('HGET', key('leases:' .. queue), name) or 0),
            turn = number(call('ZSCORE', key(TURNS[queue]), name) or nil) or false,
        }
        lanes[queue][name] = found
    end
    return found
end

local function limit(queue, name)
    if queue == 'd' then return group_of(name).limit end
    return queue == 'c' and policy.callbacks or policy.removals
end

local function refresh(queue, name)
    local lane = lane(queue, name)
    local eligible = lane.ready > 0 and lane.leases < limit(queue, name)
    if eligible == (lane.turn ~= false) then return end
    if not eligible then
        lane.turn = false
        drop(TURNS[queue], name)
        return
    end
    lane.turn = next_number('turn')
    put(TURNS[queue], lane.turn, name)
    local line = lines[queue]
    if line and line.whole then line[#line + 1] = { name, lane.turn } end
    if not quiet then news[queue] = true end
end

local function line_of(queue)
    local line = lines[queue]
    if line and (line.whole or line.at <= #line) then return line end
    write_order(TURNS[queue])
    local found = call('ZRANGE', key(TURNS[queue]), 0, MOST_TURNS - 1, 'WITHSCORES')
    line = { at = 1, whole = #found < 2 * MOST_TURNS }
    for at = 1, #found, 2 do line[#line + 1] = { found[at], number(found[at + 1]) } end
    lines[queue] = line
    return line
end

-- The lane whose turn it is, or the one that was asked for if it has a turn. It loses the turn.
local function take_turn(queue, only)
    local taken
    if only then
        taken = lane(queue, only)
        if not taken.turn then return nil end
    else
        repeat
            local line = line_of(queue)
            local turn = line[line.at]
            if not turn then return nil end
            line.at = line.at + 1
            taken = lane(queue, turn[1])
        until taken.turn == turn[2] -- or it lost it since the line was read
    end
    taken.turn = false
    drop(TURNS[queue], taken.name)
    return taken
end

-- The next ready job of a lane, which is taken out of it; `change` is told by `before.taken`.
local function take_head(lane, wanted)
    local heads = lane.heads
    if not heads or heads.at > #heads then
        write_order(lane.order)
        -- Others whose turn it is get their share.
        local line = lines[lane.queue]
        local share = line and math.ceil(wanted / (#line - line.at + 2)) or wanted
        local room = limit(lane.queue, lane.name) - lane.leases
        heads = call('ZRANGE', key(lane.order), 0, math.max(1, math.min(room, share)) - 1)
        heads.at = 1
        prefetch(heads)
        lane.heads = heads
    end
    heads.at = heads.at + 1
    return heads[heads.at - 1]
end

local function write_all()
    write_values()
    for order in pairs(orders) do write_order(order) end
    for name, last in pairs(numbers) do call('SET', key(name), last) end
    for name in pairs(counts) do write_counts(name) end
    write_sums(key('totals'), totals)
    totals = {}
    for queue, all_of_it in pairs(lanes) do
        for name, lane in pairs(all_of_it) do
            if lane.changed and lane.leases == 0 then
                call('HDEL', key('leases:' .. queue), name)
            elseif lane.changed then
                call('HSET', key('leases:' .. queue), name, lane.leases)
            end
            lane.changed = nil
        end
    end
end

-- Rows ----------------------------------------------------------------------------------------------------------------------------------

-- What the orders and sums know of a job.
local function marks(job)
    return { queue = job.queue, lane = lane_of(job), spot = job.spot, status = status(job) }
end

-- Orders by time in which nothing is due any more at this time; and what was put off.
local looked_at, put_off = {}, {}

local function leave(id, at, stays)
    if at.spot == 'ready' then
        local lane = lane(at.queue, at.lane)
        lane.ready = lane.ready - 1
        drop(lane.order, id)
        if not at.taken then lane.heads = nil end
    elseif not stays then
        drop(at.spot, id)
    end
    if at.spot == 'leased' then
        local lane = lane(at.queue, at.lane)
        lane.leases, lane.changed = lane.leases - 1, true
    end
end

local function arrive(id, job, name)
    local spot, time = job.spot, job.time
    if spot == 'ready' then
        local lane = lane(job.queue, name)
        lane.ready = lane.ready + 1
        put(lane.order, job.sequence - (job.priority or 0) * BLOCK, id)
        lane.heads = nil
        return
    end
    put(spot, time, id)
    if time <= now then looked_at[spot] = nil end
    if spot == 'leased' then
        local lane = lane(job.queue, name)
        lane.leases, lane.changed = lane.leases + 1, true
    elseif spot == 'delayed' then
        put_off[id] = true
    end
end

-- Notes a job as it is now, and keeps all orders and sums in step. `before` are its marks as they were, nil of a new one; `job` is nil when it
-- is forgotten.
local function change(id, before, job, group)
    jobs[id], changed[id] = job or false, true
    if before then leave(id, before, job and job.spot == before.spot) end
    local queue, name, code
    if job then
        queue, name, code = job.queue, lane_of(job), status(job)
        arrive(id, job, name)
    end
    local was = before and before.status
    if was ~= code then
        if was then
            if STATUS[was] then drop(STATUS[was], id) end
            count(group, was, -1)
        end
        if code then
            if STATUS[code] then put(STATUS[code], job.sequence, id) end
            count(group, code, 1)
        end
    end
    if before and before.queue then refresh(before.queue, before.lane) end
    if queue and not (before and before.queue == queue and before.lane == name) then refresh(queue, name) end
    if not job then forget_group(group) end
end

local function insert(id, job, spec)
    values[SPEC .. id] = spec
    if job.key then call('HSET', key('keys'), job.key, id) end
    put('all', job.sequence, id)
    put('group:' .. job.group, job.sequence, id)
    count_all(1)
    change(id, nil, job, job.group)
end

local function remove(id, job)
    values[SPEC .. id] = false
    if job.key then call('HDEL', key('keys'), job.key) end
    drop('all', id)
    drop('group:' .. job.group, id)
    count_all(-1)
    change(id, marks(job), nil, job.group)
end

