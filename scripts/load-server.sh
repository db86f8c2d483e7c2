# shellcheck shell=bash
# To be sourced: a server of one's own for a load test on this machine, and the tester beside it.
#
# SWITCHBOARD_BIN and SWITCHBOARD_LOAD_BIN name the programs; of one that is not named a release
# build is made. Both run in process groups of their own, so that Ctrl-C and a closed terminal are heard by
# this script alone, which passes them on to the tester, once; the server lives until the report is
# written, and the script until both have ended.

# The process of the tester while there is one.
tester=

# build_release: SWITCHBOARD_BIN and SWITCHBOARD_LOAD_BIN.
build_release() {
    local folder=${CARGO_TARGET_DIR:-target}/release
    local -a missing=()
    [[ -n ${SWITCHBOARD_BIN:-} ]] || missing+=(--bin switchboard)
    [[ -n ${SWITCHBOARD_LOAD_BIN:-} ]] || missing+=(--bin switchboard-load)
    [[ ${#missing[@]} -eq 0 ]] || cargo build --release --locked "${missing[@]}"
    SWITCHBOARD_BIN=${SWITCHBOARD_BIN:-$folder/switchboard}
    SWITCHBOARD_LOAD_BIN=${SWITCHBOARD_LOAD_BIN:-$folder/switchboard-load}
}

# start_server log flags...: a server on a free port, whose address is then in `address`. It is
# ended with the script; a server that does not start ends the script with 3, as the tester does.
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
    # Named each: a shell that a signal ends does not always get to what is trapped at its end.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # The server names its port in its first line; the log may hold those of earlier ones, and is
    # read before the server may have opened it.
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

# end_tester: the server is not taken from under it.
end_tester() {
    [[ -z $tester ]] || kill -INT "$tester" 2>/dev/null || true
    [[ -z $tester ]] || wait "$tester" || true
    tester=
}

# end_server: asks it to end, and waits; its status.
end_server() {
    # A terminal that closes may say so more than once.
    trap '' HUP
    trap - EXIT
    kill "$server" 2>/dev/null || true
    wait "$server"
}

# conclude status: ends the server, then the script with this status, or with 2 if all was well
# but for the server's end.
conclude() {
    local status=$1 of_server=0
    end_server || of_server=$?
    if [[ $of_server -ne 0 ]]; then
        # There may be no terminal any more that takes it.
        echo "the server ended with status $of_server; see $log" >&2 || true
        [[ $status -ne 0 ]] || status=2
    fi
    exit "$status"
}

# run_tester arguments...: the tester's status. An interrupt, SIGTERM or SIGHUP asks it to stop
# early and to report what was measured; a second interrupt or SIGTERM ends it at once. Whoever
# starts the script under nohup has SIGHUP ignored by all three.
run_tester() {
    local status=0
    told='' owed=''
    trap 'pass_on TERM' INT TERM
    trap 'pass_on HUP' HUP
    set -m
    "$SWITCHBOARD_LOAD_BIN" "$@" &
    tester=$!
    set +m
    [[ -z $owed ]] || pass_on "$owed"
    while :; do
        status=0
        wait "$tester" || status=$?
        # A wait that a signal has cut short says nothing of the tester.
        kill -0 "$tester" 2>/dev/null || break
    done
    tester=
    trap '' HUP
    trap - INT TERM
    return "$status"
}

# pass_on signal: to the tester, a second time only if that is meant to end it at once. A terminal
# that closes may send several SIGHUP: from the kernel, and from the shell that ran in it.
pass_on() {
    if [[ -z $tester ]]; then
        owed=$1
    elif [[ -z $told || $1 != HUP ]]; then
        told=yes
        kill -INT "$tester" 2>/dev/null || true
    fi
}
