#!/usr/bin/env bash
# Tests a release build with other implementations: clients made with `websockets` (Python) and `ws`
# (Node.js) are matched and exchange the signalling of a call, each library connects many users at
# once, and curl makes plain requests.
#
# Installs missing tools: Python, Node.js and curl as Debian packages, and the two libraries, at the
# versions below, into target/interop.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

WEBSOCKETS=17.4
WS=8.23.0
MANY=100
# A client that takes longer hangs, even on a busy machine.
CLIENT_TIMEOUT_S=120

target=${CARGO_TARGET_DIR:-$PWD/target}
tools=$target/interop
mkdir -p "$tools"

need python3:python3 node:nodejs npm:npm curl:curl
# Debian packages venv separately, without a command that `need` could look for.
python3 -c 'import venv, ensurepip' 2>/dev/null || need python3-venv:python3-venv

if ! "$tools/venv/bin/python" -c "import websockets; assert websockets.__version__ == '$WEBSOCKETS'" 2>/dev/null; then
    echo "installing websockets $WEBSOCKETS into $tools/venv"
    python3 -m venv --clear "$tools/venv"
    "$tools/venv/bin/pip" --quiet --disable-pip-version-check install "websockets==$WEBSOCKETS"
fi
if ! grep -qs "\"version\": \"$WS\"" "$tools/node_modules/ws/package.json"; then
    echo "installing ws $WS into $tools/node_modules"
    npm install --prefix "$tools" --no-save --no-audit --no-fund --loglevel=error "ws@$WS"
fi

cargo build --release --bin switchboard

log=$tools/server.log
# The log is read before the server may have created it.
: >"$log"
"$target/release/switchboard" --listen 127.0.0.1:0 --shards 2 >/dev/null 2>"$log" &
server=$!
# After a failure clients may still run; stop them too.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

fail() {
    echo "FAILED: $*; the server's log:" >&2
    cat "$log" >&2
    exit 1
}

address=
for _ in $(seq 200); do
    address=$(sed -n 's/.*listening on \(127[0-9.:]*\).*/\1/p' "$log")
    [ -n "$address" ] && break
    kill -0 "$server" 2>/dev/null || fail "the server did not start"
    sleep 0.05
done
[ -n "$address" ] || fail "the server has not logged its address"

python() { timeout "$CLIENT_TIMEOUT_S" "$tools/venv/bin/python" tests/interop/client.py "$address" "$@"; }
node_ws() { INTEROP_MODULES=$tools timeout "$CLIENT_TIMEOUT_S" node tests/interop/client.js "$address" "$@"; }

# Runs a Python and a Node.js client at the same time; both have to succeed.
side_by_side() { # queue of Python, queue of Node.js, mode, more...
    local pythons=$1 nodes=$2 mode=$3
    shift 3
    python "$mode" "$pythons" "$@" >"$tools/python.out" &
    local other=$!
    node_ws "$mode" "$nodes" "$@" >"$tools/node.out" || fail "the Node.js client failed ($mode)"
    wait "$other" || fail "the Python client failed ($mode)"
    cat "$tools/python.out" "$tools/node.out"
}

# Checks the lines "python met PEER as ROLE ID" and "node met PEER as ROLE ID": the two clients have
# to be in one room, with different roles.
met_each_other() {
    local pythons_peer pythons_role pythons_id nodes_peer nodes_role nodes_id
    read -r _ _ pythons_peer _ pythons_role pythons_id <"$tools/python.out"
    read -r _ _ nodes_peer _ nodes_role nodes_id <"$tools/node.out"
    [ "$pythons_peer" = "$nodes_id" ] || fail "the Python client met $pythons_peer instead of the Node.js client"
    [ "$nodes_peer" = "$pythons_id" ] || fail "the Node.js client met $nodes_peer instead of the Python client"
    [ "$pythons_role" != "$nodes_role" ] || fail "both clients have the role $nodes_role"
}

for nth in 1 2 3 4 5; do
    side_by_side "duo-$nth" "duo-$nth" pair
    met_each_other
done
side_by_side python-many node-many many "$MANY"

# The status of a response; 000 if there was none.
status() { curl --silent --show-error --max-time 10 --output /dev/null --write-out '%{http_code}' "$@"; }
expect() { # status, curl's arguments...
    local wanted=$1 got
    shift
    got=$(status "$@")
    [ "$got" = "$wanted" ] || fail "curl $*: status $got instead of $wanted"
}
for path in /health /stats /metrics /; do
    expect 200 "http://$address$path"
    expect 200 --head "http://$address$path"
    expect 200 --http1.0 "http://$address$path"
done
expect 404 "http://$address/nothing"
expect 405 --request DELETE "http://$address/health"
expect 413 --data body "http://$address/health"
expect 426 "http://$address/ws"
# Reads 101 and the `session` message, then waits until its time limit: status 28.
upgrade=(--header 'Connection: Upgrade' --header 'Upgrade: websocket'
    --header 'Sec-WebSocket-Version: 13' --header 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')
curl --silent --include --no-buffer --max-time 1 "${upgrade[@]}" "http://$address/ws" \
    >"$tools/curl.out" || [ $? = 28 ] || fail "curl could not upgrade"
grep -q '^HTTP/1.1 101 ' "$tools/curl.out" || fail "curl got no 101"
grep -q 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=' "$tools/curl.out" || fail "the accept key differs from the one of RFC 6455 §1.3"
grep -aq '"type":"session"' "$tools/curl.out" || fail "curl got no session message"
# Two requests on one connection.
reused=$(curl --silent --max-time 10 --output /dev/null --output /dev/null --write-out '%{num_connects} ' \
    "http://$address/health" "http://$address/")
[ "$reused" = '1 0 ' ] || fail "curl opened a second connection: $reused"

figures=$(curl --silent --max-time 10 "http://$address/stats")
python_figures() { "$tools/venv/bin/python" -c "import json, sys; s = json.loads(sys.argv[1]); print($1)" "$figures"; }
matches=$(python_figures 's["matchmaking"]["matches"]')
[ "$matches" = $((5 + MANY)) ] || fail "$matches matches instead of $((5 + MANY))"
errors=$(python_figures 'sum(s["messages"]["errors"].values())')
[ "$errors" = 0 ] || fail "the server refused $errors messages"

kill -TERM "$server"
wait "$server" || fail "the server exited with status $?"
trap - EXIT
grep -q 'ended gracefully' "$log" || fail "the server has not logged its summary"
echo "interop: passed; $matches rooms, $(python_figures 's["messages"]["relayed"]') messages relayed"
