#!/usr/bin/env bash
# HAProxy and nginx before the server, with the files of tuning/proxy: strangers meet through them,
# servers drain and come back behind them, and the page reaches a call over TLS in Chromium.
#
#   scripts/proxy-test.sh           all of it
#   scripts/proxy-test.sh front     only the files of tests/proxy that begin so
#
# SWITCHBOARD_BIN    the server to test; without it the debug build, which is made up to date
# CHROMIUM_BIN       the browser; default /usr/bin/chromium
#
# Installs what is missing, and says so: HAProxy, nginx, OpenSSL, Chromium and Node.js as Debian
# packages (their services are not started), the rest from npm. Listens on loopback at free ports,
# and keeps certificates and settings in temporary folders.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

export CHROMIUM_BIN=${CHROMIUM_BIN:-/usr/bin/chromium}
# Where Debian has both proxies.
export PATH=$PATH:/usr/sbin
need haproxy:haproxy nginx:nginx openssl:openssl "$CHROMIUM_BIN:chromium"
need_node
need_server

files=(tests/proxy/"${1:-}"*.test.js)
if [ ! -e "${files[0]}" ]; then
    echo "no test file of tests/proxy begins with '$1'" >&2
    exit 1
fi
# One after the other: they share a machine's few cores, and audio is impatient.
node --test --test-concurrency=1 --test-reporter=spec "${files[@]}"
