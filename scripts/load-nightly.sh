#!/usr/bin/env bash
# The load test that runs every night: builds, starts a server, puts the whole programme on it,
# scaled to the machine, and leaves the report. Works by hand as well.
#
#   scripts/load-nightly.sh                 report in target/load-report
#   LOAD_REPORT=out scripts/load-nightly.sh
#
# The programme can be changed by LOAD_STAGES, LOAD_TIME_SCALE, LOAD_ENDURANCE,
# LOAD_STRESS_CEILING and LOAD_COMPARE (an earlier report.json). The exit status is the tester's:
# 0 passed, 2 a target missed, 4 void. The stress run gives a capacity; that the generator gave
# out first, as on two CPUs it often does, is said in the report and makes nothing else void.
set -euo pipefail
report=${LOAD_REPORT:-} compare=${LOAD_COMPARE:-}
# Whoever calls names them from where they are.
[[ -z $report || $report == /* ]] || report=$PWD/$report
[[ -z $compare || $compare == /* ]] || compare=$PWD/$compare
cd "$(dirname "$0")/.."
# shellcheck source=scripts/load-server.sh
. scripts/load-server.sh

report=${report:-target/load-report}
mkdir -p "$report"
rm -f "$report/server.log"
build_release
start_server "$report/server.log" --no-pin

# Server and generator share the machine: a start may be 50 ms late before it counts as late.
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
if [[ -n $compare ]]; then
    arguments+=(--compare "$compare")
fi
status=0
run_tester "${arguments[@]}" || status=$?
conclude "$status"
