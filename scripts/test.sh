#!/usr/bin/env bash
# The one command that passes everything.
#
#   scripts/test.sh         format, lints, documentation, all ordinary tests: under ten minutes
#   scripts/test.sh --all   these and the heavy parts below: under an hour
#   scripts/test.sh --list  names the heavy parts
#
# What is missing on the machine is installed, by each part for itself.
set -euo pipefail
cd "$(dirname "$0")/.."

# The heavy parts, in their order: a title and the command that runs it, as in
# 'browser|scripts/browser-test.sh'. A part installs the tools it needs itself, and a part that
# cannot run fails, so that nothing is ever skipped in silence.
HEAVY=(
    'browser|scripts/browser-test.sh'
    'clients that nobody here wrote|scripts/interop-test.sh'
    'monitoring|scripts/monitoring-test.sh'
    'proxies|scripts/proxy-test.sh'
    'deploy|scripts/deploy-test.sh'
    'instruction counts|scripts/count-instructions.sh'
    'fuzz|scripts/fuzz.sh 10'
    'a bad network|scripts/fault-net.sh'
    'every crossing|cargo test --release --test shard crossings'
)

started=$SECONDS
finished=()

section() { # title command...
    local title=$1 before=$SECONDS
    shift
    printf '\n== %s (at %d s)\n' "$title" $((SECONDS - started))
    if ! "$@"; then
        printf '\n== FAILED: %s, after %d s: %s\n' "$title" $((SECONDS - before)) "$*" >&2
        exit 1
    fi
    finished+=("$title $((SECONDS - before)) s")
}

# rustup leaves both out in its minimal profile.
component() { # cargo subcommand, rustup component
    cargo "$1" --version >/dev/null 2>&1 || rustup component add "$2"
}

ordinary() {
    component fmt rustfmt
    component clippy clippy
    section 'format' cargo fmt --check
    section 'guards of the mutation test' scripts/mutants.sh --check
    section 'lints' cargo clippy --all-targets -- -D warnings
    section 'documentation' env RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps
    section 'tests' cargo test --no-fail-fast
}

heavy() {
    local part
    for part in ${HEAVY[@]+"${HEAVY[@]}"}; do
        # shellcheck disable=SC2086  # the command is split into its words on purpose
        section "${part%%|*}" ${part#*|}
    done
}

case "${1:-}" in
    '') ordinary ;;
    --all)
        ordinary
        heavy
        ;;
    --list)
        printf '%s\n' ${HEAVY[@]+"${HEAVY[@]%%|*}"}
        exit 0
        ;;
    *)
        echo "usage: scripts/test.sh [--all | --list]" >&2
        exit 2
        ;;
esac

printf '\n== all passed in %d s' $((SECONDS - started))
printf '; %s' "${finished[@]}"
printf '\n'
