#!/usr/bin/env bash
# Tests the server with a faulty network and a failing kernel: in a network namespace that loses
# one packet in twenty, and with every error of accept(2) that means exhaustion.
#
#   scripts/fault-net.sh
#
# SWITCHBOARD_BIN    the server to test; default: the debug build, which is built first
#
# Needs root for the namespace. Installs missing tools as Debian packages: nftables, iproute2,
# strace, curl. Changes nothing outside the namespace.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

need nft:nftables ip:iproute2 strace:strace
need_server
cargo build --bin switchboard-load
load=${CARGO_TARGET_DIR:-target}/debug/switchboard-load

[ "$(id -u)" = 0 ] || { echo "fault-net.sh needs root to create a network namespace" >&2; exit 1; }
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
    # Not with `within`: here $! is the process of ip, which becomes the server.
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
    wait "$server" || { echo "the server exited with status $?" >&2; cat "$scratch/log" >&2; return 1; }
    server=''
    ! grep -i panicked "$scratch/log"
}

stats() { within curl -sf http://127.0.0.1:9000/stats; }

lossy() {
    # Not every kernel has netem; every nftables has numgen.
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
    # A lost packet arrives late, after one retransmission or more; the server cannot change that.
    # So latency has no target here, but no message may be lost, reordered or misdirected.
    within "$load" signaling --url ws://127.0.0.1:9000/ws --rooms 50 --duration 20s \
        --warm-up 5s --quiet --late-percent 100 \
        --report "$scratch/report" --targets none --message-timeout 30s --match-timeout 30s \
        --require lost==0 --require misrouted==0 --require duplicated==0 \
        --require reordered==0 --require corrupted==0
    within nft list table inet loss | grep 'packets [1-9]' >/dev/null || {
        echo 'the rule dropped no packet' >&2
        return 1
    }
    within nft delete table inet loss
    stop
}

refused() { # errno
    start --drain-timeout 1s
    # Every second call fails, so that no connection is accepted at the first attempt.
    strace -qq -f -e trace=accept4 -e inject="accept4:error=$1:when=1+2" -p "$server" \
        -o "$scratch/trace" &
    tracer=$!
    for _ in $(seq 100); do
        # Wait until strace has attached to every thread.
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
    # Not grep -q, which closes the pipe at the first match, so that curl fails.
    within curl -sf http://127.0.0.1:9000/metrics | grep '^switchboard_accept_errors_total [1-9]' >/dev/null
    stop
}

need curl:curl
for error in EMFILE ENFILE ENOMEM ENOBUFS ECONNABORTED; do
    refused "$error"
    echo "accept fails with $error: new connections are still served"
done
lossy
echo 'one packet in twenty is lost: every message still arrives once and in order'
