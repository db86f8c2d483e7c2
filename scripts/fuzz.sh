#!/usr/bin/env bash
# Fuzzing: the targets of tests/fuzz, one after the other.
#
#   scripts/fuzz.sh SECONDS            every target for so many seconds
#   scripts/fuzz.sh SECONDS TARGET     only this one
#
# FUZZ_CORPUS   a folder whose TARGET folders are read and added to, for long runs; without it
#               they begin from what is in tests/fuzz/corpus, and what they find out is dropped
#
# Prints for each target how often it ran and what it found. What makes a target fail stays in
# tests/fuzz/artifacts/TARGET, and then the status is 1; to see it again:
#   cargo fuzz run -s none --fuzz-dir tests/fuzz TARGET FILE
# Needs a C++ compiler. Installs cargo-fuzz if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

seconds=${1:?"usage: scripts/fuzz.sh SECONDS [TARGET]"}
[[ $seconds =~ ^[0-9]+$ ]] || { echo "SECONDS is a number, not $seconds" >&2; exit 2; }
# Without a sanitiser: the product's own code has no unsafe in what is fuzzed, and so it runs on
# a stable toolchain.
fuzz=(-s none --fuzz-dir tests/fuzz)

need c++:g++
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
targets=$(cargo fuzz list --fuzz-dir tests/fuzz)
if [ $# -gt 1 ]; then
    grep -qx -- "$2" <<<"$targets" || { echo "no such target; there are: ${targets//$'\n'/ }" >&2; exit 2; }
    targets=$2
fi
cargo fuzz build "${fuzz[@]}"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
findings=0
for target in $targets; do
    grown=${FUZZ_CORPUS:-$scratch}/$target
    mkdir -p "$grown"
    log=$scratch/$target.log
    verdict=nothing
    # New inputs go into the first folder; 25 s for one input is a finding too.
    cargo fuzz run "${fuzz[@]}" "$target" "$grown" "tests/fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=25 -rss_limit_mb=4096 -print_final_stats=1 \
        >"$log" 2>&1 || verdict=FINDING
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf '%-10s %12s executions in %s s: %s found\n' "$target" "${runs:-?}" "$seconds" "$verdict"
    if [ "$verdict" != nothing ]; then
        findings=$((findings + 1))
        tail -n 60 "$log"
    fi
done
[ "$findings" = 0 ]
