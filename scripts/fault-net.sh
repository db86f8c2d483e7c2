#!/usr/bin/env bash
# A bad network and a kernel that refuses: the server in a network namespace of its own whose
# every twentieth packet is lost, and accept(2) that fails in each way it can.
#
#   scripts/fault-net.sh
#
# SWITCHBOARD_BIN    the server to test; without it the debug build, which is made up to date
#
# Needs root, for the namespace. Installs what is missing, and says so: nftables, iproute2 and
# strace as Debian packages. Nothing outside the namespace is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

need nft:nftables ip:iproute2 strace:strace
need_server
# Beside the server lies the load tester.
cargo build --bin switchboard-load
load=${CARGO_TARGET_DIR:-target}/debug/switchboard-load

[ "$(id -u)" = 0 ] || { echo "this needs root: a network namespace" >&2; exit 1; }
net=switchboard-fault-$$
scratch=$(mktemp -d)
server='' tracer=''
cleanup() {
    [ -z "$tracer" ] || kill "$tracer" 2>/dev/null || true
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    ip netns delete "$net" 2>/dev/null || true
    rm -rf "$scratch"
}
trap cleanup EXIT
ip netns add "$net"
within() { ip netns exec "$net" "$@"; }
within ip link set lo up

start() { # flags...
    # Not by a function: ip becomes the server, whose process this is then.
    ip netns exec "$net" "$SWITCHBOARD_BIN" --listen 127.0.0.1:9000 --shards 2 --no-pin "$@" 2>"$scratch/log" &
    server=$!
    for _ in $(seq 100); do
        grep -q max_connections "$scratch/log" && return
        sleep 0.1
    done
    cat "$scratch/log" >&2
    return 1
}

stop() {
    kill -TERM "$server"
    wait "$server" || { echo "the server ended with $?" >&2; cat "$scratch/log" >&2; return 1; }
    server=''
    ! grep -i panicked "$scratch/log"
}

stats() { within curl -sf http://127.0.0.1:9000/stats; }

lossy() {
    # netem is not in every kernel; numgen is in every nftables.
    within nft -f - <<'RULES'
table inet loss {
    chain input {
        type filter hook input priority 0;
        tcp dport 9000 numgen random mod 100 < 5 counter drop
        tcp sport 9000 numgen random mod 100 < 5 counter drop
    }
}
RULES
    start --drain-timeout 1s
    # Lost packets come late, a retransmission or several: how late is not the server's doing.
    # Lost, mixed up or misdirected messages would be, however late some of them start.
    within "$load" signaling --url ws://127.0.0.1:9000/ws --rooms 50 --duration 20s \
        --warm-up 5s --quiet --late-percent 100 \
        --report "$scratch/report" --targets none --message-timeout 30s --match-timeout 30s \
        --require lost==0 --require misrouted==0 --require duplicated==0 \
        --require reordered==0 --require corrupted==0
    within nft list table inet loss | grep 'packets [1-9]' >/dev/null || {
        echo 'no packet was lost' >&2
        return 1
    }
    within nft delete table inet loss
    stop
}

refused() { # errno
    start --drain-timeout 1s
    # Every other call fails, and so nobody is accepted at the first attempt.
    strace -qq -f -e trace=accept4 -e inject="accept4:error=$1:when=1+2" -p "$server" \
        -o "$scratch/trace" &
    tracer=$!
    for _ in $(seq 100); do
        # Until each of its threads is watched.
        grep -q 'TracerPid:[[:space:]]*0$' /proc/"$server"/task/*/status || break
        sleep 0.1
    done
    for _ in $(seq 20); do
        within curl -sf --max-time 10 http://127.0.0.1:9000/health >/dev/null
    done
    kill "$tracer"
    wait "$tracer" 2>/dev/null || true
    tracer=''
    grep -q "$1.*INJECTED" "$scratch/trace" || { echo "$1 was not injected" >&2; return 1; }
    # Not grep -q, which hangs up at the first match: curl takes that for a failure.
    within curl -sf http://127.0.0.1:9000/metrics | grep '^switchboard_accept_errors_total [1-9]' >/dev/null
    stop
}

need curl:curl
for error in EMFILE ENFILE ENOMEM ENOBUFS ECONNABORTED; do
    refused "$error"
    echo "accept fails with $error: newcomers are served all the same"
done
lossy
echo 'a network that loses one packet in twenty: every message arrives once, in order'
