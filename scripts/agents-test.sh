#!/usr/bin/env bash
# Compares two load agents with one generator: both drive the same load against one server, each from
# network namespaces of their own, and the percentiles stand side by side.
#
#   scripts/agents-test.sh           40,000 idle users, 1,000 users in 500 rooms that talk
#   scripts/agents-test.sh USERS     another number of idle users
#
# SWITCHBOARD_BIN       the server; default: the release build, which is built first
# SWITCHBOARD_LOAD_BIN  the load tester; likewise
# AGENTS_OUT            folder for the two reports; default target/agents-test
#
# The status is 1 unless both runs passed, with all users connected and all messages delivered. Latencies
# of two runs differ, so they are printed and not judged; that merged percentiles are those of one
# histogram with the same values is a property test (src/load/agents/interval_merge.rs).
#
# Needs root for the namespaces, Linux 6.9 for descriptor tables of threads, and installs iproute2 and
# python3 if they are missing. Changes nothing outside the namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh

users=${1:-40000} rooms=500
if ! [[ $users =~ ^[1-9][0-9]{0,5}$ ]] || [ $((users % 4)) != 0 ]; then
    echo "agents-test: USERS has to be a multiple of 4 below 1,000,000, not '$users'" >&2
    exit 2
fi
[ "$(id -u)" = 0 ] || { echo "agents-test.sh needs root to create network namespaces" >&2; exit 1; }
need ip:iproute2 python3:python3
folder=${CARGO_TARGET_DIR:-target}/release
if [ -z "${SWITCHBOARD_BIN:-}" ] || [ -z "${SWITCHBOARD_LOAD_BIN:-}" ]; then cargo build --release; fi
server_bin=$(realpath "${SWITCHBOARD_BIN:-$folder/switchboard}")
load_bin=$(realpath "${SWITCHBOARD_LOAD_BIN:-$folder/switchboard-load}")
out=$(realpath -m "${AGENTS_OUT:-target/agents-test}")

# The bridge is inside the namespace of the server; each generator has a cable to it.
net=sb-$$ server_address=10.213.0.1
names=(agent1 agent2 single)
scratch=$(mktemp -d)
processes=()
cleanup() {
    local name pid
    for pid in ${processes[@]+"${processes[@]}"}; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    for name in server "${names[@]}"; do ip netns delete "$net-$name" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap cleanup EXIT
within() { ip netns exec "$net-$1" "${@:2}"; }

add_namespace() { # name address
    ip netns add "$net-$1"
    within "$1" ip link set lo up
    # 40,000 connections to one address need as many local ports.
    within "$1" sysctl -qw net.ipv4.ip_local_port_range='1024 65535' net.core.somaxconn=65535
}

add_namespace server
within server ip link add bridge type bridge
within server ip address add "$server_address/24" dev bridge
within server ip link set bridge up
for i in "${!names[@]}"; do
    add_namespace "${names[i]}"
    ip link add cable netns "$net-${names[i]}" type veth peer name "port$i" netns "$net-server"
    within server ip link set "port$i" master bridge up
    within "${names[i]}" ip address add "10.213.0.$((i + 2))/24" dev cable
    within "${names[i]}" ip link set cable up
done

# A second address for the one generator: connect(2) searches every port of one half of the range once more
# than half of all ports to the same destination are in use, which takes milliseconds for each connection.
within single ip address add 10.213.0.5/24 dev cable

# Each descriptor table holds as many connections as the limit of open files allows.
limit=$(ulimit -Hn)
tables=$(((users + 2 * rooms) / (limit - 500) + 1))
shards=$((tables > 2 ? 2 * tables : 4))

start_server() {
    # Not with `within`: here $! is the process of ip, which becomes the server.
    ip netns exec "$net-server" "$server_bin" --listen "$server_address:8080" --fd-tables private \
        --shards "$shards" --no-pin 2>"$scratch/server.log" &
    server=$!
    processes+=("$server")
    for _ in $(seq 100); do
        ! grep -qs 'listening on' "$scratch/server.log" || return 0
        sleep 0.1
    done
    cat "$scratch/server.log" >&2
    return 1
}

stop_server() {
    kill -TERM "$server"
    wait "$server" || { echo "the server exited with status $?" >&2; cat "$scratch/server.log" >&2; return 1; }
}

start_agent() { # name address
    ip netns exec "$net-$1" "$load_bin" agent --listen "$2:7700" --secret-file "$scratch/secret" >"$scratch/$1.log" 2>&1 &
    processes+=($!)
    for _ in $(seq 100); do
        ! grep -q ":7700" "$scratch/$1.log" || return 0
        sleep 0.1
    done
    cat "$scratch/$1.log" >&2
    return 1
}

# The load of both runs. Two CPUs drive everything here, so a late start is no reason to void a run.
load=(connections --url "ws://$server_address:8080/ws" --users "$users" --connect-rate 2000 --hold 20s
    --sample-rooms "$rooms" --sample-rate 1 --late-percent 100 --targets none --quiet)

umask 077
head -c 32 /dev/urandom | base64 >"$scratch/secret"
start_agent agent1 10.213.0.2
start_agent agent2 10.213.0.3

status=0
start_server
within single "$load_bin" "${load[@]}" --threads "$((tables + 1))" --source none --report "$out/two-agents" \
    --agents 10.213.0.2:7700,10.213.0.3:7700 --secret-file "$scratch/secret" || status=1
stop_server
start_server
within single "$load_bin" "${load[@]}" --threads "$((tables + 1))" --source 10.213.0.4/31 --report "$out/one-generator" || status=1
stop_server

python3 - "$out" "$users" "$rooms" <<'PYTHON' || status=1
import json, sys

out, users, rooms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
reports = [json.load(open(f"{out}/{name}/report.json")) for name in ("two-agents", "one-generator")]
agents, single = [report["runs"][0]["figures"] for report in reports]
print(f"\n{'figure':28}{'two agents':>14}{'one generator':>16}")
names = ["connected", "matched", "sent", "received", "delivered_percent"]
names += [f"{what}_{part}_ms" for what in ("connect", "match", "relay") for part in ("p50", "p90", "p99", "max")]
for name in names:
    values = [f"{figures[name]:.3f}".rstrip("0").rstrip(".") if name in figures else "-" for figures in (agents, single)]
    print(f"{name:28}{values[0]:>14}{values[1]:>16}")
expected = {"connected": users + 2 * rooms, "delivered_percent": 100}
wrong = [name for figures in (agents, single) for name in expected if figures[name] != expected[name]]
print(f"\nincomplete: {', '.join(wrong)}" if wrong else "\nall users were connected and all messages delivered in both runs")
sys.exit(bool(wrong))
PYTHON
[ "$status" = 0 ]
