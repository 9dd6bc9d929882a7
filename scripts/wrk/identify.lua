-- The requests of `scripts/bench wrk`, for wrk (https://github.com/wg/wrk):
--
--   wrk -t2 -c32 -d10s -s scripts/wrk/identify.lua URL -- SCENARIO CUSTOMERS
--   wrk ... URL -- body JSON       the same body each time
--
-- The scenarios are those of `identity bench run`, and so are the customers: those of `identity bench seed`. The last
-- line of the output is a JSON object with the figures.

local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(args)
    scenario, customers, sent = args[1], tonumber(args[2]), 0
    headers = { ["Content-Type"] = "application/json" }
    begun = os.time()
    math.randomseed(begun * 64 + number)
    if scenario == "body" then
        fixed = wrk.format("POST", nil, headers, args[2])
    end
end

local function known_email(customer)
    return string.format("customer%d@example.com", customer)
end

local function known_phone(customer)
    return string.format("+49%010d", customer)
end

-- An e-mail address or a phone number that nobody has had before: threads and runs have different ones.
local function new_email()
    return string.format("%x.%x.%x@new.example.com", sent, number, begun)
end

local function new_phone()
    return string.format("+49%02d%010d%08d", number, begun, sent)
end

function request()
    if fixed then
        return fixed
    end
    sent = sent + 1
    local customer, email, phone = math.random(0, customers - 1), nil, nil
    local kind = scenario == "mixed" and math.random(0, 9) or (scenario == "new" and 9 or 0)
    if kind < 7 then
        email, phone = known_email(customer), known_phone(customer)
    elseif kind == 7 then
        email, phone = known_email(customer), new_phone()
    elseif kind == 8 then
        email, phone = new_email(), known_phone(customer)
    else
        email, phone = new_email(), new_phone()
    end
    return wrk.format("POST", nil, headers, string.format('{"email":"%s","phoneNumber":"%s"}', email, phone))
end

function done(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format(
        '{"answers_per_s":%.1f,"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d,"errors":%d,"bytes":%d}\n',
        summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
        latency:percentile(99.9), latency.max, failed, summary.bytes / math.max(summary.requests, 1)))
end
