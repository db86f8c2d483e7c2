#!/usr/bin/env bash
# Counts the instructions of each operation of `cargo bench --bench micro` under callgrind and
# compares them with benches/micro/baseline.txt. Fails if a count differs by more than 2 % and
# more than one instruction, upwards or downwards. Instruction counts are stable on a shared
# machine, where times vary.
#
#   scripts/count-instructions.sh            compares
#   scripts/count-instructions.sh --update   rewrites the baseline
#
# Counts depend on the compiler, on the features of the CPU (some libraries select their code at
# run time), on the C library and on valgrind. If one of these differs from the baseline, the
# script prints the counts and compares nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

readonly BASELINE=benches/micro/baseline.txt
readonly TOLERANCE_PERCENT=2
# An operation runs FEW times and MANY times; the difference excludes the cost of the start.
readonly FEW=100 MANY=1100
# The CPU features that memchr, simdutf8 and the C library detect at run time.
readonly FEATURES='sse4_2|avx|avx2|bmi1|bmi2|lzcnt|abm|erms|fsrm|avx512f|avx512bw|avx512vl|asimd|sve'

environment() {
    local features
    features=$(grep -m1 -E '^(flags|Features)' /proc/cpuinfo | tr ' ' '\n' | grep -xE "$FEATURES" | sort | tr '\n' ' ')
    echo "# $(rustc --version)"
    echo "# $(uname -m) ${features% }"
    echo "# $(getconf GNU_LIBC_VERSION), $(valgrind --version)"
}

collected() { # operation runs
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$micro" --once "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

counts() {
    local operation few many
    for operation in $("$micro" --names); do
        few=$(collected "$operation" $FEW)
        many=$(collected "$operation" $MANY)
        echo "$operation $(((many - few) / (MANY - FEW)))"
    done
}

need valgrind:valgrind
micro=$(cargo bench --bench micro --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*micro-[^"]*\)".*/\1/p' | tail -1)
[ -x "$micro" ] || { echo "benches/micro does not build; run: cargo bench --bench micro --no-run" >&2; exit 1; }

found=$(environment; counts)
case "${1:-}" in
    --update)
        printf '%s\n' "$found" >"$BASELINE"
        cat "$BASELINE"
        exit 0
        ;;
    '') ;;
    *)
        echo "usage: scripts/count-instructions.sh [--update]" >&2
        exit 2
        ;;
esac

if [ "$(grep '^#' "$BASELINE")" != "$(grep '^#' <<<"$found")" ]; then
    printf '%s\n' "$found"
    echo 'not compared: the baseline was made with another compiler, CPU, C library or valgrind:'
    grep '^#' "$BASELINE"
    exit 0
fi

awk -v tolerance=$TOLERANCE_PERCENT '
    /^#/ { next }
    NR == FNR { before[$1] = $2; next }
    {
        seen[$1] = 1; all++
        if (!($1 in before)) { printf "%-20s %8d  new; add it to the baseline with --update\n", $1, $2; bad++; next }
        change = ($2 - before[$1]) * 100 / before[$1]
        # A difference of one instruction is a rounding error of a small operation.
        off = (change > tolerance || change < -tolerance) && ($2 - before[$1]) ^ 2 > 1
        printf "%-20s %8d %+6.1f %%%s\n", $1, $2, change, off ? "  differs" : ""
        bad += off
    }
    END {
        for (name in before) if (!(name in seen)) { printf "%-20s is missing; remove it from the baseline with --update\n", name; bad++; all++ }
        printf "%d passed, %d failed\n", all - bad, bad
        exit bad > 0
    }
' "$BASELINE" <(grep -v '^#' <<<"$found") || {
    echo 'instruction counts have changed; if this is intended, run: scripts/count-instructions.sh --update' >&2
    exit 1
}
