#!/usr/bin/env bash
# Where the server's time goes, under load: one folder with an on-CPU flame graph, an off-CPU
# summary, perf stat, system calls per relayed message, and context switches.
#
#   scripts/profile.sh                        its own server and load: 500 rooms, 20,000 messages/s
#   scripts/profile.sh --pid PID              a server that runs, under the load it has
#
#   --out DIR          where it all goes; default target/profile
#   --seconds COUNT    length of each measurement; default 10
#   --server 'FLAGS'   flags of its own server; default: one shard
#   --load 'SCENARIO'  what switchboard-load does, without --url and times;
#                      default: signaling, 500 rooms, 20 messages of 200 bytes a user and second
#   --address H:P      where the server of --pid serves /metrics; default: what it listens on
#
# Its own server is built with the Cargo profile `profiling` and frame pointers, in a target
# folder of its own. Runs as root, or where perf and strace may look at the server. Installs what
# is missing: linux-perf, strace, curl and iproute2 from Debian, inferno from crates.io into target/tools.
#
# What this machine cannot measure (hardware counters, scheduler events) is left out or measured
# in another way, and summary.md says so.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/.."

out=target/profile seconds=10 pid='' address=''
server_flags='--shards 1'
load='signaling --rooms 500 --message-rate 20 --message-bytes 200 --late-percent 100'
usage() {
    sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' scripts/profile.sh
    exit "$1"
}
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage 0 ;;
        --out | --seconds | --server | --load | --pid | --address) [ $# -ge 2 ] || usage 2 >&2 ;;
        *) usage 2 >&2 ;;
    esac
    case $1 in
        --out)
            out=$2
            # Whoever calls names it from where they are.
            [[ $out == /* ]] || out=$called_from/$out
            ;;
        --seconds) seconds=$2 ;;
        --server) server_flags=$2 ;;
        --load) load=$2 ;;
        --pid) pid=$2 ;;
        --address) address=$2 ;;
    esac
    shift 2
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || usage 2 >&2
mkdir -p "$out"
summary=$out/summary.md
left_out=()
children=()
finish() {
    local child
    for child in ${children[@]+"${children[@]}"}; do kill "$child" 2>/dev/null || true; done
    wait 2>/dev/null || true
}
trap finish EXIT
fail() {
    printf 'profile: %s\n' "$*" >&2
    exit 1
}

need_tools() {
    # shellcheck source=scripts/need.sh
    . scripts/need.sh
    need perf:linux-perf strace:strace curl:curl ss:iproute2
    tools=${CARGO_TARGET_DIR:-target}/tools
    if [ ! -x "$tools/bin/inferno-flamegraph" ]; then
        cargo install inferno --locked --no-default-features --features cli --root "$tools"
    fi
}

# The server on the first CPU there is, the load on the others, as far as there are any.
start_both() {
    local folder=${CARGO_TARGET_DIR:-target}/frame-pointers first others length word
    RUSTFLAGS="${RUSTFLAGS:-} -C force-frame-pointers=yes" cargo build --profile profiling \
        --target-dir "$folder" --bin switchboard --bin switchboard-load
    first=$(cpus | head -n 1)
    others=$(cpus | tail -n +2 | paste -sd,)
    ulimit -n "$(ulimit -Hn)"
    # It is read before the server may have opened it.
    : >"$out/server.log"
    # shellcheck disable=SC2086  # flags are split into words on purpose
    taskset -c "$first" "$folder/profiling/switchboard" --listen 127.0.0.1:0 $server_flags \
        2>"$out/server.log" &
    pid=$!
    children+=("$pid")
    for _ in $(seq 100); do
        address=$(sed -n 's/.*listening on \([0-9.]*:[0-9]*\).*/\1/p' "$out/server.log" | head -n 1)
        [ -z "$address" ] || break
        kill -0 "$pid" 2>/dev/null || fail "the server does not start: $(cat "$out/server.log")"
        sleep 0.1
    done
    [ -n "$address" ] || fail 'the server does not say where it listens'
    # Four measurements and what lies between them.
    length=$((seconds * 5 + 30))
    local -a run=("$folder/profiling/switchboard-load")
    for word in $load; do run+=("$word"); done
    run+=(--url "ws://$address/ws" --duration "${length}s" --report "$out/load" --quiet)
    if [ -n "$others" ]; then run=(taskset -c "$others" "${run[@]}"); fi
    "${run[@]}" >"$out/load.log" 2>&1 &
    loader=$!
    children+=("$loader")
    until_busy
}

# Where the server listens. With --fd-tables private its listeners are in the tables of the
# shards' threads, of which ss knows nothing: it tells the sockets, and /proc whose they are.
listens_at() {
    awk 'NR == FNR { ours["ino:" $1] = 1; next }
        !found { for (at = 5; at <= NF; at++) if ($at in ours) found = $4 }
        END { if (found) print found }' \
        <(find "/proc/$pid/task/"*/fd -lname 'socket:*' -printf '%l\n' 2>/dev/null | tr -dc '0-9\n') \
        <(ss -Hltne)
}

# Messages relayed so far, from /metrics: a line for each shard. Debian's awk writes no more than
# 2147483647 as %d.
relayed() {
    local figures
    figures=$(curl -sf --max-time 5 "http://$address/metrics") || fail "no /metrics at $address"
    awk '/^switchboard_messages_relayed_total/ { sum += $2 } END { printf "%.0f", sum }' <<<"$figures"
}

# Measured is what goes on steadily, not the connecting before it.
until_busy() {
    local before now
    for _ in $(seq 60); do
        kill -0 "$loader" 2>/dev/null || fail "the load ended: $(tail -n 3 "$out/load.log")"
        before=$(relayed)
        sleep 1
        now=$(relayed)
        if [ "$before" -gt 0 ] && [ $((now - before)) -gt 100 ]; then
            sleep 2
            return
        fi
    done
    fail "the load relays nothing: $(tail -n 3 "$out/load.log")"
}

# Nanoseconds on the CPU, nanoseconds waiting for one, voluntary and other switches: for each
# thread a line.
threads_now() {
    local task
    for task in "/proc/$pid/task/"*; do
        echo "${task##*/} $(tr ' ' '_' <"$task/comm") $(cut -d' ' -f1,2 "$task/schedstat") $(
            awk '/^voluntary/ { v = $2 } /^nonvoluntary/ { n = $2 } END { print v, n }' "$task/status"
        )"
    done
}

# perf stat and the threads' own figures, over the same time.
measure_counts() {
    local before after messages began ended
    before=$(threads_now) messages=$(relayed) began=$(date +%s%N)
    perf stat -p "$pid" -o "$out/perf-stat.txt" -- sleep "$seconds" 2>"$out/perf-stat.err" ||
        left_out+=("perf stat: $(tail -n 1 "$out/perf-stat.err")")
    after=$(threads_now) ended=$(date +%s%N)
    messages=$(($(relayed) - messages))
    if grep -q 'not supported' "$out/perf-stat.txt" 2>/dev/null; then
        left_out+=("hardware counters (cycles, instructions, cache misses): this machine has none; \`perf-stat.txt\` holds the kernel's own counters")
    fi
    {
        echo "| thread | on CPU | waits for a CPU | sleeps | voluntary switches /s | other switches /s |"
        echo "| --- | --- | --- | --- | --- | --- |"
        join <(sort <<<"$before") <(sort <<<"$after") | awk -v wall=$((ended - began)) '{
            run = $8 - $3; wait = $9 - $4; sleep = wall - run - wait
            printf "| %s | %.1f %% | %.1f %% | %.1f %% | %.0f | %.0f |\n", $2, run / wall * 100,
                wait / wall * 100, (sleep > 0 ? sleep : 0) / wall * 100,
                ($10 - $5) / wall * 1e9, ($11 - $6) / wall * 1e9 }'
    } >"$out/threads.md"
    cpu_per_message=$(join <(sort <<<"$before") <(sort <<<"$after") | awk -v messages="$messages" '
        { run += $8 - $3 } END { printf (messages ? "%.2f" : "-"), messages ? run / messages / 1000 : 0 }')
    messages_per_second=$((messages * 1000000000 / (ended - began)))
}

flame_graph() {
    local event=cycles
    if ! perf stat -e cycles true 2>&1 | grep -q '[0-9] *cycles'; then
        event='cpu-clock'
        left_out+=("sampling by cycles: sampled by \`cpu-clock\`, a timer, instead; what runs with interrupts off (spinlocks) is charged to where they come on again")
    fi
    # 997, a prime, falls into step with nothing.
    perf record -q -F 997 -e "$event" --call-graph fp -p "$pid" -o "$out/perf.data" \
        -- sleep "$seconds" >"$out/perf-record.log" 2>&1 || fail "perf record: $(tail -n 1 "$out/perf-record.log")"
    perf script -i "$out/perf.data" 2>/dev/null | "$tools/bin/inferno-collapse-perf" \
        >"$out/on-cpu.folded" 2>"$out/inferno.log"
    [ -s "$out/on-cpu.folded" ] || fail 'no sample was taken: does the server have anything to do?'
    samples=$(perf script -i "$out/perf.data" -F tid 2>/dev/null | grep -c .)
    "$tools/bin/inferno-flamegraph" --title 'Switchboard, on CPU' --hash --minwidth 0.3 \
        --subtitle "$samples samples at 997 Hz, $event" "$out/on-cpu.folded" >"$out/on-cpu.svg"
}

# Where the threads sleep: how often and for how long, by system call and kernel function. A thread's
# own events tell of its leaving the CPU, with the stack, but not of its return, which happens to
# whoever had the CPU meanwhile; that it is back tells the end of the system call it slept in.
off_cpu() {
    local length=$((seconds < 5 ? seconds : 5))
    if perf record -q -e sched:sched_switch -e raw_syscalls:sys_exit --call-graph fp -p "$pid" \
        -o "$out/sched.data" -- sleep "$length" >"$out/perf-sched.log" 2>&1; then
        perf script -i "$out/sched.data" --ns -F comm,tid,time,event,trace,ip,sym 2>/dev/null |
            sleeps $((length * 1000)) >"$out/off-cpu.txt"
        rm -f "$out/sched.data"
        if grep -q 'unknown function' "$out/off-cpu.txt"; then
            left_out+=("the functions in which some threads sleep (\`off-cpu.txt\`): the kernel hides their names, see /proc/sys/kernel/kptr_restrict")
        fi
        return
    fi
    left_out+=("scheduler events: $(tail -n 1 "$out/perf-sched.log" | cut -c 1-120); \`off-cpu.txt\` is time on the clock within each system call, by strace, which slows the server down")
    rm -f "$out/sched.data" "$out/off-cpu.txt"
    timeout --signal=INT "$length" \
        strace -f -c -w -U name,calls,total-time,avg-time -p "$pid" -o "$out/off-cpu.txt" 2>"$out/strace-off.err" || true
    [ -s "$out/off-cpu.txt" ] ||
        left_out+=("where threads sleep: strace: $(tail -n 1 "$out/strace-off.err")")
}

# sleeps milliseconds: makes the table of what `perf script` writes.
sleeps() {
    local task
    {
        # A thread without any event sleeps all the time, and the kernel names where.
        for task in "/proc/$pid/task/"*; do
            echo "THREAD ${task##*/} $(tr ' ' '_' <"$task/comm") $(cat "$task/wchan" 2>/dev/null || true)"
        done
        cat
    } | awk -v wall="$1" '
        # From when a thread left to now; `left` and `where` are forgotten.
        function back(thread, now,    key, ms) {
            if (!(thread in left)) return
            key = thread SUBSEP where[thread]
            ms = now - left[thread]
            times[key]++; sum[key] += ms; off[thread] += ms
            if (ms > longest[key]) longest[key] = ms
            delete left[thread]; delete where[thread]
        }
        # The stack of who has just left is complete.
        function name_it() {
            if (leaver != "") where[leaver] = (call != "" ? call : "no system call") ", " (inner != "" ? inner : "unknown function")
            leaver = ""
        }
        $1 == "THREAD" { name[$2] = $3; wchan[$2] = $4; order[++threads] = $2; next }
        match($0, /[0-9]+\.[0-9]+: *(sched:sched_switch|raw_syscalls:sys_exit):/) {
            name_it()
            now = substr($0, RSTART) * 1000
            words = split(substr($0, 1, RSTART - 1), word)
            thread = word[words]
            if (!began) began = now
            # That of before is over, if nothing has told it: a page fault ends no system call.
            if (!(thread in seen) && /sys_exit:/) { left[thread] = began; where[thread] = "(since before)" }
            seen[thread] = 1
            back(thread, now)
            if (/prev_state=[SDI]/) { left[thread] = now; leaver = thread; call = inner = "" }
            else if (/prev_state=/) taken[thread]++
            next
        }
        # Its innermost function comes first.
        leaver != "" && NF >= 2 {
            if ($2 ~ /^__[a-z0-9]+_sys_/) { if (call == "") { call = $2; sub(/^__[a-z0-9]+_sys_/, "", call) } }
            else if (inner == "" && $2 != "[unknown]" && $2 !~ /^(__schedule|schedule|schedule_.*|io_schedule.*)$/) inner = $2
        }
        END {
            name_it()
            for (i = 1; i <= threads; i++) {
                thread = order[i]
                if (!(thread in seen)) { left[thread] = began; where[thread] = "all the time, " wchan[thread] }
                back(thread, began + wall)
            }
            printf "%d ms of each thread; from going to sleep until the system call returns, so that waiting for a\nCPU is in it. threads.md tells the two apart, measured without any of this.\n\n", wall
            printf "%-16s %-40s %8s %10s %10s\n", "thread", "sleeps in: system call, kernel function", "times", "ms", "longest"
            for (i = 1; i <= threads; i++) {
                thread = order[i]
                for (key in sum) {
                    split(key, part, SUBSEP)
                    if (part[1] == thread) printf "%-16s %-40s %8d %10.1f %10.1f\n", name[thread], part[2], times[key], sum[key], longest[key]
                }
                printf "%-16s %-40s %8s %10.1f %8.1f %%\n", name[thread], "all sleep", "", off[thread], off[thread] / wall * 100
                if (taken[thread]) printf "%-16s %-40s %8d\n", name[thread], "(lost the CPU to another)", taken[thread]
            }
        }'
}

# Messages are counted while strace is attached, and only then.
system_calls() {
    local messages tracer
    strace -f -c -U name,calls,errors -p "$pid" -o "$out/strace.txt" 2>"$out/strace.err" &
    tracer=$!
    children+=("$tracer")
    for _ in $(seq 50); do
        if grep -q attached "$out/strace.err" || ! kill -0 "$tracer" 2>/dev/null; then break; fi
        sleep 0.1
    done
    messages=$(relayed)
    sleep "$((seconds < 5 ? seconds : 5))"
    messages=$(($(relayed) - messages))
    kill "$tracer" 2>/dev/null || true
    wait "$tracer" || true
    unset 'children[-1]'
    if [ ! -s "$out/strace.txt" ]; then
        left_out+=("system calls: strace: $(tail -n 1 "$out/strace.err")")
        return
    fi
    awk -v messages="$messages" '
        $2 ~ /^[0-9]+$/ && $1 != "total" { printf "| %s | %.0f | %.3f |\n", $1, $2, messages ? $2 / messages : 0 }
    ' "$out/strace.txt" | {
        echo "| system call | calls | for each of $messages relayed messages |"
        echo "| --- | --- | --- |"
        cat
    } >"$out/system-calls.md"
}

write_summary() {
    {
        echo "# Where the server's time goes"
        echo
        echo "$(date -u +%Y-%m-%d), Linux $(uname -r), $(nproc) CPUs; process $pid at $address; ${seconds} s a measurement."
        echo
        echo "$messages_per_second messages relayed a second, $cpu_per_message µs of CPU each (all threads)."
        echo "Flame graph: on-cpu.svg, $samples samples."
        echo
        cat "$out/threads.md"
        echo
        if [ -s "$out/system-calls.md" ]; then
            cat "$out/system-calls.md"
            echo
        fi
        echo "Left out or measured in another way:"
        echo
        if [ ${#left_out[@]} = 0 ]; then echo "- nothing"; else printf -- '- %s\n' "${left_out[@]}"; fi
    } >"$summary"
}

need_tools
if [ -n "$pid" ]; then
    [ -d "/proc/$pid/task" ] || fail "there is no process $pid"
    [ -n "$address" ] || address=$(listens_at)
    address=${address/#0.0.0.0:/127.0.0.1:}
    [ -n "$address" ] || fail "process $pid listens nowhere: give --address"
else
    start_both
fi
messages_per_second=0 cpu_per_message='-' samples=0
measure_counts
flame_graph
system_calls
off_cpu
write_summary
cat "$summary"
