#!/usr/bin/env bash
# Tests the page in headless Chromium and in Debian's Firefox, with the server and a TURN server (coturn).
#
#   scripts/browser-test.sh              all test files of tests/browser
#   scripts/browser-test.sh relay        only the files with this prefix
#
# SWITCHBOARD_BIN      the server to test; default: the debug build, which is built first
# SWITCHBOARD_ENGINES  engines of the tests that run in each; default chromium,firefox
# CHROMIUM_BIN         default /usr/bin/chromium
# FIREFOX_BIN          default /usr/bin/firefox-esr
# SWITCHBOARD_SHOTS    folder for screenshots of every state; by default none are taken
#
# Installs missing tools: Node.js, the browsers and coturn as Debian packages, the rest from npm.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

export CHROMIUM_BIN=${CHROMIUM_BIN:-/usr/bin/chromium} FIREFOX_BIN=${FIREFOX_BIN:-/usr/bin/firefox-esr}

need "$CHROMIUM_BIN:chromium" "$FIREFOX_BIN:firefox-esr" turnserver:coturn
need_node
need_server

cd tests/browser
files=("${1:-}"*.test.js)
if [ ! -e "${files[0]}" ]; then
    echo "tests/browser has no test file with the prefix '$1'" >&2
    exit 1
fi
# Two files at a time: audio glitches when more browsers share two cores.
# Once, after the last test of a file had passed, its process went on calculating for a quarter of an
# hour in the driver of Firefox: a file ends with its last test.
node --test --test-force-exit --test-concurrency=2 --test-reporter=spec "${files[@]}"
