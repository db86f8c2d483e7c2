#!/usr/bin/env bash
# Tests scripts/install.sh without --root, in a mount namespace in which /etc and /usr/local are
# overlays, so that the machine is not changed. Stubs of systemctl and sysctl record their calls.
#
#   sudo unshare --mount bash tests/deploy/machine.sh SERVER
set -euo pipefail
cd "$(dirname "$0")/../.."
server=$1

if [ "$(readlink /proc/self/ns/mnt)" = "$(readlink /proc/1/ns/mnt)" ]; then
    echo 'machine.sh: not in a mount namespace of its own; run it under unshare --mount' >&2
    exit 1
fi
copy=$(mktemp -d)
trap 'umount /etc /usr/local "$copy" && rmdir "$copy"' EXIT
mount -t tmpfs tmpfs "$copy"
mkdir -p "$copy"/{etc,local,etc.work,local.work,stubs}
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$copy/etc,workdir=$copy/etc.work" /etc
mount -t overlay overlay -o "lowerdir=/usr/local,upperdir=$copy/local,workdir=$copy/local.work" /usr/local
for stub in sysctl systemctl; do
    printf '#!/bin/sh\necho "%s $*" >>%s/called\n' "$stub" "$copy" >"$copy/stubs/$stub"
    chmod +x "$copy/stubs/$stub"
done
PATH=$copy/stubs:$PATH

fail() {
    printf 'machine.sh: %s\n' "$*" >&2
    exit 1
}
state_of() { find /etc /usr/local -printf '%p %m %u %g\n' | sort && getent passwd && getent group; }

# The operator's own files take precedence and are kept.
mkdir -p /etc/sysctl.d
rm -f /etc/sysctl.d/*.conf
echo 'net.core.somaxconn = 70000' >/etc/sysctl.d/99-zz-local.conf
echo 'net.core.somaxconn = 128' >/etc/sysctl.d/99-Tuned.conf
state_of >"$copy/before"
scripts/install.sh --binary "$server"
[ "$(grep -c '^sysctl -q -p /etc/sysctl.d/99-switchboard.conf /etc/sysctl.d/99-zz-local.conf$' "$copy/called")" = 1 ] ||
    fail 'the kernel limits were not put in force'
case $(getent passwd switchboard) in
    *:/nonexistent:/usr/sbin/nologin) ;;
    *) fail 'the user has a home or a shell' ;;
esac
[ "$(stat -c '%U %G %a' /etc/switchboard/switchboard.env)" = 'root switchboard 640' ] ||
    fail 'the settings, secrets maybe among them, can be read by others'
runuser -u switchboard -- /usr/local/bin/switchboard --version

state_of >"$copy/installed" && rm "$copy/called"
scripts/install.sh --binary "$server" | grep 'nothing to do' || fail 'the second run changed something'
state_of | cmp - "$copy/installed" || fail 'the second run changed something'
if grep -v '^sysctl -q -p ' "$copy/called"; then fail 'the second run called more than it should'; fi

# Limits that the kernel refuses are reported in each run.
mv "$copy/stubs/sysctl" "$copy/sysctl"
printf '#!/bin/sh\nexit 1\n' >"$copy/stubs/sysctl"
chmod +x "$copy/stubs/sysctl"
for touched in yes no; do
    [ "$touched" = no ] || rm /etc/sysctl.d/99-switchboard.conf
    if scripts/install.sh --binary "$server" >"$copy/said" 2>&1; then fail 'refused limits did not fail the installation'; fi
    grep -q 'the kernel refused' "$copy/said" || fail "for refused limits it prints $(cat "$copy/said")"
    if grep 'as it should be' "$copy/said"; then fail 'refused limits are reported as correct'; fi
done
mv "$copy/sysctl" "$copy/stubs/sysctl"

scripts/install.sh --uninstall
# The account tools leave copies of their files (passwd-, .pwd.lock), which are ignored.
state_of | grep -v '^/etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)-\|^/etc/\.pwd\.lock' >"$copy/after"
grep -v '^/etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)-\|^/etc/\.pwd\.lock' "$copy/before" |
    diff - "$copy/after" || fail 'something was left behind'

# While a process of the user runs, the user is kept and a message says so; afterwards the user is removed.
scripts/install.sh --binary "$server" >/dev/null
setpriv --reuid switchboard --regid switchboard --clear-groups sleep 600 &
running=$!
until [ "$(stat -c %U "/proc/$running")" = switchboard ]; do :; done
if scripts/install.sh --uninstall >"$copy/away" 2>"$copy/said"; then fail 'removed a user that has a running process'; fi
tail -n 1 "$copy/away" | grep -q 'kernel keeps' || fail "it stopped halfway: $(cat "$copy/away")"
grep -q 'run this again' "$copy/said" || fail "its message is $(cat "$copy/said")"
kill "$running"
wait "$running" || true
scripts/install.sh --uninstall | grep '^remove *user' || fail 'the second run kept the user too'

# An existing user or group is used and kept.
for made in 'useradd --create-home --home-dir /etc/a-home --shell /bin/sh switchboard' 'groupadd switchboard'; do
    $made
    there=$(getent passwd switchboard || true; getent group switchboard)
    scripts/install.sh --binary "$server" >/dev/null
    [ "$(stat -c %G /etc/switchboard/switchboard.env)" = switchboard ] || fail "$made: the settings belong to another group"
    runuser -u switchboard -- cat /etc/switchboard/switchboard.env >/dev/null || fail "$made: the user cannot read its settings"
    scripts/install.sh --binary "$server" | grep 'nothing to do' || fail "$made: the second run did something"
    scripts/install.sh --uninstall | grep '^kept' || fail "$made: it does not report that it is kept"
    [ "$(getent passwd switchboard || true; getent group switchboard)" = "$there" ] || fail "$made: the account was changed"
    case $made in
        useradd*) userdel switchboard ;;
        *) groupdel switchboard ;;
    esac
done
