# shellcheck shell=bash
# To be sourced: what the longer scripts need. What is missing is installed, and said so.

# need command:package ... : Debian packages, whose services are not started.
need() {
    local pair missing=() root=() policy=/usr/sbin/policy-rc.d
    for pair in "$@"; do
        # Some programs are where only root's PATH leads.
        PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}"
    [ "$(id -u)" = 0 ] || root=(sudo)
    ${root[@]+"${root[@]}"} apt-get update -qq
    (
        if [ ! -e "$policy" ]; then
            # Debian asks this before it starts the service of a package: 101 is no.
            trap '${root[@]+"${root[@]}"} rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' | ${root[@]+"${root[@]}"} tee "$policy" >/dev/null
            ${root[@]+"${root[@]}"} chmod 755 "$policy"
        fi
        ${root[@]+"${root[@]}"} env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 "${missing[@]}" >/dev/null
    )
}

# need_node: Node.js as the tests want it, and the packages of tests/browser, which all share.
need_node() {
    need node:nodejs npm:npm
    # Older ones take the page's scripts for CommonJS.
    if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number);
                  process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
        echo "Node.js 20.19 or newer is needed; this is $(node --version)" >&2
        return 1
    fi
    local lock=tests/browser/package-lock.json stamp=tests/browser/node_modules/.installed
    if ! cmp -s "$lock" "$stamp"; then
        echo "installing playwright-core, axe-core and ws from npm"
        npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --loglevel=error
        cp "$lock" "$stamp"
    fi
}

# cpus: those that this shell may use, one a line.
cpus() {
    taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' |
        awk -F- '{ for (c = $1; c <= ($2 == "" ? $1 : $2); c++) print c }'
}

# need_server: SWITCHBOARD_BIN, without which the debug build is made up to date.
need_server() {
    if [ -z "${SWITCHBOARD_BIN:-}" ]; then
        cargo build --bin switchboard
        SWITCHBOARD_BIN=${CARGO_TARGET_DIR:-target}/debug/switchboard
    fi
    export SWITCHBOARD_BIN
}
