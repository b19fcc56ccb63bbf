-- Sends GET WRK_PATH with the headers of one reader after the other. Each line
-- of the file WRK_HEADERS is a reader: "Name: value" pairs between tabs. Prints
-- what benchmarks/load.py reads.
local requests, turn = {}, 0

function init(_)
  local path = os.getenv("WRK_PATH")
  for line in io.lines(os.getenv("WRK_HEADERS")) do
    local headers = {Host = wrk.headers["Host"]}
    for name, value in line:gmatch("([^:\t]+): ([^\t]*)") do
      headers[name] = value
    end
    requests[#requests + 1] = wrk.format("GET", path, headers)
  end
  if #requests == 0 then requests[1] = wrk.format("GET", path) end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'JSON {"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, '
    .. '"bad": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
