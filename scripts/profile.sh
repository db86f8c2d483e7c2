#!/usr/bin/env bash
# Profiles the server under load. Writes an on-CPU flame graph, an off-CPU summary, perf stat, the
# system calls per relayed message and context switches to one folder.
#
#   scripts/profile.sh                        starts a server and a load of 500 rooms, 20,000 messages/s
#   scripts/profile.sh --pid PID              profiles a running server with its present load
#
#   --out DIR          output folder; default target/profile
#   --seconds COUNT    length of each measurement; default 10
#   --server 'FLAGS'   flags of the started server; default: one shard
#   --load 'SCENARIO'  arguments of switchboard-load, without --url and durations;
#                      default: signaling, 500 rooms, 20 messages of 200 bytes per user and second
#   --address H:P      address that serves /metrics of --pid; default: its first listening address
#
# The started server is built with the Cargo profile `profiling` and frame pointers, in its own
# target folder. Needs root, or permission for perf and strace to trace the server. Installs missing
# tools: linux-perf, strace, curl and iproute2 from Debian, inferno from crates.io into target/tools.
#
# If this machine lacks hardware counters or scheduler events, the script omits a measurement or
# makes it in another way; summary.md lists these.
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
            # A relative path is relative to the folder of the caller.
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

# The server runs on the first CPU and the load tester on the others, if there are any.
start_both() {
    local folder=${CARGO_TARGET_DIR:-target}/frame-pointers first others length word
    RUSTFLAGS="${RUSTFLAGS:-} -C force-frame-pointers=yes" cargo build --profile profiling \
        --target-dir "$folder" --bin switchboard --bin switchboard-load
    first=$(cpus | head -n 1)
    others=$(cpus | tail -n +2 | paste -sd,)
    ulimit -n "$(ulimit -Hn)"
    # The log is read before the server may have created it.
    : >"$out/server.log"
    # shellcheck disable=SC2086  # flags are split into words on purpose
    taskset -c "$first" "$folder/profiling/switchboard" --listen 127.0.0.1:0 $server_flags \
        2>"$out/server.log" &
    pid=$!
    children+=("$pid")
    for _ in $(seq 100); do
        address=$(sed -n 's/.*listening on \([0-9.]*:[0-9]*\).*/\1/p' "$out/server.log" | head -n 1)
        [ -z "$address" ] || break
        kill -0 "$pid" 2>/dev/null || fail "the server did not start: $(cat "$out/server.log")"
        sleep 0.1
    done
    [ -n "$address" ] || fail 'the server has not logged its address'
    # Four measurements and the time between them.
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

# The address of the server. With --fd-tables private the listeners are in the descriptor tables of
# the shards' threads, which ss does not read. So ss lists the sockets, and /proc says which of
# them belong to the server.
listens_at() {
    awk 'NR == FNR { ours["ino:" $1] = 1; next }
        !found { for (at = 5; at <= NF; at++) if ($at in ours) found = $4 }
        END { if (found) print found }' \
        <(find "/proc/$pid/task/"*/fd -lname 'socket:*' -printf '%l\n' 2>/dev/null | tr -dc '0-9\n') \
        <(ss -Hltne)
}

# Messages relayed so far, the sum over the shards of /metrics. With %.0f, because the awk of Debian
# prints at most 2147483647 for %d.
relayed() {
    local figures
    figures=$(curl -sf --max-time 5 "http://$address/metrics") || fail "$address does not serve /metrics"
    awk '/^switchboard_messages_relayed_total/ { sum += $2 } END { printf "%.0f", sum }' <<<"$figures"
}

# Waits until the load is steady, so that opening the connections is not measured.
until_busy() {
    local before now
    for _ in $(seq 60); do
        kill -0 "$loader" 2>/dev/null || fail "the load tester exited: $(tail -n 3 "$out/load.log")"
        before=$(relayed)
        sleep 1
        now=$(relayed)
        if [ "$before" -gt 0 ] && [ $((now - before)) -gt 100 ]; then
            sleep 2
            return
        fi
    done
    fail "the load tester sends no messages: $(tail -n 3 "$out/load.log")"
}

# One line per thread: nanoseconds on a CPU, nanoseconds waiting for one, voluntary and involuntary
# context switches.
threads_now() {
    local task
    for task in "/proc/$pid/task/"*; do
        echo "${task##*/} $(tr ' ' '_' <"$task/comm") $(cut -d' ' -f1,2 "$task/schedstat") $(
            awk '/^voluntary/ { v = $2 } /^nonvoluntary/ { n = $2 } END { print v, n }' "$task/status"
        )"
    done
}

# perf stat and the figures of each thread, over the same time.
measure_counts() {
    local before after messages began ended
    before=$(threads_now) messages=$(relayed) began=$(date +%s%N)
    perf stat -p "$pid" -o "$out/perf-stat.txt" -- sleep "$seconds" 2>"$out/perf-stat.err" ||
        left_out+=("perf stat: $(tail -n 1 "$out/perf-stat.err")")
    after=$(threads_now) ended=$(date +%s%N)
    messages=$(($(relayed) - messages))
    if grep -q 'not supported' "$out/perf-stat.txt" 2>/dev/null; then
        left_out+=("hardware counters (cycles, instructions, cache misses): this machine has none; \`perf-stat.txt\` has the counters of the kernel")
    fi
    {
        echo "| thread | on CPU | waiting for a CPU | sleeping | voluntary switches /s | involuntary switches /s |"
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
        left_out+=("sampling by cycles: sampled by \`cpu-clock\`, a timer, instead; time with interrupts disabled (spinlocks) is attributed to the code that enables them")
    fi
    # 997 is prime, so that the samples do not coincide with periodic work.
    perf record -q -F 997 -e "$event" --call-graph fp -p "$pid" -o "$out/perf.data" \
        -- sleep "$seconds" >"$out/perf-record.log" 2>&1 || fail "perf record: $(tail -n 1 "$out/perf-record.log")"
    perf script -i "$out/perf.data" 2>/dev/null | "$tools/bin/inferno-collapse-perf" \
        >"$out/on-cpu.folded" 2>"$out/inferno.log"
    [ -s "$out/on-cpu.folded" ] || fail 'perf took no samples; check that the server has load'
    samples=$(perf script -i "$out/perf.data" -F tid 2>/dev/null | grep -c .)
    "$tools/bin/inferno-flamegraph" --title 'Switchboard, on CPU' --hash --minwidth 0.3 \
        --subtitle "$samples samples at 997 Hz, $event" "$out/on-cpu.folded" >"$out/on-cpu.svg"
}

# How often and how long the threads sleep, by system call and kernel function. The events of a
# thread include the switch away from it, with its stack, but not the switch back, which is an event
# of the thread that ran meanwhile. So the end of the system call marks the end of the sleep.
off_cpu() {
    local length=$((seconds < 5 ? seconds : 5))
    if perf record -q -e sched:sched_switch -e raw_syscalls:sys_exit --call-graph fp -p "$pid" \
        -o "$out/sched.data" -- sleep "$length" >"$out/perf-sched.log" 2>&1; then
        perf script -i "$out/sched.data" --ns -F comm,tid,time,event,trace,ip,sym 2>/dev/null |
            sleeps $((length * 1000)) >"$out/off-cpu.txt"
        rm -f "$out/sched.data"
        if grep -q 'unknown function' "$out/off-cpu.txt"; then
            left_out+=("the kernel functions in which some threads sleep (\`off-cpu.txt\`): the kernel hides their names, see /proc/sys/kernel/kptr_restrict")
        fi
        return
    fi
    left_out+=("scheduler events: $(tail -n 1 "$out/perf-sched.log" | cut -c 1-120); \`off-cpu.txt\` has the elapsed time in each system call, measured by strace, which slows the server down")
    rm -f "$out/sched.data" "$out/off-cpu.txt"
    timeout --signal=INT "$length" \
        strace -f -c -w -U name,calls,total-time,avg-time -p "$pid" -o "$out/off-cpu.txt" 2>"$out/strace-off.err" || true
    [ -s "$out/off-cpu.txt" ] ||
        left_out+=("where threads sleep: strace: $(tail -n 1 "$out/strace-off.err")")
}

# sleeps milliseconds: makes a table of the output of `perf script`.
sleeps() {
    local task
    {
        # A thread without events sleeps all the time; the kernel names the function.
        for task in "/proc/$pid/task/"*; do
            echo "THREAD ${task##*/} $(tr ' ' '_' <"$task/comm") $(cat "$task/wchan" 2>/dev/null || true)"
        done
        cat
    } | awk -v wall="$1" '
        # Ends a sleep: adds its length, and deletes `left` and `where`.
        function back(thread, now,    key, ms) {
            if (!(thread in left)) return
            key = thread SUBSEP where[thread]
            ms = now - left[thread]
            times[key]++; sum[key] += ms; off[thread] += ms
            if (ms > longest[key]) longest[key] = ms
            delete left[thread]; delete where[thread]
        }
        # The stack of the thread that went to sleep is complete.
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
            # An earlier sleep is over even without an event: a page fault ends no system call.
            if (!(thread in seen) && /sys_exit:/) { left[thread] = began; where[thread] = "(since before)" }
            seen[thread] = 1
            back(thread, now)
            if (/prev_state=[SDI]/) { left[thread] = now; leaver = thread; call = inner = "" }
            else if (/prev_state=/) taken[thread]++
            next
        }
        # The innermost function comes first.
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
            printf "%d ms of each thread. A sleep lasts until its system call returns, so it includes waiting for a CPU.\nthreads.md has sleeping and waiting apart, measured without this recording.\n\n", wall
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

# Counts system calls and messages while strace is attached.
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
        echo "| system call | calls | per relayed message ($messages) |"
        echo "| --- | --- | --- |"
        cat
    } >"$out/system-calls.md"
}

write_summary() {
    {
        echo "# Profile of the server"
        echo
        echo "$(date -u +%Y-%m-%d), Linux $(uname -r), $(nproc) CPUs; process $pid at $address; ${seconds} s per measurement."
        echo
        echo "$messages_per_second messages relayed per second, $cpu_per_message µs of CPU each (all threads)."
        echo "Flame graph: on-cpu.svg, $samples samples."
        echo
        cat "$out/threads.md"
        echo
        if [ -s "$out/system-calls.md" ]; then
            cat "$out/system-calls.md"
            echo
        fi
        echo "Omitted or measured in another way:"
        echo
        if [ ${#left_out[@]} = 0 ]; then echo "- none"; else printf -- '- %s\n' "${left_out[@]}"; fi
    } >"$summary"
}

need_tools
if [ -n "$pid" ]; then
    [ -d "/proc/$pid/task" ] || fail "there is no process $pid"
    [ -n "$address" ] || address=$(listens_at)
    address=${address/#0.0.0.0:/127.0.0.1:}
    [ -n "$address" ] || fail "process $pid has no listener; use --address"
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
