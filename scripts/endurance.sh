#!/usr/bin/env bash
# Endurance: a server of its own, held at 70 % of what it can carry for a day, and watched for
# leaks and decay.
#
#   scripts/endurance.sh [DURATION]        24h if nothing is said; 90s, 1h, 7days …
#   CAPACITY=30000 scripts/endurance.sh    messages a second; else a stress run finds it out first
#
# The report is left in target/endurance, or in the directory that REPORT names: report.html for
# people, report.json, junit.xml, summary.md, and the server's log. What was interrupted (by
# Ctrl-C, which still leaves a report of what was measured, by a crash, a reboot) goes on where
# it was when the same command is given again, with a fresh server if need be; FRESH=1 begins anew.
#
# SERVER_FLAGS and LOAD_FLAGS are handed on, separated by spaces: SERVER_FLAGS='--shards 1',
# LOAD_FLAGS='--targets stretch'. SWITCHBOARD_BIN and SWITCHBOARD_LOAD_BIN name programs to be used
# instead of release builds, each alone or both.
#
# Exit status, the tester's: 0 nothing grows and every target was reached; 1 wrong usage; 2 a
# leak, another fault, or a target missed (also if the server does not end well); 3 the server did
# not start; 4 void, the generator was the bottleneck; 130 interrupted. A run of less than some
# minutes is too short to show a leak: then summary.md has that under "Not judged".
set -euo pipefail
report=${REPORT:-}
# Whoever calls names it from where they are.
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
    echo "going on with the run in $report; FRESH=1 begins anew"
    go_on=(--resume)
else
    rm -f "$report/server.log"
fi

# shellcheck disable=SC2086  # flags are split into words on purpose
start_server "$report/server.log" ${SERVER_FLAGS:-}

# Server and generator share this machine's CPUs: a start may be late by a quarter of what a
# message may take before it counts as late.
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
