#!/usr/bin/env bash
# Runs the unit tests of the pure modules under Miri, which detects undefined behaviour.
#
#   scripts/miri.sh             the modules below
#   scripts/miri.sh FILTER...   tests with one of these in their name
#
# Uses the nightly toolchain and installs Miri if it is missing. Miri is about a thousand times
# slower than the compiled tests, so property tests run few cases.
set -euo pipefail
cd "$(dirname "$0")/.."

# Not the matching queue, message::client and websocket::assembly: their tests take tens of minutes under Miri.
MODULES=(ids:: session:: timestamp:: ice:: wire::egress wire::http wire::message::server wire::proxy
    wire::websocket::frame)
SKIPPED=(http::tests::properties)

cargo +nightly miri --version >/dev/null 2>&1 ||
    rustup toolchain install nightly --profile minimal --component miri,rust-src
[ $# -gt 0 ] || set -- "${MODULES[@]}"
skip=()
for name in ${SKIPPED[@]+"${SKIPPED[@]}"}; do skip+=(--skip "$name"); done
# Without isolation: proptest reads its settings from the environment.
export MIRIFLAGS="${MIRIFLAGS:-} -Zmiri-disable-isolation"
export PROPTEST_CASES=${PROPTEST_CASES:-4}
cargo +nightly miri test --lib -- -Z unstable-options --report-time "$@" ${skip[@]+"${skip[@]}"}
