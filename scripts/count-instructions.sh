#!/usr/bin/env bash
# Counts the instructions of each body of `cargo bench --bench micro` under callgrind and
# compares them with benches/micro/baseline.txt: no count may be more than 2 % away from it,
# upwards or downwards, but for a single instruction. Time on a shared machine says little;
# instructions hardly change.
#
#   scripts/count-instructions.sh            compares
#   scripts/count-instructions.sh --update   writes the baseline anew
#
# Counts depend on the compiler, on what the CPU can do (some libraries choose their code by
# that at run time), on the C library and on valgrind. Where one of these is another than the
# baseline's, the counts are printed and nothing is compared.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

readonly BASELINE=benches/micro/baseline.txt
readonly TOLERANCE_PERCENT=2
# A body runs FEW times and MANY times; the difference leaves out what happens only once.
readonly FEW=100 MANY=1100
# What run-time detection in memchr, simdutf8 and the C library looks at.
readonly FEATURES='sse4_2|avx|avx2|bmi1|bmi2|lzcnt|abm|erms|fsrm|avx512f|avx512bw|avx512vl|asimd|sve'

environment() {
    local features
    features=$(grep -m1 -E '^(flags|Features)' /proc/cpuinfo | tr ' ' '\n' | grep -xE "$FEATURES" | sort | tr '\n' ' ')
    echo "# $(rustc --version)"
    echo "# $(uname -m) ${features% }"
    echo "# $(getconf GNU_LIBC_VERSION), $(valgrind --version)"
}

collected() { # body runs
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$micro" --once "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

counts() {
    local body few many
    for body in $("$micro" --names); do
        few=$(collected "$body" $FEW)
        many=$(collected "$body" $MANY)
        echo "$body $(((many - few) / (MANY - FEW)))"
    done
}

need valgrind:valgrind
micro=$(cargo bench --bench micro --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*micro-[^"]*\)".*/\1/p' | tail -1)
[ -x "$micro" ] || { echo "benches/micro does not build: cargo bench --bench micro --no-run" >&2; exit 1; }

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
    echo 'not compared: compiler, CPU, C library or valgrind are not those of the baseline:'
    grep '^#' "$BASELINE"
    exit 0
fi

awk -v tolerance=$TOLERANCE_PERCENT '
    /^#/ { next }
    NR == FNR { before[$1] = $2; next }
    {
        seen[$1] = 1; all++
        if (!($1 in before)) { printf "%-20s %8d  new: --update the baseline\n", $1, $2; bad++; next }
        change = ($2 - before[$1]) * 100 / before[$1]
        # One instruction more or less is the rounding of a small body.
        off = (change > tolerance || change < -tolerance) && ($2 - before[$1]) ^ 2 > 1
        printf "%-20s %8d %+6.1f %%%s\n", $1, $2, change, off ? "  differs" : ""
        bad += off
    }
    END {
        for (body in before) if (!(body in seen)) { printf "%-20s is gone: --update the baseline\n", body; bad++; all++ }
        printf "%d passed, %d failed\n", all - bad, bad
        exit bad > 0
    }
' "$BASELINE" <(grep -v '^#' <<<"$found") || {
    echo 'instruction counts have changed; if that is meant: scripts/count-instructions.sh --update' >&2
    exit 1
}
