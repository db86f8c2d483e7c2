#!/usr/bin/env bash
# Tests the files that operators install: the installer in an empty folder, the systemd unit with
# systemd-analyze, its system call filter, the sysctl file, nic.sh with fake network cards, and all
# scripts with shellcheck.
#
#   scripts/deploy-test.sh
#
# SWITCHBOARD_BIN  the server to install; default: the debug build, which is built first
#
# Changes nothing outside a temporary folder, except that it installs missing tools as Debian
# packages: systemd (for systemd-analyze), shellcheck, procps, python3, strace.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/need.sh
. scripts/need.sh
need systemd-analyze:systemd shellcheck:shellcheck sysctl:procps python3:python3 strace:strace
need_server
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() {
    printf 'deploy-test: %s\n' "$*" >&2
    exit 1
}
passed() { printf 'ok  %s\n' "$*"; }

# The name, type, mode, time and content of every file below a folder.
state_of() {
    (cd "$1" && find . -printf '%P %y %m %T@\n' | sort && find . -type f -exec sha256sum {} + | sort)
}

check_the_scripts() {
    local script
    local -a all
    mapfile -t all < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)
    for script in "${all[@]}"; do
        bash -n "$script"
        # A script without `#!` is sourced and need not be executable.
        [ -x "$script" ] || ! head -n 1 "$script" | grep -q '^#!' || fail "$script is not executable"
    done
    shellcheck -x "${all[@]}"
    passed "bash -n and shellcheck accept ${#all[@]} scripts"
}

install_upgrade_uninstall() {
    local base=$scratch/root before after
    local -a run=(scripts/install.sh --root "$base" --binary "$SWITCHBOARD_BIN")
    mkdir "$base"
    "${run[@]}" >"$scratch/first"
    for file in usr/local/bin/switchboard etc/systemd/system/switchboard.service \
        etc/sysctl.d/99-switchboard.conf etc/security/limits.d/switchboard.conf \
        etc/switchboard/switchboard.env usr/local/share/doc/switchboard/OPERATIONS.md \
        usr/local/share/doc/switchboard/REFERENCE.md usr/local/share/doc/switchboard/nic.sh \
        usr/local/share/doc/switchboard/proxy/nginx.conf usr/local/share/doc/switchboard/proxy/haproxy.cfg \
        usr/local/share/doc/switchboard/prometheus/rules/alerts.yml; do
        [ -s "$base/$file" ] || fail "the installer did not install $file"
    done
    grep -qF "$(realpath "$SWITCHBOARD_BIN"): $("$SWITCHBOARD_BIN" --version), of " "$scratch/first" || fail 'the installer does not print which binary it installs'
    "$base/usr/local/bin/switchboard" --version >/dev/null || fail 'the installed binary does not run'
    local elsewhere
    elsewhere=$(find "$base" -type f ! -path "$base/usr/local/share/doc/switchboard/*" | wc -l)
    [ "$elsewhere" = 5 ] || fail 'the installer installed more files than it documents'
    [ -x "$base/usr/local/share/doc/switchboard/nic.sh" ] || fail 'the installed nic.sh is not executable'
    # Every link between the installed manuals leads to an installed file.
    local link
    while read -r link; do
        case $link in
            http* | ../*) ;;
            *) [ -e "$base/usr/local/share/doc/switchboard/$link" ] || fail "an installed manual links to $link, which is not installed" ;;
        esac
    done < <(grep -ohE '\]\([A-Za-z0-9_./-]+' "$base"/usr/local/share/doc/switchboard/{OPERATIONS,REFERENCE,README}.md | sed 's/^](//')

    before=$(state_of "$base")
    "${run[@]}" >"$scratch/second"
    after=$(state_of "$base")
    [ "$before" = "$after" ] || fail "the second run changed files: $(diff <(echo "$before") <(echo "$after"))"
    grep -q 'nothing to do' "$scratch/second" || fail 'the second run does not print that there is nothing to do'

    # Another binary keeps the one before it, which can be installed again.
    local newer=$scratch/newer program=$base/usr/local/bin/switchboard
    { cat "$SWITCHBOARD_BIN" && echo; } >"$newer"
    chmod +x "$newer"
    scripts/install.sh --root "$base" --binary "$newer" >/dev/null
    cmp -s "$newer" "$program" || fail 'the new binary was not installed'
    cmp -s "$SWITCHBOARD_BIN" "$program.previous" || fail 'the previous binary was not kept'
    scripts/install.sh --root "$base" --binary "$program.previous" >/dev/null
    cmp -s "$SWITCHBOARD_BIN" "$program" || fail 'the previous binary was not installed again'
    cmp -s "$newer" "$program.previous" || fail 'the binary was not kept when the previous one was installed again'

    # An upgrade replaces the files of the installer and keeps the settings of the operator.
    echo 'SWITCHBOARD_SHARDS=3' >>"$base/etc/switchboard/switchboard.env"
    echo '# edited' >>"$base/etc/systemd/system/switchboard.service"
    "${run[@]}" >"$scratch/third"
    [ "$(grep -c '^update ' "$scratch/third")" = 1 ] || fail "the upgrade did not update exactly one file: $(cat "$scratch/third")"
    grep -q 'SHARDS=3' "$base/etc/switchboard/switchboard.env" || fail 'the upgrade overwrote the settings'
    cmp -s tuning/switchboard.service "$base/etc/systemd/system/switchboard.service" || fail 'the upgrade did not replace the unit'

    # The uninstaller removes the second server too, and keeps files of other programs.
    sed 's|/switchboard\.env|/two.env|' tuning/switchboard.service >"$base/etc/systemd/system/switchboard-two.service"
    echo SWITCHBOARD_LISTEN=127.0.0.1:8081 >"$base/etc/switchboard/two.env"
    grep -qF "sed 's|/switchboard\.env|/two.env|' tuning/switchboard.service" README.md tuning/*.md || fail 'the documentation makes the copy of the unit in another way'
    mkdir "$base/etc/systemd/system/switchboard-two.service.d"
    touch "$base/etc/systemd/system/switchboard-two.service.d/override.conf"
    # As `systemctl --root enable` leaves it in an image.
    mkdir "$base/etc/systemd/system/multi-user.target.wants"
    ln -s /etc/systemd/system/switchboard.service "$base/etc/systemd/system/multi-user.target.wants/"
    echo 'ExecStart=/usr/local/bin/switchboard-exporter' >"$base/etc/systemd/system/switchboard-exporter.service"
    mkdir -p "$base/etc/sysctl.d" && echo 'a = 1' >"$base/etc/sysctl.d/other.conf"
    scripts/install.sh --root "$base" --uninstall >"$scratch/uninstall"
    [ "$(cd "$base" && find . ! -type d | sort | tr '\n' ' ')" = './etc/sysctl.d/other.conf ./etc/systemd/system/switchboard-exporter.service ' ] ||
        fail "the uninstaller left: $(find "$base" ! -type d)"
    rm -r "${base:?}/etc"
    "${run[@]}" >/dev/null
    scripts/install.sh --root "$base" --uninstall >/dev/null
    [ -z "$(ls -A "$base")" ] || fail "the uninstaller left: $(find "$base")"
    scripts/install.sh --root "$base" --uninstall | grep -q 'nothing to do' || fail 'a second uninstallation does not print that there is nothing to do'
    passed 'the installer installs, changes nothing when it runs again, upgrades and uninstalls'
}

# Unusual targets and wrong arguments.
install_in_unusual_places() {
    local here=$PWD base="$scratch/a folder with spaces"
    mkdir -p "$base/usr/local/bin" "$base/etc/switchboard" "$base/etc/systemd/system/switchboard.service.d"
    # Relative paths with spaces, an existing folder with its own mode, a dangling link.
    chmod 2775 "$base/usr/local/bin"
    ln -s /nowhere "$base/usr/local/bin/switchboard"
    cp "$SWITCHBOARD_BIN" "$scratch/its binary"
    (cd "$scratch" && "$here/scripts/install.sh" --root 'a folder with spaces' --binary 'its binary') >/dev/null
    [ "$(stat -c %a "$base/usr/local/bin")" = 2775 ] || fail 'the installer changed the mode of an existing folder'
    [ -f "$base/usr/local/bin/switchboard" ] || fail 'a dangling link stopped the installer'
    if [ "$(id -u)" = 0 ]; then
        chown nobody "$base/usr/local/bin/switchboard"
        scripts/install.sh --root "$base" --binary "$SWITCHBOARD_BIN" >/dev/null
        [ "$(stat -c %U "$base/usr/local/bin/switchboard")" = root ] || fail 'the installed binary has kept its former owner'
    fi
    # The uninstaller removes what `systemctl edit` wrote, and keeps a secret of the operator.
    touch "$base/etc/systemd/system/switchboard.service.d/override.conf" "$base/etc/switchboard/turn-secret"
    rm "$base/usr/local/bin/switchboard" && ln -s /nowhere "$base/usr/local/bin/switchboard"
    scripts/install.sh --root "$base" --uninstall >"$scratch/uninstall"
    [ "$(cd "$base" && find . ! -type d)" = ./etc/switchboard/turn-secret ] || fail "the uninstaller left: $(find "$base")"
    grep -q '^kept .*/etc/switchboard' "$scratch/uninstall" || fail 'the uninstaller does not print what it keeps'

    local refused
    for refused in '--root|' '--root' '--root|--uninstall' '--root|/' '--root|/.' '--binary|' '--nonsense' \
        "--root|$scratch/none|--binary|/tmp" "--root|$scratch/none|--binary|$scratch/uninstall" "--root|$scratch/none|--binary|/nowhere"; do
        local -a words
        mapfile -td '|' words < <(printf %s "$refused|")
        if scripts/install.sh "${words[@]}" >/dev/null 2>&1; then fail "install.sh accepts the arguments ${words[*]}"; fi
    done
    [ ! -e "$scratch/none" ] || fail 'the installer installed files without a binary'
    # After an installation that fails, no partial file remains.
    mkdir -p "$scratch/blocked/usr/local/bin/switchboard" "$scratch/small"
    if scripts/install.sh --root "$scratch/blocked" --binary "$SWITCHBOARD_BIN" >/dev/null 2>&1; then fail 'the installer overwrote a folder'; fi
    if (ulimit -f 100 && trap '' XFSZ && scripts/install.sh --root "$scratch/small" --binary "$SWITCHBOARD_BIN") >/dev/null 2>&1; then
        fail 'the installer succeeded without space for the binary'
    fi
    [ -z "$(find "$scratch/blocked" "$scratch/small" -type f)" ] || fail "partial files: $(find "$scratch/blocked" "$scratch/small" -type f)"
    passed 'the installer keeps the files of others and refuses wrong arguments'
}

# The settings are commented out; with all of them in force the server accepts them.
check_the_settings() {
    local file=$scratch/settings said
    if grep -v '^#\|^$' tuning/switchboard.env; then fail 'tuning/switchboard.env has a setting that is in force'; fi
    echo secret >"$scratch/turn-secret"
    sed -n 's/^#\(SWITCHBOARD_\)/\1/p' tuning/switchboard.env | sed "s|/etc/switchboard/turn-secret|$scratch/turn-secret|" >"$file"
    local -a settings
    mapfile -t settings <"$file"
    said=$(env "${settings[@]}" SWITCHBOARD_MAX_CONNECTIONS=100 "$SWITCHBOARD_BIN" --check-config 2>&1) || fail "the settings of tuning/switchboard.env are refused: $said"
    [ "$said" = ok ] || fail "the settings of tuning/switchboard.env: $said"
    passed "the server accepts all ${#settings[@]} settings of tuning/switchboard.env"
}

# Without --root, in a mount namespace with copies of /etc and /usr/local.
install_on_a_machine() {
    ${as_root[@]+"${as_root[@]}"} unshare --mount bash tests/deploy/machine.sh "$SWITCHBOARD_BIN" >"$scratch/machine" 2>&1 ||
        fail "$(cat "$scratch/machine")"
    passed 'without --root: user, kernel limits and systemd are set up and removed'
}

check_the_unit() {
    local base=$scratch/unit score
    scripts/install.sh --root "$base" --binary "$SWITCHBOARD_BIN" >/dev/null
    # The file that ExecStart= names need not exist on this machine.
    sed "s|^ExecStart=/usr|ExecStart=$base/usr|" tuning/switchboard.service >"$scratch/switchboard.service"
    systemd-analyze verify "$scratch/switchboard.service" 2>"$scratch/verify" || fail "$(cat "$scratch/verify")"
    if grep -F switchboard.service "$scratch/verify"; then fail 'systemd-analyze verify reports problems'; fi
    score=$(systemd-analyze security --offline=true "$scratch/switchboard.service" |
        sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p')
    [ -n "$score" ] || fail 'systemd-analyze security printed no score'
    awk -v score="$score" 'BEGIN { exit !(score < 2.0) }' || fail "the exposure score of the unit is $score; the limit is 2.0"
    passed "systemd-analyze accepts the unit; its exposure score is $score"
}

# Runs the server under strace: the unit has to allow every system call that it makes.
check_the_system_call_filter() {
    python3 tests/deploy/allowed.py tuning/switchboard.service "$SWITCHBOARD_BIN" ||
        fail 'the server makes system calls that the unit forbids'
    passed "the unit allows all system calls of start, pinning, service, migration and shutdown"
}

check_the_sysctl_keys() {
    local key
    while read -r key; do
        sysctl -n "$key" >/dev/null 2>&1 || fail "this kernel has no sysctl $key"
    done < <(sed -n 's/^#\{0,1\}\([a-z0-9_.]*\) = .*/\1/p' tuning/99-switchboard.conf | grep -v nf_conntrack)
    passed 'the kernel knows every key of 99-switchboard.conf'
}

# Every port that the documentation or tuning/ lets a service listen on has to be reserved, so that
# no outgoing connection of the machine occupies it.
check_the_reserved_ports() {
    local conf=tuning/99-switchboard.conf port reserved
    reserved=,$(sed -n 's/^#\{0,1\}net.ipv4.ip_local_reserved_ports = //p' "$conf"),
    if grep -q '^net.ipv4.ip_local_' "$conf"; then fail "$conf changes the port range by default"; fi
    while read -r port; do
        [[ $reserved == *",$port,"* ]] || fail "$conf does not reserve port $port"
    done < <({
        grep -rhoE '(127\.0\.0\.1|0\.0\.0\.0|localhost|\[::1?\]):[0-9]{4,5}' README.md tuning --exclude-dir=tests |
            sed 's/.*://'
        printf '%s\n' 3000 3478 5349
    } | sort -nu)
    reserved=${reserved#,} reserved=${reserved%,}
    passed "the line that widens the port range has a line that reserves ${reserved//,/ }"
}

# Creates a fake card with $1 queues on a machine with $2 CPUs; $3 is part of its interrupt names.
fake_card() {
    local base=$scratch/card-$1-$2 queue name=${3:-TxRx}
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

check_nic_sh() {
    local few many ena before
    few=$(fake_card 2 40)
    before=$(state_of "$few")
    tuning/nic.sh eth9 --root "$few" >/dev/null
    [ "$before" = "$(state_of "$few")" ] || fail 'nic.sh writes without --apply'
    tuning/nic.sh eth9 --root "$few" --apply >/dev/null
    [ "$(cat "$few/proc/irq/41/smp_affinity_list")" = 1 ] || fail 'the interrupt of queue 1 is not on CPU 1'
    [ "$(cat "$few/sys/class/net/eth9/queues/rx-1/rps_cpus")" = 000000ff,ffffffff ] || fail 'RPS does not use all 40 CPUs'
    [ "$(cat "$few/sys/class/net/eth9/queues/tx-0/xps_cpus")" = 00000055,55555555 ] || fail 'XPS of queue 0 does not cover every second CPU'
    if tuning/nic.sh eth9 --root "$few" --apply | grep '^echo'; then fail 'a second run of nic.sh writes again'; fi
    many=$(fake_card 8 4)
    tuning/nic.sh eth9 --root "$many" --apply --cpus 1,3 >/dev/null
    [ "$(cat "$many/proc/irq/45/smp_affinity_list")" = 3 ] || fail 'the interrupt of queue 5 is not on CPU 3, the second of the list'
    [ "$(cat "$many/sys/class/net/eth9/queues/rx-5/rps_cpus")" = 0 ] || fail 'RPS is on although there are enough queues'
    [ "$(cat "$many/sys/class/net/eth9/queues/tx-5/xps_cpus")" = 00000008 ] || fail 'XPS of queue 5 is not on CPU 3'
    # A leading 0 in a list is a CPU, and not a digit to skip.
    echo 0,1 >"$few/proc/irq/41/smp_affinity_list"
    tuning/nic.sh eth9 --root "$few" --apply >/dev/null
    [ "$(cat "$few/proc/irq/41/smp_affinity_list")" = 1 ] || fail 'the interrupt of queue 1 is still on CPU 0 too'
    ena=$(fake_card 2 2 Tx-Rx)
    tuning/nic.sh eth9 --root "$ena" --apply >/dev/null
    [ "$(cat "$ena/proc/irq/41/smp_affinity_list")" = 1 ] || fail 'nic.sh does not recognise the interrupt name eth9-Tx-Rx-1'
    tuning/nic.sh eth9 --root "$few" --off --apply >/dev/null
    [ "$(cat "$few/sys/class/net/eth9/queues/rx-1/rps_cpus")" = 0 ] || fail '--off does not turn RPS off'
    if tuning/nic.sh eth9 --root "$many" --cpus 3-1 >/dev/null 2>&1; then fail 'nic.sh accepts the CPU list 3-1'; fi
    if tuning/nic.sh eth8 --root "$many" >/dev/null 2>&1; then fail 'nic.sh accepts the missing interface eth8'; fi
    passed 'nic.sh sets interrupts, RPS and XPS for few and for many queues'
}

check_the_scripts
install_upgrade_uninstall
install_in_unusual_places
check_the_settings
install_on_a_machine
check_the_unit
check_the_system_call_filter
check_the_sysctl_keys
check_the_reserved_ports
check_nic_sh
