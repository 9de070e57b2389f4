-- The steps of the contract: what a caller asks for, as changes of jobs. The same functions as in `store/ledger/steps.rs`; each takes where
-- in ARGV its arguments begin and end.

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

-- What is due in an order by time, unless an earlier step of the call found that nothing is.
local function due(order, move)
    if looked_at[order] then return false end
    local more = each(function() return first(order) end, function(job, time)
        if time > now then return nil end
        move(job)
        return true
    end)
    looked_at[order] = not more
    return more
end

local function take_back()
    return due('leased', function(job) lose(job, job.queue) end)
end

local function bring_forward()
    return due('delayed', function(job) place(job, job.queue, 'ready') end)
end

-- The job if this lease of it is held now.
local function held(id, queue, token)
    local job = read(id)
    local holds = job and job.spot == 'leased' and job.queue == queue and job.token == token and job.time > now
    return holds and job, job
end

-- Writes the settings of a group, with the limit that follows.
local function write_settings(name, group)
    local pinned = group.pinned and cjson.decode(group.pinned).limit
    group.limit = pinned or cjson.decode(group.asked).limit
    call('HSET', key('groups'), name, cmsgpack.pack(group))
end

local function ask_of_group(name, asked)
    local group = group_of(name)
    local before = group.asked
    if before == asked then return end
    group.asked = asked
    write_settings(name, group)
    if before then refresh('d', name) end
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

-- Answers to claims, which are told in the end when something is due next.
local claims = {}

local steps = {}

-- For each job: id, specification, group, priority, whom to notify, idempotency key, fingerprint, settings of the group.
function steps.submit(from, to)
    local answers = {}
    for at = from, to, 8 do
        local id, spec, group, priority, notify, idempotency, fingerprint, asked = unpack(ARGV, at, at + 7)
        local there = read(id)
        local known = not there and idempotency ~= '' and call('HGET', key('keys'), idempotency)
        local answer
        if there then
            answer = there.fingerprint == fingerprint and 'accepted' or 'id-taken'
        elseif known then
            local other = read(known)
            answer = (other and other.fingerprint == fingerprint and 'known ' or 'key-taken ') .. known
        elseif count_all(0) >= policy.jobs then
            answer = 'full'
        else
            ask_of_group(group, asked)
            insert(id, {
                sequence = next_number('sequence'),
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
function steps.claim(from)
    local queue, worker, most, chosen, only = unpack(ARGV, from, from + 4)
    take_back()
    bring_forward()
    quiet = true -- a lane that is claimed from only goes to the end of the line
    local work, ids = {}, {}
    while #work < number(most) do
        local lane = take_turn(queue, chosen == '1' and only)
        if not lane then break end
        local id = take_head(lane, most - #work)
        if not id then error({ err = 'BROKEN a lane has a turn, but no job' }) end
        local job = read(id)
        local before = marks(job)
        before.taken = true
        place(job, queue, 'leased', now + policy.lease)
        job.token, job.worker = next_number('token'), worker
        change(id, before, job, job.group)
        local group = group_of(job.group)
        ids[#ids + 1] = id
        work[#work + 1] = {
            id, job.token, false, group.asked, group.pinned or false, job[ATTEMPTS[queue]] or 0, job.ending or false,
        }
    end
    for at, spec in ipairs(specs_of(ids)) do work[at][3] = spec end
    local answer = { false, work }
    claims[#claims + 1] = answer
    return answer
end

-- For each lease: id, queue, token, bytes done or empty, bytes in all or empty.
function steps.renew(from, to)
    local answers = {}
    for at = from, to, 5 do
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
function steps.settle(from, to)
    local answers = {}
    for at = from, to, 11 do
        local id, queue, token, kind, counted, reason, delay, result, ending, has_site, site = unpack(ARGV, at, at + 10)
        local job, there = held(id, queue, number(token))
        if job then
            local before = marks(job)
            site = has_site == '1' and site or nil
            settle(job, queue, kind, counted == '1', reason, number(delay), result, ending, site)
            change(id, before, job, job.group)
            answers[#answers + 1] = 1
        else
            answers[#answers + 1] = there and there.settled == number(token) and 1 or 0
        end
    end
    return answers
end

-- Worker.
function steps.recover(from)
    local recovered = 0
    write_order('leased')
    for _, id in ipairs(call('ZRANGE', key('leased'), 0, -1)) do
        local job = read(id)
        if job.worker == ARGV[from] then
            local before, settled = marks(job), job.settled
            settle(job, job.queue, 'released')
            job.settled = settled -- its holder said nothing: should it still be there, it is refused
            change(id, before, job, job.group)
            recovered = recovered + 1
        end
    end
    return recovered
end

-- Id.
function steps.cancel(from)
    local id = ARGV[from]
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
function steps.replay(from)
    local id = ARGV[from]
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
function steps.job(from)
    local id = ARGV[from]
    local job = read(id)
    return job and { whole(id, job), specs_of({ id })[1] } or false
end

-- The jobs of a status that have a worker and a number before this one, the newest first.
local function with_worker(code, before, most)
    local found = call('ZRANGE', key('leased'), 0, -1)
    prefetch(found)
    local ids = {}
    for _, id in ipairs(found) do
        if status(read(id)) == code and read(id).sequence < before then ids[#ids + 1] = id end
    end
    table.sort(ids, function(one, other) return read(one).sequence > read(other).sequence end)
    for at = #ids, most + 1, -1 do ids[at] = nil end
    return ids
end

-- The number before which to look (empty: any), how many at most of each, and the names of orders by number, or of statuses after a `+`. Of
-- each: the jobs, the newest first, without their specifications.
function steps.scan(from, to)
    local before, most = number(ARGV[from]) or math.huge, number(ARGV[from + 1])
    local found = {}
    write_all()
    for at = from + 2, to do
        local code, ids = string.match(ARGV[at], '^%+(.*)$')
        local order = not code and ARGV[at] or STATUS[code]
        if order then
            ids = call('ZRANGE', key(order), before < math.huge and '(' .. ARGV[from] or '+inf', '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, most)
        else
            ids = with_worker(code, before, most)
        end
        prefetch(ids)
        for _, id in ipairs(ids) do found[#found + 1] = whole(id, read(id)) end
    end
    return found
end

-- Codes of statuses, and how many jobs have each.
function steps.counts()
    write_all()
    return call('HGETALL', key('totals'))
end

local function group_view(name)
    write_counts(name)
    local group = group_of(name)
    return { name, group.asked, group.pinned or false, call('HGETALL', key('counts:' .. name)) }
end

function steps.groups()
    local all = {}
    for _, name in ipairs(call('HKEYS', key('groups'))) do all[#all + 1] = group_view(name) end
    return all
end

-- Group; limit, proxy, each after a letter: p to pin it, u to unpin it, or nothing to leave it; what the group asks for if it is new (empty:
-- nothing, and it is not made).
function steps.configure(from)
    local name, limit_said, chosen, proxy_said, proxy, asked = unpack(ARGV, from, from + 5)
    local group = group_of(name)
    if not group.asked then
        if asked == '' then return false end
        group.asked = asked
    end
    local pinned = group.pinned and cjson.decode(group.pinned) or {}
    if limit_said ~= '' then pinned.limit = limit_said == 'p' and number(chosen) or nil end
    if proxy_said ~= '' then pinned.proxy = proxy_said == 'p' and proxy or nil end
    group.pinned = next(pinned) and cjson.encode(pinned) or nil
    write_settings(name, group)
    local view = group_view(name)
    refresh('d', name)
    forget_group(name)
    return view
end

-- The ready job of a lane that was taken in first, and when: one look for each priority that there is.
local function oldest(queue, name)
    local ready, from, found, number_of_found = key('ready:' .. queue .. ':' .. name), '-inf', nil, math.huge
    while true do
        local head = call('ZRANGE', ready, from, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
        if not head[1] then break end
        local turn = number(head[2])
        local block = math.floor(turn / BLOCK)
        if turn - block * BLOCK < number_of_found then
            found, number_of_found = head[1], turn - block * BLOCK
        end
        from = string.format('%.0f', (block + 1) * BLOCK)
    end
    return found and read(found).created
end

-- Of each lane that has something ready: queue, name, how long ago the oldest of it was taken in. Such a lane has a turn, or no room.
function steps.oldest()
    local all = {}
    write_all()
    for queue in pairs(ATTEMPTS) do
        local seen = {}
        for _, names in ipairs({ call('ZRANGE', key('turns:' .. queue), 0, -1), call('HKEYS', key('leases:' .. queue)) }) do
            for _, name in ipairs(names) do
                local created = not seen[name] and oldest(queue, name)
                seen[name] = true
                if created then all[#all + 1] = { queue, name, math.max(now - created, 0) } end
            end
        end
    end
    return all
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
function steps.put_stats(from)
    local entity, instance, json, keep = unpack(ARGV, from, from + 3)
    stats_of(entity) -- forgets what is over, for nobody may ever ask
    call('HSET', key('stats:' .. entity), instance, string.format('%.0f %s', now + number(keep), json))
    return 1
end

-- Entity.
function steps.stats(from) return stats_of(ARGV[from]) end

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

-- Jobs that the steps of a call name are read at once: how many arguments apart they are.
local NAMED = { submit = 8, renew = 5, settle = 11 }

local named, at = {}, FIRST
while ARGV[at] do
    local apart, from = NAMED[ARGV[at]], at + 2
    at = from + ARGV[at + 1]
    if apart then
        for place = from, at - 1, apart do named[#named + 1] = ARGV[place] end
    end
end
prefetch(named)

-- Each step answers for itself: 1 and its answer, or 0 and why it failed.
local answers, last = {}, 0
at = FIRST
while ARGV[at] do
    local step, from = steps[ARGV[at]], at + 2
    at = from + ARGV[at + 1]
    quiet = false
    local ok, answer = pcall(step, from, at - 1)
    if not ok then answer = type(answer) == 'table' and answer.err or tostring(answer) end
    answers[last + 1], answers[last + 2] = ok and 1 or 0, answer
    last = last + 2
end
write_all()

local delayed, delayed_until = first('delayed')
local _, leased_until = first('leased')
if delayed and put_off[delayed] then
    -- A claim of any queue tells when the first is due, whichever its queue is: whoever waits, waits for the wrong time.
    news.d, news.c, news.r = true, true, true
end
local soonest = math.min(delayed_until or math.huge, leased_until or math.huge)
for _, claim in ipairs(claims) do
    claim[1] = soonest < math.huge and math.max(soonest - now, 0) or false
end
for queue in pairs(news) do call('PUBLISH', key('wakes'), queue) end
return answers
