# shellcheck shell=bash
# Sourced by the longer scripts: installs the tools that they need. Prints what it installs.

# need command:package ... : installs the Debian packages of missing commands. Their services are
# not started.
need() {
    local pair missing=() root=() policy=/usr/sbin/policy-rc.d
    for pair in "$@"; do
        # Debian keeps some programs in folders that only the PATH of root contains.
        PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}"
    [ "$(id -u)" = 0 ] || root=(sudo)
    ${root[@]+"${root[@]}"} apt-get update -qq
    (
        if [ ! -e "$policy" ]; then
            # invoke-rc.d(8) runs this before it starts a service; status 101 forbids the start.
            trap '${root[@]+"${root[@]}"} rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' | ${root[@]+"${root[@]}"} tee "$policy" >/dev/null
            ${root[@]+"${root[@]}"} chmod 755 "$policy"
        fi
        ${root[@]+"${root[@]}"} env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 "${missing[@]}" >/dev/null
    )
}

# need_node: Node.js, and the npm packages of tests/browser, which all Node.js tests share.
need_node() {
    need node:nodejs npm:npm
    # Older versions load the scripts of the page as CommonJS.
    if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number);
                  process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
        echo "Node.js 20.19 or newer is needed; this is $(node --version)" >&2
        return 1
    fi
    local lock=tests/browser/package-lock.json stamp=tests/browser/node_modules/.installed
    if ! cmp -s "$lock" "$stamp"; then
        echo "installing the packages of tests/browser from npm"
        npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --loglevel=error
        cp "$lock" "$stamp"
    fi
}

# cpus: the CPUs that this shell may use, one per line.
cpus() {
    taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' |
        awk -F- '{ for (c = $1; c <= ($2 == "" ? $1 : $2); c++) print c }'
}

# need_server: sets SWITCHBOARD_BIN. Builds the debug server if the caller has not named one.
need_server() {
    if [ -z "${SWITCHBOARD_BIN:-}" ]; then
        cargo build --bin switchboard
        SWITCHBOARD_BIN=${CARGO_TARGET_DIR:-target}/debug/switchboard
    fi
    export SWITCHBOARD_BIN
}
