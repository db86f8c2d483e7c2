#!/usr/bin/env bash
# Opens very many connections on loopback, also more than the limit of open files of a process.
#
#   scripts/max-connections.sh COUNT            idle: COUNT sessions that send nothing
#   scripts/max-connections.sh COUNT --active   active: all sessions in rooms, exchanging messages
#
#   --ping-interval 'TIMES'  idle: one run for each interval; default '25s 300s'
#   --message-rate RATE      active: messages per client and second; default 0.1
#   --seconds COUNT          active: length of the measurement; default 60
#   --connect-rate RATE      sessions opened per second; default 4000
#   --shards COUNT           default: as many as the limit of open files requires
#   --server-cpus LIST       default: the first CPU
#   --load-cpus LIST         default: the other CPUs, if there are any
#   --bin FOLDER             default: target/release, which is built first
#   --out FOLDER             default: target/max-connections
#   --check                  only checks whether this machine can hold COUNT connections
#
# First checks memory, files, ports and kernel limits, and prints the commands that raise a limit
# which is too low. Each shard and each thread of the load tester has its own descriptor table, so
# COUNT may be many times the limit of open files; this needs Linux 6.9, and usually more shards
# than CPUs. Writes summary.md and the reports of the load tester. The status is 1 if a session was
# lost or had any other fault, or if the server exited with an error.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/.."

count='' form=idle intervals='25s 300s' message_rate=0.1 seconds=60 rate=4000 shards=''
server_cpus='' load_cpus='' bin='' out=target/max-connections check=''
usage() {
    sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' scripts/max-connections.sh
    exit "$1"
}
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage 0 ;;
        --active) form=active && shift && continue ;;
        --check) check=yes && shift && continue ;;
        [0-9]*) count=$1 && shift && continue ;;
    esac
    [ $# -ge 2 ] || usage 2 >&2
    case $1 in
        # Relative paths are relative to the folder of the caller.
        --bin | --out) [[ -z $2 || $2 == /* ]] || set -- "$1" "$called_from/$2" "${@:3}" ;;
    esac
    case $1 in
        --ping-interval) intervals=$2 ;;
        --message-rate) message_rate=$2 ;;
        --seconds) seconds=$2 ;;
        --connect-rate) rate=$2 ;;
        --shards) shards=$2 ;;
        --server-cpus) server_cpus=$2 ;;
        --load-cpus) load_cpus=$2 ;;
        --bin) bin=$2 ;;
        --out) out=$2 ;;
        *) usage 2 >&2 ;;
    esac
    shift 2
done
# Wrong arguments are reported before anything runs.
wrong() {
    printf 'max-connections: %s\n' "$*" >&2
    exit 2
}
[ -n "$count" ] || usage 2 >&2
whole='^[1-9][0-9]{0,8}$' most_shards=1024
if ! [[ $count =~ $whole ]] || [ $((count % 2)) = 1 ]; then wrong "COUNT has to be an even number, not '$count'"; fi
[[ $seconds =~ $whole ]] || wrong "--seconds takes a whole number, not '$seconds'"
[[ $rate =~ $whole ]] || wrong "--connect-rate takes a whole number, not '$rate'"
[[ $message_rate =~ ^[0-9]+(\.[0-9]+)?$ ]] || wrong "--message-rate takes a number such as 0.1, not '$message_rate'"
if [ -n "$shards" ] && { ! [[ $shards =~ $whole ]] || [ "$shards" -gt "$most_shards" ]; }; then
    wrong "--shards takes 1 to $most_shards, not '$shards'"
fi
[ -n "${intervals// /}" ] || wrong "--ping-interval takes one or more times, such as '25s 300s'"
for time in $intervals; do
    [[ $time =~ ^[1-9][0-9]{0,8}s$ ]] || wrong "--ping-interval takes whole seconds such as 25s, not '$time'"
done

# Ends the jobs in reverse order, so that the load tester never runs without its server. `jobs` lists
# a job as soon as it exists; a list kept by this script would miss one that has just started.
finish() {
    local child
    trap '' HUP INT TERM
    for child in $(jobs -pr | tac); do
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    done
}
trap finish EXIT
# Every signal needs a trap: a shell that a signal terminates may not run its EXIT trap.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
fail() {
    printf 'max-connections: %s\n' "$*" >&2
    exit 1
}
# A sleep that a trapped signal interrupts at once.
pause() {
    sleep "$1" &
    wait "$!"
}
say() { printf '%s\n' "$*" | tee -a "$out/summary.md"; }
up() { echo $((($1 + $2 - 1) / $2)); } # a division, rounded up

# Rooms that measure latency while the other sessions are idle, and spare connections for these
# rooms and for requests of /stats.
sample_rooms=50 spare=300

# Computes the number of shards, and so of descriptor tables. The table of a shard has
# 64 + 16 + 1 descriptors that are not connections, and 3 for each shard. The kernel distributes
# connections at random, so 3 % are left free.
plan() {
    limit=$(ulimit -Hn)
    [ "$limit" != unlimited ] || limit=1048576
    ulimit -n "$limit"
    local wanted=$((count + spare)) each
    for shards in ${shards:-$(seq "$(nproc)" "$most_shards")}; do
        each=$((limit - 81 - 3 * shards))
        [ "$each" -gt 0 ] || fail "a limit of $limit open files is too low for $shards shards"
        if [ $((each * shards * 97 / 100)) -ge "$wanted" ]; then break; fi
    done
    [ $((each * shards * 97 / 100)) -ge "$wanted" ] ||
        fail "$shards shards can hold $((each * shards * 97 / 100)) connections with a limit of $limit open files; $wanted are needed"
    threads=$(up "$count" $((limit - 64)))
    most=$wanted
}

lacks=0
needs() { # what have need command...
    local what=$1 have=$2 need=$3
    shift 3
    if [ "$have" -ge "$need" ]; then
        printf 'ok      %-26s have %-12s need %s\n' "$what" "$have" "$need"
    else
        printf 'short   %-26s have %-12s need %-12s %s\n' "$what" "$have" "$need" "$*"
        lacks=1
    fi
}
available() { awk '/^MemAvailable/ { printf "%.0f", $2 * 1024 }' /proc/meminfo; }
sysctl_of() { cat "/proc/sys/${1//.//}" 2>/dev/null || echo 0; }
sysctl_needs() { # name need
    needs "$1" "$(sysctl_of "$1" | awk '{ print $NF }')" "$2" "sudo sysctl -w $1=$2"
}

# Both ends of every connection are on this machine: two sockets, two files, two epoll watches.
check_limits() {
    local both=$((2 * (count + spare))) used bytes low pages range first last
    used=$(cut -f 1 /proc/sys/fs/file-nr)
    sysctl_needs fs.nr_open "$limit"
    needs RLIMIT_NOFILE "$limit" 1000 "sudo prlimit --pid \$\$ --nofile=20000:20000"
    sysctl_needs fs.file-max $((used + both + 10000))
    sysctl_needs fs.epoll.max_user_watches "$both"
    needs net.core.somaxconn "$(sysctl_of net.core.somaxconn)" 4096 \
        'sudo sysctl -w net.core.somaxconn=4096'
    # tcp_mem counts queued bytes, in pages. Idle connections have none.
    pages=50000
    [ "$form" = idle ] || pages=$((both / 4 + 50000))
    # A limit of the whole machine, which is not visible inside a network namespace.
    if [ -r /proc/sys/net/ipv4/tcp_mem ]; then
        low=$(awk '{ print $2 }' /proc/sys/net/ipv4/tcp_mem)
        needs 'net.ipv4.tcp_mem[1]-pages' "$low" "$pages" \
            "sudo sysctl -w net.ipv4.tcp_mem='$((pages * 3 / 4)) $pages $((pages * 3 / 2))'"
    fi
    # The load tester opens 10,000 connections from each address of 127.0.0.0/8, and the kernel first
    # uses every second port of an address.
    read -r first last </proc/sys/net/ipv4/ip_local_port_range
    range=$((last - first + 1))
    needs net.ipv4.ip_local_port_range "$range" 25000 \
        "sudo sysctl -w net.ipv4.ip_local_port_range='32768 60999'"
    if [ -r /proc/sys/net/netfilter/nf_conntrack_max ] &&
        [ "$(sysctl_of net.netfilter.nf_conntrack_count)" -gt 0 ]; then
        sysctl_needs net.netfilter.nf_conntrack_max "$both"
    fi
    # For each connection: 9.5 KiB of kernel memory for both ends (measured with a million), 1 KiB in
    # the load tester, 256 bytes in the server. 300 MB for the processes themselves.
    bytes=$((count * (9728 + 1024 + 256) + 300000000))
    needs memory-available-bytes "$(available)" "$bytes" '# more memory, or a smaller COUNT'
}

# The server runs on the first CPU and the load tester on the others, if there are any.
choose_cpus() {
    [ -n "$server_cpus" ] || server_cpus=$(cpus | head -n 1)
    [ -n "$load_cpus" ] || load_cpus=$(cpus | tail -n +2 | paste -sd,)
    [ -n "$load_cpus" ] || load_cpus=$server_cpus
}

start_server() { # flags...
    # The log is read before the server may have created it.
    : >"$out/server.log"
    taskset -c "$server_cpus" "$bin/switchboard" --listen 127.0.0.1:0 --shards "$shards" \
        --fd-tables private --max-connections "$most" --drain-timeout 5s "$@" \
        2>"$out/server.log" &
    pid=$!
    address=''
    for _ in $(seq 300); do
        address=$(sed -n 's/.*listening on \([0-9.]*:[0-9]*\).*/\1/p' "$out/server.log" | head -n 1)
        [ -z "$address" ] || break
        kill -0 "$pid" 2>/dev/null || fail "the server did not start: $(cat "$out/server.log")"
        sleep 0.1
    done
    [ -n "$address" ] || fail 'the server has not logged its address'
    empty_bytes=$(resident) free_bytes=$(available)
}

stop_server() {
    kill -TERM "$pid"
    # It drains for at most 5 s, and its clients have disconnected.
    timeout 60 tail --pid="$pid" -f /dev/null || fail 'the server did not exit within 60 s'
    wait "$pid" || fail "the server exited with status $?: $(tail -n 5 "$out/server.log")"
}

# Starts the load tester. `loader` has to be its process ID, and not that of a shell around it, so
# that a signal reaches the load tester.
load() { # name arguments...
    local name=$1
    shift
    loader_log=$out/$name.log
    taskset -c "$load_cpus" "$bin/switchboard-load" "$@" --url "ws://$address/ws" --targets none \
        --late-percent 100 --report "$out/$name" --quiet >"$loader_log" 2>&1 &
    loader=$!
}

stat() { curl -fsS --max-time 30 "http://$address/stats" | jq -r "$1"; }
resident() { awk '/^VmRSS/ { printf "%.0f", $2 * 1024 }' "/proc/$pid/status"; }
cpu_ns() { cat "/proc/$pid"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
now_ms() { date +%s%3N; }
figure() { jq -r "[.runs[].figures.$2][0] // \"-\"" "$out/$1/report.json"; }
faults() { jq -r '[.runs[].faults[]?.count] | add // 0' "$out/$1/report.json"; }

# A figure that is not as required makes the exit status 1.
failed=0
must_be() { # what found required
    [ "$2" = "$3" ] || { failed=1 && say "| FAILED: $1 | $2 instead of $3 |"; }
}

until_open() {
    local began=$1 deadline=$(($(date +%s) + 3 * count / rate + 120)) open
    while :; do
        open=$(stat .sessions.active)
        [ "$open" -lt "$count" ] || break
        kill -0 "$loader" 2>/dev/null ||
            fail "the load tester exited when $open sessions were open: $(tail -n 3 "$loader_log")"
        [ "$(date +%s)" -lt "$deadline" ] ||
            fail "only $open of $count sessions are open; $(tail -n 1 "$out/server.log")"
        sleep 0.2
    done
    open_ms=$(($(now_ms) - began))
}

memory_lines() {
    local bytes all
    bytes=$(resident) all=$((free_bytes - $(available)))
    say "| resident memory of the server | $bytes bytes, $(((bytes - empty_bytes) / count)) per session |"
    say "| memory used on the machine, with kernel and load tester | $all bytes, $((all / count)) per session |"
    say "| queued in TCP sockets | $(awk '/^TCP:/ { printf "%.0f", $NF * 4096 }' /proc/net/sockstat) bytes |"
}

idle() { # interval
    local interval=$1 window=${1%s} before after received began hold ends expected alive holder
    [ "$window" -ge 30 ] || window=30
    start_server --ping-interval "$interval" --silence-limit $((${interval%s} + 60))s
    # Long enough for a machine that reaches only half of the connect rate.
    hold=$((window + count / rate + 120))
    began=$(now_ms) ends=$((began / 1000 + count / rate + hold))
    load "idle-$interval" connections --users "$count" --connect-rate "$rate" --hold "${hold}s" \
        --ping-every 24h --threads "$threads" --connect-timeout 60s
    until_open "$began"
    holder=$loader
    say "### $count idle sessions, --ping-interval $interval"
    say ''
    say '| what | figure |'
    say '| --- | --- |'
    say "| time to open | $((open_ms / 1000)).$(printf %03d $((open_ms % 1000))) s, $((count * 1000 / open_ms)) per second |"
    memory_lines
    before=$(cpu_ns) received=$(stat .bytes.wire_received)
    began=$(now_ms)
    pause "$window"
    after=$(cpu_ns) began=$(($(now_ms) - began))
    # A pong of a client has six bytes, and idle clients send nothing else.
    received=$((($(stat .bytes.wire_received) - received) * 1000 / (6 * began)))
    expected=$((count / ${interval%s}))
    say "| CPU while idle | $(awk "BEGIN { printf \"%.1f\", ($after - $before) / $began / 10000 }") % of one CPU, over $window s |"
    say "| pings per second, computed | $expected |"
    say "| pongs per second, from the bytes received | $received |"
    load "sample-$interval" signaling --rooms "$sample_rooms" --message-rate 2 --duration 15s \
        --connect-rate 100
    wait "$loader" || fail "the sample failed: $(tail -n 3 "$out/sample-$interval.log")"
    say "| time to a match, beside the idle sessions | p50 $(figure "sample-$interval" match_p50_ms) ms, p99 $(figure "sample-$interval" match_p99_ms) ms |"
    say "| relay time, beside the idle sessions | p50 $(figure "sample-$interval" relay_p50_ms) ms, p99 $(figure "sample-$interval" relay_p99_ms) ms |"
    # Sessions of the sample may still be closing.
    for _ in $(seq 50); do
        alive=$(stat .sessions.active)
        [ "$alive" -gt "$count" ] || break
        sleep 0.1
    done
    [ "$(date +%s)" -lt "$ends" ] ||
        fail "this machine was too slow: the idle sessions had begun to close when they were counted; use a lower --connect-rate"
    say "| sessions alive at the end | $alive |"
    must_be 'sessions alive' "$alive" "$count"
    wait "$holder" || { failed=1 && say "the load tester: $(tail -n 3 "$out/idle-$interval.log")"; }
    say "| faults reported by the load tester | $(faults "idle-$interval") |"
    must_be faults "$(faults "idle-$interval")" 0
    say ''
    stop_server
}

active() {
    local began alive matched
    start_server
    began=$(now_ms)
    load active signaling --rooms $((count / 2)) --connect-rate "$rate" --candidates 3 \
        --message-rate "$message_rate" --duration "${seconds}s" --threads "$threads" \
        --connect-timeout 60s
    until_open "$began"
    pause $((seconds / 2))
    say "### $count sessions in rooms, $message_rate messages per second each"
    say ''
    say '| what | figure |'
    say '| --- | --- |'
    say "| time to open | $((open_ms / 1000)) s |"
    alive=$(stat .sessions.active)
    say "| sessions and rooms in the middle of the run | $alive, $(stat .rooms.active) |"
    must_be 'sessions alive' "$alive" "$count"
    memory_lines
    wait "$loader" || { failed=1 && say "the load tester: $(tail -n 3 "$out/active.log")"; }
    matched=$(figure active matched)
    say "| matched | $matched |"
    must_be matched "${matched%.0}" "$count"
    say "| time to a match | p50 $(figure active match_p50_ms) ms, p99 $(figure active match_p99_ms) ms |"
    say "| relay time | p50 $(figure active relay_p50_ms) ms, p99 $(figure active relay_p99_ms) ms |"
    say "| faults reported by the load tester | $(faults active) |"
    must_be faults "$(faults active)" 0
    say ''
    stop_server
}

# shellcheck source=scripts/need.sh
. scripts/need.sh
plan
check_limits
[ "$lacks" = 0 ] || fail "the limits of this machine are too low for $count connections; see the lines marked short"
[ -z "$check" ] || exit 0
need jq:jq curl:curl
if [ -z "$bin" ]; then
    bin=${CARGO_TARGET_DIR:-target}/release
    cargo build --release --bin switchboard --bin switchboard-load
fi
choose_cpus
mkdir -p "$out"
: >"$out/summary.md"
say "limit of open files $limit; $shards shards, $threads threads of the load tester; server on CPU $server_cpus, load tester on $load_cpus"
say ''
if [ "$form" = active ]; then
    active
else
    for interval in $intervals; do idle "$interval"; done
fi
[ "$failed" = 0 ] || fail "the run failed; see $out/summary.md"
