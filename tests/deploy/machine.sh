#!/usr/bin/env bash
# scripts/install.sh without --root, in a mount namespace whose /etc and /usr/local are copies:
# what it writes is gone when this ends. systemctl and sysctl, which would reach the machine
# itself, only note that they were called.
#
#   sudo unshare --mount bash tests/deploy/machine.sh SERVER
set -euo pipefail
cd "$(dirname "$0")/../.."
server=$1

if [ "$(readlink /proc/self/ns/mnt)" = "$(readlink /proc/1/ns/mnt)" ]; then
    echo 'machine.sh: this is the machine itself; run it under unshare --mount' >&2
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

# What is the operator's own has the last word, and stays.
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
scripts/install.sh --binary "$server" | grep 'nothing to do' || fail 'the second run did something'
state_of | cmp - "$copy/installed" || fail 'the second run changed something'
if grep -v '^sysctl -q -p ' "$copy/called"; then fail 'the second run called more than it should'; fi

# A kernel that refuses is told of each time.
mv "$copy/stubs/sysctl" "$copy/sysctl"
printf '#!/bin/sh\nexit 1\n' >"$copy/stubs/sysctl"
chmod +x "$copy/stubs/sysctl"
for touched in yes no; do
    [ "$touched" = no ] || rm /etc/sysctl.d/99-switchboard.conf
    if scripts/install.sh --binary "$server" >"$copy/said" 2>&1; then fail 'refused limits are no failure'; fi
    grep -q 'the kernel refused' "$copy/said" || fail "of refused limits it says $(cat "$copy/said")"
    if grep 'as it should be' "$copy/said"; then fail 'refused limits are as they should be'; fi
done
mv "$copy/sysctl" "$copy/stubs/sysctl"

scripts/install.sh --uninstall
# The account tools keep copies of their files (passwd-, .pwd.lock); those are not ours.
state_of | grep -v '^/etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)-\|^/etc/\.pwd\.lock' >"$copy/after"
grep -v '^/etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)-\|^/etc/\.pwd\.lock' "$copy/before" |
    diff - "$copy/after" || fail 'something was left behind'

# As long as something of the user runs, the user stays, and that is said; then it goes.
scripts/install.sh --binary "$server" >/dev/null
setpriv --reuid switchboard --regid switchboard --clear-groups sleep 600 &
running=$!
until [ "$(stat -c %U "/proc/$running")" = switchboard ]; do :; done
if scripts/install.sh --uninstall >"$copy/away" 2>"$copy/said"; then fail 'a user whose process runs is gone'; fi
tail -n 1 "$copy/away" | grep -q 'kernel keeps' || fail "it stops halfway: $(cat "$copy/away")"
grep -q 'run this again' "$copy/said" || fail "it says no more than $(cat "$copy/said")"
kill "$running"
wait "$running" || true
scripts/install.sh --uninstall | grep '^remove *user' || fail 'the second time the user stays, too'

# A user or a group that is there already will do, and stays.
for made in 'useradd --create-home --home-dir /etc/a-home --shell /bin/sh switchboard' 'groupadd switchboard'; do
    $made
    there=$(getent passwd switchboard || true; getent group switchboard)
    scripts/install.sh --binary "$server" >/dev/null
    [ "$(stat -c %G /etc/switchboard/switchboard.env)" = switchboard ] || fail "$made: the settings are of another group"
    runuser -u switchboard -- cat /etc/switchboard/switchboard.env >/dev/null || fail "$made: the user cannot read its settings"
    scripts/install.sh --binary "$server" | grep 'nothing to do' || fail "$made: the second run did something"
    scripts/install.sh --uninstall | grep '^kept' || fail "$made: it does not say that it keeps it"
    [ "$(getent passwd switchboard || true; getent group switchboard)" = "$there" ] || fail "$made: not as it was before"
    case $made in
        useradd*) userdel switchboard ;;
        *) groupdel switchboard ;;
    esac
done
