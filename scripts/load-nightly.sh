#!/usr/bin/env bash
# The load test that runs every night: builds, starts a server, puts the whole programme on it,
# scaled to the machine, and leaves the report. Works by hand as well.
#
#   scripts/load-nightly.sh                 report in target/load-report
#   LOAD_REPORT=out scripts/load-nightly.sh
#
# The programme can be changed by LOAD_STAGES, LOAD_TIME_SCALE, LOAD_ENDURANCE,
# LOAD_STRESS_CEILING and LOAD_COMPARE (an earlier report.json). The exit status is the
# tester's: 0 passed, 2 a target missed, 4 void.
set -euo pipefail
cd "$(dirname "$0")/.."

report=${LOAD_REPORT:-target/load-report}
stages=${LOAD_STAGES:-'100 for 1m, 500 for 2m, 1000 for 2m'}
log=$report/server.log
mkdir -p "$report"

cargo build --release --bin switchboard --bin switchboard-load

ulimit -n "$(ulimit -Hn)"
target/release/switchboard --listen 127.0.0.1:0 --no-pin 2>"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT

# The server names its port in its first line.
address=
for _ in $(seq 100); do
    address=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$log" | head -n 1)
    [[ -n $address ]] && break
    kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 3; }
    sleep 0.1
done
[[ -n $address ]] || { echo "the server does not say where it listens" >&2; exit 3; }

# Server and generator share the machine: a start may be 50 ms late before it counts as late.
arguments=(
    plan
    --url "ws://$address/ws"
    --report "$report"
    --stages "$stages"
    --talk-min 5s --talk-max 20s
    --rooms 100
    --stress-step 5s --stress-start 1000
    --stress-ceiling "${LOAD_STRESS_CEILING:-40000}"
    --endurance "${LOAD_ENDURANCE:-10m}"
    --late-after 50ms
    --time-scale "${LOAD_TIME_SCALE:-1}"
)
if [[ -n ${LOAD_COMPARE:-} ]]; then
    arguments+=(--compare "$LOAD_COMPARE")
fi
target/release/switchboard-load "${arguments[@]}"
