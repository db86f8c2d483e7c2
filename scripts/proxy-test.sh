#!/usr/bin/env bash
# Tests the files of tuning/proxy with HAProxy and nginx in front of the server: users are matched
# through them, servers drain and restart behind them, and the page makes a call over TLS in
# Chromium.
#
#   scripts/proxy-test.sh           all test files of tests/proxy
#   scripts/proxy-test.sh front     only the files with this prefix
#
# SWITCHBOARD_BIN    the server to test; default: the debug build, which is built first
# CHROMIUM_BIN       the browser; default /usr/bin/chromium
#
# Installs missing tools: HAProxy, nginx, OpenSSL, Chromium and Node.js as Debian packages (their
# services are not started), the rest from npm. Listens on free loopback ports and keeps
# certificates and settings in temporary folders.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

export CHROMIUM_BIN=${CHROMIUM_BIN:-/usr/bin/chromium}
# Debian installs both proxies there.
export PATH=$PATH:/usr/sbin
need haproxy:haproxy nginx:nginx openssl:openssl "$CHROMIUM_BIN:chromium"
need_node
need_server

files=(tests/proxy/"${1:-}"*.test.js)
if [ ! -e "${files[0]}" ]; then
    echo "tests/proxy has no test file with the prefix '$1'" >&2
    exit 1
fi
# One file at a time: audio glitches when several browsers share few cores.
node --test --test-force-exit --test-concurrency=1 --test-reporter=spec "${files[@]}"
