#!/usr/bin/env bash
# Installs Switchboard as a systemd service, or takes it away.
#
#   cargo build --release && sudo scripts/install.sh    install, or upgrade what is there
#   sudo scripts/install.sh --uninstall                 leave nothing behind, settings and copies
#                                                       of the unit (switchboard-*.service) included
#   scripts/install.sh --root DIR [--uninstall]         files below DIR only, for an image or a
#                                                       package: no user, no sysctl, no systemd
#   --binary FILE                                       another binary than target/release's, such as
#                                                       one in $CARGO_TARGET_DIR, which sudo keeps
#                                                       from getting here
#
# What it puts where:
#   /usr/local/bin/switchboard                     the server
#   /etc/systemd/system/switchboard.service        the unit
#   /etc/switchboard/switchboard.env               settings: yours, never overwritten
#   /etc/sysctl.d/99-switchboard.conf              kernel limits; yours go into 99-zz-local.conf
#   /etc/security/limits.d/switchboard.conf        descriptors for starts by hand
#   /usr/local/share/doc/switchboard/README.md     the manual
#   the user and group switchboard, without a home or a shell. Such as are there will do, and stay:
#   a group, and a user that has a home or a shell
#
# A second run changes no file. It starts nothing either: the last lines say how. The status is 1
# if anything did not work out.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/.."

root='' binary='' uninstall=no
# Without --root it is this machine: then it also takes care of the user, the kernel and systemd.
machine=yes
die() {
    echo "install.sh: $*" >&2
    exit 1
}
# What does not work out keeps nothing else from being done; the status tells of it.
failed=0
complain() {
    echo "install.sh: $*" >&2
    failed=1
}
usage() {
    sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' scripts/install.sh
    exit "$1"
}
while [ $# -gt 0 ]; do
    case $1 in
        --uninstall) uninstall=yes ;;
        --root | --binary)
            case ${2:-} in
                /*) path=$2 ;;
                # An empty one is a variable that was not set, and no wish to change this machine.
                '' | -*) usage 2 >&2 ;;
                # Whoever calls names it from where they are.
                *) path=$called_from/$2 ;;
            esac
            if [ "$1" = --root ]; then root=$path machine=no; else binary=$path; fi
            shift
            ;;
        -h | --help) usage 0 ;;
        *) usage 2 >&2 ;;
    esac
    shift
done

if [ "$machine" = yes ]; then
    [ "$(id -u)" = 0 ] || die 'this changes the system, so it needs root (or --root DIR)'
elif [ "$root" -ef / ]; then
    die 'this machine itself is installed on without --root'
fi
root=${root%/}
booted_by_systemd() { [ "$machine" = yes ] && [ -d /run/systemd/system ]; }

changed=0
say() { # verb path
    printf '%-9s %s\n' "$1" "$2"
    changed=$((changed + 1))
}

# The file is what it should be, owner and mode included, or is made so.
put() { # mode source target
    local mode=$1 source=$2 target=$root$3 before=install
    [ ! -d "$target" ] || die "$target is a folder"
    if [ -e "$target" ]; then
        if cmp -s "$source" "$target" && [ "$(stat -c '%a %u' "$target")" = "${mode#0} $(id -u)" ]; then return; fi
        before=update
    fi
    # One that is there keeps its mode: it is not ours.
    [ -d "$(dirname "$target")" ] || install -d -m 0755 "$(dirname "$target")"
    # A new file takes the old one's place: a binary that runs cannot be written to.
    unfinished=$target.new
    install -m "$mode" "$source" "$unfinished"
    mv -fT "$unfinished" "$target"
    unfinished=
    say "$before" "$target"
}

take() { # target
    local target=$root$1
    if [ -e "$target" ] || [ -L "$target" ]; then
        rm -f "$target"
        say remove "$target"
    fi
}

# Folders that nothing else is in go too: below --root all of them, on a machine only our own.
take_folder() { # folder
    local folder=$root$1
    while [ "$folder" != "$root" ] && [ -d "$folder" ] && rmdir "$folder" 2>/dev/null; do
        say remove "$folder"
        [ "$machine" = no ] || return 0
        folder=$(dirname "$folder")
    done
}

# A user or a group that somebody else made under this name will do.
install_user() {
    local -a groups=(--gid switchboard)
    if getent group switchboard >/dev/null; then
        # userdel takes the user's first group along. So this is not it, but that of nobody, which
        # is 65534 everywhere; the unit names the group anyway.
        groups=(--gid 65534 --groups switchboard)
    else
        groupadd --system switchboard
        say create 'group switchboard'
    fi
    if ! getent passwd switchboard >/dev/null; then
        useradd --system "${groups[@]}" --no-create-home --home-dir /nonexistent \
            --shell /usr/sbin/nologin switchboard
        say create 'user switchboard'
    fi
}

# What has a home or a shell is somebody else's, and stays.
take_user() {
    case $(getent passwd switchboard) in
        '') ;;
        *:/nonexistent:/usr/sbin/nologin)
            # Takes the group too, if it was made here and nobody else is in it.
            if ! userdel switchboard; then
                complain 'the user switchboard stays while anything of it runs: end that, and run this again'
                return
            fi
            say remove 'user switchboard'
            if getent group switchboard >/dev/null; then
                echo 'kept      group switchboard, which others made or are in'
            fi
            ;;
        *) echo 'kept      user switchboard, which was not made here' ;;
    esac
}

example_settings() {
    cat <<'SETTINGS'
# Settings of the service switchboard: one SWITCHBOARD_NAME=value a line. `switchboard --help`
# names them all. After a change: systemctl restart switchboard
#SWITCHBOARD_LISTEN=0.0.0.0:8080,[::]:8080
#SWITCHBOARD_ICE_SERVER=stun:stun.example.org:3478
#SWITCHBOARD_LOG_FORMAT=json
SETTINGS
}

# One for an image of other machines may not run here.
version_of() { # program
    timeout 5 "$1" --version 2>/dev/null </dev/null || echo 'unknown version'
}

# The files in /etc/sysctl.d/ from this one on, in the order in which systemd reads them: by bytes.
sysctl_files_from() { # name
    local LC_ALL=C file
    for file in /etc/sysctl.d/*.conf; do
        [[ ${file##*/} < $1 ]] || ! [ -r "$file" ] || echo "$file"
    done
}

install_all() {
    if [ -z "$binary" ]; then binary=${CARGO_TARGET_DIR:-target}/release/switchboard; fi
    if [ ! -f "$binary" ] || [ ! -x "$binary" ]; then
        die "there is no program $binary: run  cargo build --release  or give --binary FILE"
    fi
    binary=$(realpath "$binary")
    # An old one, of another build folder, is recognised by this.
    printf '%-9s %s: %s, of %s\n' binary "$binary" "$(version_of "$binary")" "$(date -r "$binary" '+%F %T')"
    [ "$machine" = no ] || install_user
    put 0755 "$binary" /usr/local/bin/switchboard
    put 0644 tuning/switchboard.service /etc/systemd/system/switchboard.service
    put 0644 tuning/limits.conf /etc/security/limits.d/switchboard.conf
    put 0644 README.md /usr/local/share/doc/switchboard/README.md
    local -a limits
    put 0644 tuning/99-switchboard.conf /etc/sysctl.d/99-switchboard.conf
    if [ "$machine" = yes ]; then
        # Those behind it have the last word now as they have at the next boot. Each time, since
        # the kernel may have refused them, or been told otherwise, since the file was written.
        mapfile -t limits < <(sysctl_files_from 99-switchboard.conf)
        sysctl -q -p "${limits[@]}" || complain "the kernel refused some of ${limits[*]}"
    fi
    if [ ! -e "$root/etc/switchboard/switchboard.env" ]; then
        example_settings >"$scratch"
        put 0640 "$scratch" /etc/switchboard/switchboard.env
        [ "$machine" = no ] || chgrp switchboard /etc/switchboard/switchboard.env
    fi
    if booted_by_systemd && [ "$changed" != 0 ]; then systemctl daemon-reload; fi
    if [ "$changed" = 0 ]; then
        [ "$failed" = 1 ] || echo 'nothing to do: all is installed as it should be'
        return "$failed"
    fi
    cat <<'NEXT'
what this machine lacks:   sudo prlimit --nofile=1048576:1048576 switchboard --check 1000000
first start:               sudo systemctl enable --now switchboard
after an upgrade:          sudo systemctl restart switchboard
NEXT
    return "$failed"
}

# The unit and its copies, such as the second server that README puts behind a proxy: what runs the
# program that goes.
our_units() {
    local unit
    echo switchboard.service
    for unit in "$root"/etc/systemd/system/switchboard-*.service; do
        if grep -q '^ExecStart=/usr/local/bin/switchboard\( \|$\)' "$unit" 2>/dev/null; then echo "${unit##*/}"; fi
    done
}

# A unit with its settings, and what `systemctl edit` has written.
take_unit() { # name
    local settings file
    if booted_by_systemd && systemctl cat "$1" >/dev/null 2>&1; then
        if systemctl disable --now "$1"; then say stop "$1"; else complain "$1 could not be stopped"; fi
    fi
    # What enabled it where no systemd was at work, as in an image.
    for file in "$root"/etc/systemd/system/*.wants/"$1"; do
        take "${file#"$root"}"
        take_folder "$(dirname "${file#"$root"}")"
    done
    settings=$(sed -n 's|^EnvironmentFile=-\{0,1\}\(/etc/switchboard/[^/]*\)$|\1|p' "$root/etc/systemd/system/$1" 2>/dev/null || true)
    while read -r file; do [ -z "$file" ] || take "$file"; done <<<"$settings"
    take "/etc/systemd/system/$1"
    for file in "$root/etc/systemd/system/$1.d/"*.conf; do take "${file#"$root"}"; done
    take_folder "/etc/systemd/system/$1.d"
}

uninstall_all() {
    local unit units
    units=$(our_units)
    for unit in $units; do take_unit "$unit"; done
    take /usr/local/bin/switchboard
    take /etc/security/limits.d/switchboard.conf
    take /usr/local/share/doc/switchboard/README.md
    take /etc/sysctl.d/99-switchboard.conf
    take /etc/switchboard/switchboard.env
    take_folder /etc/switchboard
    if [ -d "$root/etc/switchboard" ]; then
        echo "kept      $root/etc/switchboard, which holds files that were not made here"
    fi
    take_folder /usr/local/share/doc/switchboard
    take_folder /usr/local/share/doc
    if [ "$machine" = no ]; then
        for folder in /usr/local/bin /etc/systemd/system /etc/security/limits.d /etc/sysctl.d; do
            take_folder "$folder"
        done
    fi
    if booted_by_systemd && [ "$changed" != 0 ]; then systemctl daemon-reload; fi
    [ "$machine" = no ] || take_user
    if [ "$changed" = 0 ]; then
        echo 'nothing to do: nothing is installed'
    elif [ "$machine" = yes ]; then
        echo 'the kernel keeps its present limits until the next boot'
    fi
    return "$failed"
}

unfinished=
scratch=$(mktemp)
trap 'rm -f "$scratch" ${unfinished:+"$unfinished"}' EXIT
if [ "$uninstall" = yes ]; then uninstall_all; else install_all; fi
