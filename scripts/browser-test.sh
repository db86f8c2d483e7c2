#!/usr/bin/env bash
# Tests the page in headless Chromium, with the server and a TURN server (coturn).
#
#   scripts/browser-test.sh              all test files of tests/browser
#   scripts/browser-test.sh relay        only the files with this prefix
#
# SWITCHBOARD_BIN    the server to test; default: the debug build, which is built first
# CHROMIUM_BIN       the browser; default /usr/bin/chromium
# SWITCHBOARD_SHOTS  folder for screenshots; default /tmp/switchboard-screenshots
#
# Installs missing tools: Node.js, Chromium and coturn as Debian packages, the rest from npm.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

CHROMIUM_BIN=${CHROMIUM_BIN:-/usr/bin/chromium}

need "$CHROMIUM_BIN:chromium" turnserver:coturn
need_node
need_server
export CHROMIUM_BIN

cd tests/browser
files=("${1:-}"*.test.js)
if [ ! -e "${files[0]}" ]; then
    echo "tests/browser has no test file with the prefix '$1'" >&2
    exit 1
fi
# One file at a time: audio glitches when several browsers share few cores.
node --test --test-concurrency=1 --test-reporter=spec "${files[@]}"
