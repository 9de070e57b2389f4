-- The ways of one job from place to place: pure, on one job. The same functions as in `store/ledger/moves.rs`.

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

-- The download ended: what of, the text of the ending, the error in it, the site of the file.
local function finish(job, result, ending, error, site)
    job.result, job.ended, job.ending = result, now, ending
    job.error, job.site = text(error), site
    job.done, job.total = nil, nil
    local notify = job.notify or 0
    local told
    if result == 'd' then told = notify % 2 == 1 else told = notify >= 2 end
    if told then enter(job, 'c', 'ready') else place(job, nil, 'settled', now + policy.silent) end
end

local function failure(result, error)
    return result, cjson.encode({ success = false, error = error, response_code = 0 }), error
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

-- What the holder of the lease says. The last three are of an ending.
local function settle(job, queue, kind, counted, reason, delay, result, ending, site)
    job.settled = job.token or job.settled
    job.done, job.total = nil, nil
    if counted then job[ATTEMPTS[queue]] = (job[ATTEMPTS[queue]] or 0) + 1 end
    job.losses = nil
    if job.cancelled and queue == 'd' and not (kind == 'downloaded' and result == 'd') then
        finish(job, cancelled())
    elseif kind == 'downloaded' then
        finish(job, result, ending, reason, site)
    elseif kind == 'delivered' then
        called_back(job, 'v')
    elseif kind == 'undeliverable' then
        job.error = text(reason)
        called_back(job, 'x')
    elseif kind == 'removed' then
        job.site = nil
        place(job, nil, 'settled', now + policy.delivered)
    elseif kind == 'again' then
        job.error = text(reason)
        if delay == 0 then place(job, queue, 'ready') else place(job, queue, 'delayed', now + delay) end
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
