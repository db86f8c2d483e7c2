#!/usr/bin/env bash
# Runs the fuzz targets of tests/fuzz, one after the other.
#
#   scripts/fuzz.sh SECONDS            runs every target for SECONDS seconds
#   scripts/fuzz.sh SECONDS TARGET     runs only this target
#
# FUZZ_CORPUS   a folder with a corpus folder for each target, to which new inputs are added; for
#               long runs. Default: the corpus is tests/fuzz/corpus, and new inputs are discarded
#
# Prints the number of executions and the result of each target. An input that makes a target fail
# is kept in tests/fuzz/artifacts/TARGET, and the status is 1. To replay it:
#   cargo fuzz run -s none --fuzz-dir tests/fuzz TARGET FILE
# Needs a C++ compiler. Installs cargo-fuzz if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

seconds=${1:?"usage: scripts/fuzz.sh SECONDS [TARGET]"}
[[ $seconds =~ ^[0-9]+$ ]] || { echo "SECONDS has to be a whole number, not $seconds" >&2; exit 2; }
# Without a sanitiser, which would need a nightly toolchain. The fuzzed code has no `unsafe` of its
# own.
fuzz=(-s none --fuzz-dir tests/fuzz)

need c++:g++
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
targets=$(cargo fuzz list --fuzz-dir tests/fuzz)
if [ $# -gt 1 ]; then
    grep -qx -- "$2" <<<"$targets" || { echo "there is no target $2; the targets are: ${targets//$'\n'/ }" >&2; exit 2; }
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
    # New inputs go into the first folder. An input that takes 25 s counts as a finding.
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
