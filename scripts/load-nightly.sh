#!/usr/bin/env bash
# The nightly load test: builds the programs, starts a server, runs the whole load test programme
# at a size for a small machine and writes a report. It can also be run by hand.
#
#   scripts/load-nightly.sh                 writes the report to target/load-report
#   LOAD_REPORT=out scripts/load-nightly.sh
#
# LOAD_STAGES, LOAD_TIME_SCALE, LOAD_ENDURANCE and LOAD_STRESS_CEILING change the programme. LOAD_COMPARE names
# earlier files report.json, separated by colons; with LOAD_FAIL_ON_REGRESSION=25% a figure that became worse
# by that, beyond noise, fails the test. The exit status is that of the load tester: 0 passed, 2 a missed
# target, 4 void, 5 a regression. The stress run measures a capacity. On two CPUs the load generator often
# reaches its limit before the server; the report says so, and the other runs stay valid.
set -euo pipefail
report=${LOAD_REPORT:-} compare=${LOAD_COMPARE:-}
# Relative paths are relative to the folder of the caller.
[[ -z $report || $report == /* ]] || report=$PWD/$report
IFS=: read -ra earlier <<<"$compare"
for i in "${!earlier[@]}"; do
    [[ ${earlier[i]} == /* ]] || earlier[i]=$PWD/${earlier[i]}
done
cd "$(dirname "$0")/.."
# shellcheck source=scripts/load-server.sh
. scripts/load-server.sh

report=${report:-target/load-report}
mkdir -p "$report"
rm -f "$report/server.log"
build_release
start_server "$report/server.log" --no-pin

# The server and the load generator share the machine. So a message counts as sent late only if it
# is sent more than 50 ms after its due time.
arguments=(
    plan
    --url "ws://$address/ws"
    --report "$report"
    --stages "${LOAD_STAGES:-100 for 1m, 500 for 2m, 1000 for 2m}"
    --talk-min 5s --talk-max 20s
    --rooms 100
    --stress-step 5s --stress-start 1000
    --stress-ceiling "${LOAD_STRESS_CEILING:-40000}"
    --endurance "${LOAD_ENDURANCE:-10m}"
    --late-after 50ms
    --time-scale "${LOAD_TIME_SCALE:-1}"
)
for file in "${earlier[@]}"; do
    arguments+=(--compare "$file")
done
if [[ ${#earlier[@]} -gt 0 && -n ${LOAD_FAIL_ON_REGRESSION:-} ]]; then
    arguments+=(--fail-on-regression "$LOAD_FAIL_ON_REGRESSION")
fi
status=0
run_tester "${arguments[@]}" || status=$?
conclude "$status"
