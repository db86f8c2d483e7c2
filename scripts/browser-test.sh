#!/usr/bin/env bash
# The page in real headless Chromium, against the real server and a real TURN server.
#
#   scripts/browser-test.sh              all of it
#   scripts/browser-test.sh relay        only the files of tests/browser that begin so
#
# SWITCHBOARD_BIN    the server to test; without it the debug build, which is made up to date
# CHROMIUM_BIN       the browser; default /usr/bin/chromium
# SWITCHBOARD_SHOTS  where screenshots go; default /tmp/switchboard-screenshots
#
# Installs what is missing, and says so: Node.js, Chromium and coturn as Debian packages, the
# rest from npm.
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
    echo "no test file of tests/browser begins with '$1'" >&2
    exit 1
fi
# One after the other: they share a machine's few cores, and audio is impatient.
node --test --test-concurrency=1 --test-reporter=spec "${files[@]}"
