#!/usr/bin/env bash
# What an operator is given, tried out: the installer into an empty root, the unit under
# systemd-analyze and its system call filter, the sysctl file, the card script on made-up
# cards, and every script under shellcheck.
#
#   scripts/deploy-test.sh
#
# SWITCHBOARD_BIN  the server to install; without it the debug build, which is made up to date
#
# Changes nothing outside a temporary folder, but that it installs what is missing, as Debian
# packages: systemd (for systemd-analyze), shellcheck, procps, python3, strace.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/need.sh
. scripts/need.sh
need systemd-analyze:systemd shellcheck:shellcheck sysctl:procps python3:python3 strace:strace
need_server
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
fail() {
    printf 'deploy-test: %s\n' "$*" >&2
    exit 1
}
passed() { printf 'ok  %s\n' "$*"; }

# Every name, mode and content below a folder.
state_of() {
    (cd "$1" && find . -printf '%P %y %m %T@\n' | sort && find . -type f -exec sha256sum {} + | sort)
}

scripts_are_clean() {
    local script
    local -a all
    mapfile -t all < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)
    for script in "${all[@]}"; do
        bash -n "$script"
        # One without a first line that names its shell is there to be sourced.
        [ -x "$script" ] || ! head -n 1 "$script" | grep -q '^#!' || fail "$script is not executable"
    done
    shellcheck -x "${all[@]}"
    passed "${#all[@]} scripts under bash -n and shellcheck"
}

install_twice_and_away() {
    local base=$place/root before after
    local -a run=(scripts/install.sh --root "$base" --binary "$SWITCHBOARD_BIN")
    mkdir "$base"
    "${run[@]}" >"$place/first"
    for file in usr/local/bin/switchboard etc/systemd/system/switchboard.service \
        etc/sysctl.d/99-switchboard.conf etc/security/limits.d/switchboard.conf \
        etc/switchboard/switchboard.env usr/local/share/doc/switchboard/README.md; do
        [ -s "$base/$file" ] || fail "$file was not installed"
    done
    grep -qF "$(realpath "$SWITCHBOARD_BIN"): $("$SWITCHBOARD_BIN" --version), of " "$place/first" || fail 'it does not say what it installs'
    "$base/usr/local/bin/switchboard" --version >/dev/null || fail 'what is installed does not run'
    [ "$(find "$base" -type f | wc -l)" = 6 ] || fail 'more was installed than is told'

    before=$(state_of "$base")
    "${run[@]}" >"$place/second"
    after=$(state_of "$base")
    [ "$before" = "$after" ] || fail "the second run changed something: $(diff <(echo "$before") <(echo "$after"))"
    grep -q 'nothing to do' "$place/second" || fail 'the second run does not say so'

    # An upgrade replaces what is ours and keeps what is the operator's.
    echo 'SWITCHBOARD_SHARDS=3' >>"$base/etc/switchboard/switchboard.env"
    echo '# edited' >>"$base/etc/systemd/system/switchboard.service"
    "${run[@]}" >"$place/third"
    [ "$(grep -c '^update ' "$place/third")" = 1 ] || fail "an upgrade updates one file: $(cat "$place/third")"
    grep -q 'SHARDS=3' "$base/etc/switchboard/switchboard.env" || fail 'settings were overwritten'
    cmp -s tuning/switchboard.service "$base/etc/systemd/system/switchboard.service" || fail 'the unit is old'

    # The second server goes with the first. What others put there stays, and only that.
    sed 's|/switchboard\.env|/two.env|' tuning/switchboard.service >"$base/etc/systemd/system/switchboard-two.service"
    echo SWITCHBOARD_LISTEN=127.0.0.1:8081 >"$base/etc/switchboard/two.env"
    grep -qF "sed 's|/switchboard\.env|/two.env|' tuning/switchboard.service" README.md || fail 'README makes another copy'
    mkdir "$base/etc/systemd/system/switchboard-two.service.d"
    touch "$base/etc/systemd/system/switchboard-two.service.d/override.conf"
    # As `systemctl --root enable` leaves it in an image.
    mkdir "$base/etc/systemd/system/multi-user.target.wants"
    ln -s /etc/systemd/system/switchboard.service "$base/etc/systemd/system/multi-user.target.wants/"
    echo 'ExecStart=/usr/local/bin/switchboard-exporter' >"$base/etc/systemd/system/switchboard-exporter.service"
    mkdir -p "$base/etc/sysctl.d" && echo 'a = 1' >"$base/etc/sysctl.d/other.conf"
    scripts/install.sh --root "$base" --uninstall >"$place/away"
    [ "$(cd "$base" && find . ! -type d | sort | tr '\n' ' ')" = './etc/sysctl.d/other.conf ./etc/systemd/system/switchboard-exporter.service ' ] ||
        fail "left: $(find "$base" ! -type d)"
    rm -r "${base:?}/etc"
    "${run[@]}" >/dev/null
    scripts/install.sh --root "$base" --uninstall >/dev/null
    [ -z "$(ls -A "$base")" ] || fail "left behind: $(find "$base")"
    scripts/install.sh --root "$base" --uninstall | grep -q 'nothing to do' || fail 'nothing cannot be removed'
    passed 'installs, installs again without a change, upgrades, leaves nothing behind'
}

# What may stand in the installer's way, and what it must not do about it.
install_in_bad_places() {
    local here=$PWD base="$place/a folder with spaces"
    mkdir -p "$base/usr/local/bin" "$base/etc/switchboard" "$base/etc/systemd/system/switchboard.service.d"
    # Named from where the caller is, a folder of others with a mode of its own, a link to nowhere.
    chmod 2775 "$base/usr/local/bin"
    ln -s /nowhere "$base/usr/local/bin/switchboard"
    cp "$SWITCHBOARD_BIN" "$place/its binary"
    (cd "$place" && "$here/scripts/install.sh" --root 'a folder with spaces' --binary 'its binary') >/dev/null
    [ "$(stat -c %a "$base/usr/local/bin")" = 2775 ] || fail 'a folder that was there got another mode'
    [ -f "$base/usr/local/bin/switchboard" ] || fail 'a link to nowhere stopped it'
    if [ "$(id -u)" = 0 ]; then
        chown nobody "$base/usr/local/bin/switchboard"
        scripts/install.sh --root "$base" --binary "$SWITCHBOARD_BIN" >/dev/null
        [ "$(stat -c %U "$base/usr/local/bin/switchboard")" = root ] || fail 'a binary of others stays theirs'
    fi
    # What `systemctl edit` wrote is settings; a secret that was put beside them is not ours.
    touch "$base/etc/systemd/system/switchboard.service.d/override.conf" "$base/etc/switchboard/turn-secret"
    rm "$base/usr/local/bin/switchboard" && ln -s /nowhere "$base/usr/local/bin/switchboard"
    scripts/install.sh --root "$base" --uninstall >"$place/away"
    [ "$(cd "$base" && find . ! -type d)" = ./etc/switchboard/turn-secret ] || fail "left: $(find "$base")"
    grep -q '^kept .*/etc/switchboard' "$place/away" || fail 'it does not say what it keeps'

    local refused
    for refused in '--root|' '--root' '--root|--uninstall' '--root|/' '--root|/.' '--binary|' '--nonsense' \
        "--root|$place/none|--binary|/tmp" "--root|$place/none|--binary|$place/away" "--root|$place/none|--binary|/nowhere"; do
        local -a words
        mapfile -td '|' words < <(printf %s "$refused|")
        if scripts/install.sh "${words[@]}" >/dev/null 2>&1; then fail "install.sh ${words[*]} does something"; fi
    done
    [ ! -e "$place/none" ] || fail 'something was installed without a binary'
    # It ends halfway: nothing half remains.
    mkdir -p "$place/blocked/usr/local/bin/switchboard" "$place/small"
    if scripts/install.sh --root "$place/blocked" --binary "$SWITCHBOARD_BIN" >/dev/null 2>&1; then fail 'a folder was overwritten'; fi
    if (ulimit -f 100 && trap '' XFSZ && scripts/install.sh --root "$place/small" --binary "$SWITCHBOARD_BIN") >/dev/null 2>&1; then
        fail 'a binary that does not fit was installed'
    fi
    [ -z "$(find "$place/blocked" "$place/small" -type f)" ] || fail "halves: $(find "$place/blocked" "$place/small" -type f)"
    passed 'leaves alone what is not its own, and refuses what it cannot do'
}

# On the machine itself, of which it sees its own copy of /etc and /usr/local.
install_on_a_machine() {
    ${as_root[@]+"${as_root[@]}"} unshare --mount bash tests/deploy/machine.sh "$SWITCHBOARD_BIN" >"$place/machine" 2>&1 ||
        fail "$(cat "$place/machine")"
    passed 'on a machine: user, kernel limits and systemd too, and nothing left of them'
}

the_unit_is_sound() {
    local base=$place/unit score
    scripts/install.sh --root "$base" --binary "$SWITCHBOARD_BIN" >/dev/null
    # ExecStart= names a file that this machine need not have.
    sed "s|^ExecStart=/usr|ExecStart=$base/usr|" tuning/switchboard.service >"$place/switchboard.service"
    systemd-analyze verify "$place/switchboard.service" 2>"$place/verify" || fail "$(cat "$place/verify")"
    if grep -F switchboard.service "$place/verify"; then fail 'systemd-analyze verify complains'; fi
    score=$(systemd-analyze security --offline=true "$place/switchboard.service" |
        sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p')
    [ -n "$score" ] || fail 'systemd-analyze security gives no score'
    awk -v score="$score" 'BEGIN { exit !(score < 2.0) }' || fail "the unit's exposure is $score"
    passed "systemd-analyze verify is silent; systemd-analyze security says $score"
}

# The server at work under strace: what it asks of the kernel has to be in the unit's lists.
the_filter_allows_what_the_server_does() {
    python3 tests/deploy/allowed.py tuning/switchboard.service "$SWITCHBOARD_BIN" ||
        fail 'the server needs more than the unit allows'
    passed "the server starts, pins, serves, moves users and ends within the unit's system calls"
}

sysctl_keys_exist() {
    local key
    while read -r key; do
        sysctl -n "$key" >/dev/null 2>&1 || fail "this kernel has no $key"
    done < <(sed -n 's/^#\{0,1\}\([a-z0-9_.]*\) = .*/\1/p' tuning/99-switchboard.conf | grep -v nf_conntrack)
    passed 'every key of 99-switchboard.conf is one'
}

# Where the files say that anything listens, no connection of this machine's may sit.
ports_of_services_are_kept() {
    local conf=tuning/99-switchboard.conf port reserved
    reserved=,$(sed -n 's/^#\{0,1\}net.ipv4.ip_local_reserved_ports = //p' "$conf"),
    if grep -q '^net.ipv4.ip_local_' "$conf"; then fail 'the range of ports is changed unasked'; fi
    while read -r port; do
        [[ $reserved == *",$port,"* ]] || fail "$conf does not reserve port $port"
    done < <({
        grep -rhoE '(127\.0\.0\.1|0\.0\.0\.0|localhost|\[::1?\]):[0-9]{4,5}' README.md tuning --exclude-dir=tests |
            sed 's/.*://'
        printf '%s\n' 3000 3478 5349
    } | sort -nu)
    reserved=${reserved#,} reserved=${reserved%,}
    passed "ports ${reserved//,/ } are reserved where the range of ports is widened"
}

# A card with $1 queues on a machine with $2 CPUs, whose interrupts are named like $3.
made_up_card() {
    local base=$place/card-$1-$2 queue name=${3:-TxRx}
    mkdir -p "$base/sys/class/net/eth9/device/msi_irqs" "$base/sys/devices/system/cpu" "$base/proc/irq"
    echo "0-$(($2 - 1))" >"$base/sys/devices/system/cpu/online"
    echo '           CPU0' >"$base/proc/interrupts"
    for ((queue = 0; queue < $1; queue++)); do
        mkdir -p "$base/sys/class/net/eth9/queues/"{rx,tx}-$queue "$base/proc/irq/$((40 + queue))"
        echo 0 >"$base/sys/class/net/eth9/queues/rx-$queue/rps_cpus"
        echo 0 >"$base/sys/class/net/eth9/queues/tx-$queue/xps_cpus"
        echo 99 >"$base/proc/irq/$((40 + queue))/smp_affinity_list"
        : >"$base/sys/class/net/eth9/device/msi_irqs/$((40 + queue))"
        echo " $((40 + queue)):   7   PCI-MSI  eth9-$name-$queue" >>"$base/proc/interrupts"
    done
    echo "$base"
}

cards_are_told_apart() {
    local few many amazon before
    few=$(made_up_card 2 40)
    before=$(state_of "$few")
    tuning/nic.sh eth9 --root "$few" >/dev/null
    [ "$before" = "$(state_of "$few")" ] || fail 'nic.sh writes without --apply'
    tuning/nic.sh eth9 --root "$few" --apply >/dev/null
    [ "$(cat "$few/proc/irq/41/smp_affinity_list")" = 1 ] || fail 'queue 1 does not interrupt CPU 1'
    [ "$(cat "$few/sys/class/net/eth9/queues/rx-1/rps_cpus")" = 000000ff,ffffffff ] || fail 'RPS spreads over 40 CPUs'
    [ "$(cat "$few/sys/class/net/eth9/queues/tx-0/xps_cpus")" = 00000055,55555555 ] || fail 'XPS: every other CPU'
    if tuning/nic.sh eth9 --root "$few" --apply | grep '^echo'; then fail 'nic.sh writes twice'; fi
    many=$(made_up_card 8 4)
    tuning/nic.sh eth9 --root "$many" --apply --cpus 1,3 >/dev/null
    [ "$(cat "$many/proc/irq/45/smp_affinity_list")" = 3 ] || fail 'queue 5 belongs to the second CPU, 3'
    [ "$(cat "$many/sys/class/net/eth9/queues/rx-5/rps_cpus")" = 0 ] || fail 'RPS with queues enough'
    [ "$(cat "$many/sys/class/net/eth9/queues/tx-5/xps_cpus")" = 00000008 ] || fail 'XPS of queue 5'
    # In a list a 0 that it begins with is a CPU.
    echo 0,1 >"$few/proc/irq/41/smp_affinity_list"
    tuning/nic.sh eth9 --root "$few" --apply >/dev/null
    [ "$(cat "$few/proc/irq/41/smp_affinity_list")" = 1 ] || fail 'queue 1 still interrupts CPU 0, too'
    amazon=$(made_up_card 2 2 Tx-Rx)
    tuning/nic.sh eth9 --root "$amazon" --apply >/dev/null
    [ "$(cat "$amazon/proc/irq/41/smp_affinity_list")" = 1 ] || fail 'eth9-Tx-Rx-1 is the interrupt of no queue'
    tuning/nic.sh eth9 --root "$few" --off --apply >/dev/null
    [ "$(cat "$few/sys/class/net/eth9/queues/rx-1/rps_cpus")" = 0 ] || fail '--off leaves RPS on'
    if tuning/nic.sh eth9 --root "$many" --cpus 3-1 >/dev/null 2>&1; then fail '3-1 is no list'; fi
    if tuning/nic.sh eth8 --root "$many" >/dev/null 2>&1; then fail 'eth8 is not there'; fi
    passed 'nic.sh: interrupts, RPS and XPS for few and for many queues'
}

scripts_are_clean
install_twice_and_away
install_in_bad_places
install_on_a_machine
the_unit_is_sound
the_filter_allows_what_the_server_does
sysctl_keys_exist
ports_of_services_are_kept
cards_are_told_apart
