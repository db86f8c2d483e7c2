#!/usr/bin/env bash
# Takes out each guard in turn. The test that is named for the guard has to fail then.
#
#   scripts/mutants.sh [PATTERN...]            all guards, or those with a PATTERN in their name
#   scripts/mutants.sh --list [PATTERN...]     shows each guard, its mutation and its test
#   scripts/mutants.sh --check                 compares the markers, the table and the tests, and
#                                              builds nothing; part of scripts/test.sh
#   scripts/mutants.sh --compile [PATTERN...]  compiles each mutant and runs no test
#
# Guards are marked in the sources, as in `// guard: a control frame is not fragmented [false]`;
# scripts/guards.py describes the mutations. tests/guards.txt names the test for each guard.
#
# Works on a copy of the sources in a temporary folder, with a target folder of its own
# (target/mutants). The status is 1 if a test passes without its guard, if it fails with it, if a
# mutant does not compile, if markers and table differ, or if no guard matches PATTERN.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh
need python3:python3-minimal
exec python3 scripts/mutants.py "$@"
