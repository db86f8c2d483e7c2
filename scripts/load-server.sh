# shellcheck shell=bash
# Sourced by load test scripts: starts a server and the load tester on this machine.
#
# SWITCHBOARD_BIN and SWITCHBOARD_LOAD_BIN name the programs; release builds are made of those that
# are not named. Both programs run in process groups of their own, so that only this script gets
# the signals of Ctrl-C and of a closed terminal. The script passes a signal to the load tester
# once. The server runs until the report is written, and the script until both have exited.

# The process ID of the load tester while it runs.
tester=

# build_release: sets SWITCHBOARD_BIN and SWITCHBOARD_LOAD_BIN.
build_release() {
    local folder=${CARGO_TARGET_DIR:-target}/release
    local -a missing=()
    [[ -n ${SWITCHBOARD_BIN:-} ]] || missing+=(--bin switchboard)
    [[ -n ${SWITCHBOARD_LOAD_BIN:-} ]] || missing+=(--bin switchboard-load)
    [[ ${#missing[@]} -eq 0 ]] || cargo build --release --locked "${missing[@]}"
    SWITCHBOARD_BIN=${SWITCHBOARD_BIN:-$folder/switchboard}
    SWITCHBOARD_LOAD_BIN=${SWITCHBOARD_LOAD_BIN:-$folder/switchboard-load}
}

# start_server log flags...: starts a server on a free port and sets `address`. The server is
# stopped when the script exits. If the server does not start, the script exits with status 3, like
# the load tester.
start_server() {
    local before=0
    log=$1
    shift
    [[ ! -f $log ]] || before=$(wc -l <"$log")
    ulimit -n "$(ulimit -Hn)"
    set -m
    "$SWITCHBOARD_BIN" --listen 127.0.0.1:0 "$@" 2>>"$log" &
    server=$!
    set +m
    trap 'end_tester; end_server || true' EXIT
    # Every signal needs a trap: a shell that a signal terminates may not run its EXIT trap.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # The first log line of the server has its address. The log may begin with lines of earlier
    # servers, and it has to exist before it is read.
    : >>"$log"
    address=
    for _ in $(seq 100); do
        address=$(tail -n "+$((before + 1))" "$log" | sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' | head -n 1)
        [[ -z $address ]] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$log" >&2
    echo "the server does not start" >&2
    exit 3
}

# end_tester: interrupts the load tester and waits for it. Called before the server is stopped.
end_tester() {
    [[ -z $tester ]] || kill -INT "$tester" 2>/dev/null || true
    [[ -z $tester ]] || wait "$tester" || true
    tester=
}

# end_server: stops the server and returns its exit status.
end_server() {
    # A terminal that closes may send SIGHUP more than once.
    trap '' HUP
    trap - EXIT
    kill "$server" 2>/dev/null || true
    wait "$server"
}

# conclude status: stops the server and exits with this status, or with 2 if the status is 0 but the
# server exited with an error.
conclude() {
    local status=$1 of_server=0
    end_server || of_server=$?
    if [[ $of_server -ne 0 ]]; then
        # Writing fails if the terminal has been closed.
        echo "the server ended with status $of_server; see $log" >&2 || true
        [[ $status -ne 0 ]] || status=2
    fi
    exit "$status"
}

# run_tester arguments...: runs the load tester and returns its status. SIGINT, SIGTERM or SIGHUP
# make it stop early and report the finished part; a second SIGINT or SIGTERM stops it at once.
# Under nohup the script and both programs ignore SIGHUP.
run_tester() {
    local status=0
    passed_on='' pending_signal=''
    trap 'pass_on TERM' INT TERM
    trap 'pass_on HUP' HUP
    set -m
    "$SWITCHBOARD_LOAD_BIN" "$@" &
    tester=$!
    set +m
    [[ -z $pending_signal ]] || pass_on "$pending_signal"
    while :; do
        status=0
        wait "$tester" || status=$?
        # `wait` also returns when a trapped signal arrives. The load tester may still run then.
        kill -0 "$tester" 2>/dev/null || break
    done
    tester=
    trap '' HUP
    trap - INT TERM
    return "$status"
}

# pass_on signal: interrupts the load tester. SIGHUP interrupts it only once, because a terminal that
# closes may send several: one from the kernel and one from its shell.
pass_on() {
    if [[ -z $tester ]]; then
        pending_signal=$1
    elif [[ -z $passed_on || $1 != HUP ]]; then
        passed_on=yes
        kill -INT "$tester" 2>/dev/null || true
    fi
}
