#!/usr/bin/env bash
# Endurance test: starts a server, keeps it at 70 % of its capacity, and looks for leaks and for
# decreasing performance.
#
#   scripts/endurance.sh [DURATION]        such as 90s, 1h or 7days; default 24h
#   CAPACITY=30000 scripts/endurance.sh    messages per second; default: measured by a stress run
#
# The report is written to target/endurance or to the folder that REPORT names: report.html,
# report.json, junit.xml, summary.md and the log of the server. After an interruption (by Ctrl-C,
# which still writes a report of the finished part, by a crash or by a reboot) the same command
# continues the run with a new server; FRESH=1 starts a new run.
#
# SERVER_FLAGS and LOAD_FLAGS are passed to the server and to the load tester, separated by spaces:
# SERVER_FLAGS='--shards 1', LOAD_FLAGS='--targets stretch'. SWITCHBOARD_BIN and
# SWITCHBOARD_LOAD_BIN name programs to use instead of release builds.
#
# The exit status is that of the load tester: 0 no leak, all targets met; 1 wrong usage; 2 a leak,
# another fault or a missed target (also if the server exits with an error); 3 the server did not
# start; 4 void, the load generator was the bottleneck; 130 interrupted. A run of a few minutes is
# too short to show a leak; summary.md then lists the leak tests under "Not judged".
set -euo pipefail
report=${REPORT:-}
# A relative path is relative to the folder of the caller.
[[ -z $report || $report == /* ]] || report=$PWD/$report
cd "$(dirname "$0")/.."
case ${1:-} in
    -h | --help)
        sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' scripts/endurance.sh
        exit 0
        ;;
esac
if [[ $# -gt 1 || ${1:-} == -* ]]; then
    echo "usage: scripts/endurance.sh [DURATION]" >&2
    exit 1
fi
# shellcheck source=scripts/load-server.sh
. scripts/load-server.sh

report=${report:-target/endurance}
mkdir -p "$report"
build_release

go_on=()
if [[ -z ${FRESH:-} && -f $report/resume.json ]]; then
    echo "continuing the run in $report; FRESH=1 starts a new one"
    go_on=(--resume)
else
    rm -f "$report/server.log"
fi

# shellcheck disable=SC2086  # flags are split into words on purpose
start_server "$report/server.log" ${SERVER_FLAGS:-}

# The server and the load generator share the CPUs of this machine. So a message that is sent up to
# 25 ms after its due time, a quarter of the permitted relay time, does not count as sent late.
status=0
# shellcheck disable=SC2086
run_tester endurance \
    --url "ws://$address/ws" \
    --report "$report" \
    --duration "${1:-24h}" \
    --capacity "${CAPACITY:-0}" \
    --percent 70 \
    --late-after 25ms \
    ${go_on[@]+"${go_on[@]}"} \
    ${LOAD_FLAGS:-} || status=$?

conclude "$status"
