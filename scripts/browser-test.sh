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

CHROMIUM_BIN=${CHROMIUM_BIN:-/usr/bin/chromium}

missing=()
[ -x "$CHROMIUM_BIN" ] || missing+=(chromium)
command -v turnserver >/dev/null || missing+=(coturn)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    ${root[@]+"${root[@]}"} apt-get update -qq
    ${root[@]+"${root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Older ones take the page's scripts for CommonJS.
if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number);
              process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
    echo "Node.js 20.19 or newer is needed; this is $(node --version)" >&2
    exit 1
fi

lock=tests/browser/package-lock.json
stamp=tests/browser/node_modules/.installed
if ! cmp -s "$lock" "$stamp"; then
    echo "installing playwright-core, axe-core and ws from npm"
    npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --loglevel=error
    cp "$lock" "$stamp"
fi

if [ -z "${SWITCHBOARD_BIN:-}" ]; then
    cargo build --bin switchboard
    SWITCHBOARD_BIN=${CARGO_TARGET_DIR:-target}/debug/switchboard
fi
export SWITCHBOARD_BIN CHROMIUM_BIN

cd tests/browser
files=("${1:-}"*.test.js)
if [ ! -e "${files[0]}" ]; then
    echo "no test file of tests/browser begins with '$1'" >&2
    exit 1
fi
# One after the other: they share a machine's few cores, and audio is impatient.
node --test --test-concurrency=1 --test-reporter=spec "${files[@]}"
