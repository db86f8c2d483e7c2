#!/usr/bin/env bash
# Installs Switchboard as a systemd service, upgrades it, or uninstalls it.
#
#   cargo build --release && sudo scripts/install.sh    installs or upgrades
#   sudo scripts/install.sh --uninstall                 removes everything, also the settings and
#                                                       copies of the unit (switchboard-*.service)
#   scripts/install.sh --root DIR [--uninstall]         only the files, below DIR, for an image or a
#                                                       package: no user, no sysctl, no systemd
#   --binary FILE                                       default: target/release/switchboard. Needed
#                                                       with CARGO_TARGET_DIR, which sudo unsets
#
# Installed files:
#   /usr/local/bin/switchboard                     the server
#   /usr/local/bin/switchboard.previous            the one before, after an upgrade; to go back, install
#                                                  it with --binary
#   /etc/systemd/system/switchboard.service        the unit
#   /etc/switchboard/switchboard.env               settings, all commented out; never overwritten
#   /etc/sysctl.d/99-switchboard.conf              kernel limits; put changes into 99-zz-local.conf
#   /etc/security/limits.d/switchboard.conf        limit of open files for login shells
#   /usr/local/share/doc/switchboard/              the manual, OPERATIONS.md and REFERENCE.md, and the
#                                                  files that it names: proxy/, prometheus/, nic.sh ...
#   the user and group switchboard, without a home or a shell. An existing user or group is used as
#   it is. The uninstaller keeps a group that it did not create and a user with a home or a shell
#
# A second run changes nothing. The script does not start the service; its last lines say how. The
# status is 1 if any step failed.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/.."

root='' binary='' uninstall=no
# Without --root: also sets up the user, the kernel limits and systemd.
machine=yes
die() {
    echo "install.sh: $*" >&2
    exit 1
}
# After a failed step the others still run; the exit status reports the failure.
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
                # An empty path is probably an unset variable. It must not change this machine.
                '' | -*) usage 2 >&2 ;;
                # A relative path is relative to the folder of the caller.
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
    [ "$(id -u)" = 0 ] || die 'installing on this machine needs root; --root DIR installs below a folder'
elif [ "$root" -ef / ]; then
    die '--root / is not possible; omit --root to install on this machine'
fi
root=${root%/}
booted_by_systemd() { [ "$machine" = yes ] && [ -d /run/systemd/system ]; }

changed=0
say() { # verb path
    printf '%-9s %s\n' "$1" "$2"
    changed=$((changed + 1))
}

# Installs a file unless it is there with the same content, owner and mode.
put() { # mode source target
    local mode=$1 source=$2 target=$root$3 before=install
    [ ! -d "$target" ] || die "$target is a folder; remove it first"
    if [ -e "$target" ]; then
        if cmp -s "$source" "$target" && [ "$(stat -c '%a %u' "$target")" = "${mode#0} $(id -u)" ]; then return; fi
        before=update
    fi
    # An existing folder keeps its mode.
    [ -d "$(dirname "$target")" ] || install -d -m 0755 "$(dirname "$target")"
    # The new file replaces the old one by a rename: a running binary cannot be written to.
    unfinished=$target.new
    install -m "$mode" "$source" "$unfinished"
    # A second name for the old file, so that the program is there at every moment.
    if [ "$target" = "$root/usr/local/bin/switchboard" ] && [ -f "$target" ] && [ ! -L "$target" ]; then
        ln -fT "$target" "$target.previous"
    fi
    mv -fT "$unfinished" "$target"
    unfinished=
    say "$before" "$target"
}

remove() { # target
    local target=$root$1
    if [ -e "$target" ] || [ -L "$target" ]; then
        rm -f "$target"
        say remove "$target"
    fi
}

# Removes a folder if it is empty; below --root its empty parents too.
remove_folder() { # folder
    local folder=$root$1
    while [ "$folder" != "$root" ] && [ -d "$folder" ] && rmdir "$folder" 2>/dev/null; do
        say remove "$folder"
        [ "$machine" = no ] || return 0
        folder=$(dirname "$folder")
    done
}

# Creates the user and the group, unless they exist.
install_user() {
    local -a groups=(--gid switchboard)
    if getent group switchboard >/dev/null; then
        # userdel removes the primary group of a user. An existing group must stay, so the primary
        # group is that of `nobody`, 65534 on all distributions. The unit names the group anyway.
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

# Removes the user unless it has a home or a shell, which means that this script did not create it.
remove_user() {
    case $(getent passwd switchboard) in
        '') ;;
        *:/nonexistent:/usr/sbin/nologin)
            # Also removes the group if it is the user's primary group and has no other members.
            if ! userdel switchboard; then
                complain 'the user switchboard still has processes; stop them, then run this again'
                return
            fi
            say remove 'user switchboard'
            if getent group switchboard >/dev/null; then
                echo 'kept      group switchboard, which this script did not create or which has members'
            fi
            ;;
        *) echo 'kept      user switchboard, which this script did not create' ;;
    esac
}

# The files of tuning/ that are documentation or examples, and not installed elsewhere.
manual_files() {
    (cd tuning && find . -type f ! -path './*/tests/*' ! -path './debian/*' ! -name switchboard.service ! -name switchboard.env \
        ! -name limits.conf ! -name 99-switchboard.conf -printf '%P\n' | LC_ALL=C sort)
}

# A binary for another architecture does not run here.
version_of() { # program
    timeout 5 "$1" --version 2>/dev/null </dev/null || echo 'unknown version'
}

# The files in /etc/sysctl.d/ from this name on, in the order in which systemd reads them: bytewise.
sysctl_files_from() { # name
    local LC_ALL=C file
    for file in /etc/sysctl.d/*.conf; do
        [[ ${file##*/} < $1 ]] || ! [ -r "$file" ] || echo "$file"
    done
}

install_all() {
    if [ -z "$binary" ]; then binary=${CARGO_TARGET_DIR:-target}/release/switchboard; fi
    if [ ! -f "$binary" ] || [ ! -x "$binary" ]; then
        die "there is no program $binary; run  cargo build --release  or use --binary FILE"
    fi
    binary=$(realpath "$binary")
    # Shows the operator when this is an old binary from another build folder.
    printf '%-9s %s: %s, of %s\n' binary "$binary" "$(version_of "$binary")" "$(date -r "$binary" '+%F %T')"
    [ "$machine" = no ] || install_user
    put 0755 "$binary" /usr/local/bin/switchboard
    put 0644 tuning/switchboard.service /etc/systemd/system/switchboard.service
    put 0644 tuning/limits.conf /etc/security/limits.d/switchboard.conf
    local manual mode
    while read -r manual; do
        mode=0644
        [ ! -x "tuning/$manual" ] || mode=0755
        put "$mode" "tuning/$manual" "/usr/local/share/doc/switchboard/$manual"
    done < <(manual_files)
    local -a limits
    put 0644 tuning/99-switchboard.conf /etc/sysctl.d/99-switchboard.conf
    if [ "$machine" = yes ]; then
        # Later files override this one, as they will at the next boot. Applied at every run, since
        # an earlier run may have failed and the values may have been changed since.
        mapfile -t limits < <(sysctl_files_from 99-switchboard.conf)
        sysctl -q -p "${limits[@]}" || complain "the kernel refused some of ${limits[*]}"
    fi
    if [ ! -e "$root/etc/switchboard/switchboard.env" ]; then
        put 0640 tuning/switchboard.env /etc/switchboard/switchboard.env
        [ "$machine" = no ] || chgrp switchboard /etc/switchboard/switchboard.env
    fi
    if booted_by_systemd && [ "$changed" != 0 ]; then systemctl daemon-reload; fi
    if [ "$changed" = 0 ]; then
        [ "$failed" = 1 ] || echo 'nothing to do: all is installed as it should be'
        return "$failed"
    fi
    cat <<'NEXT'
check the machine:         sudo prlimit --nofile=1048576:1048576 switchboard --check 1000000
first start:               sudo systemctl enable --now switchboard
after an upgrade:          sudo systemctl restart switchboard
back to the last version:  sudo scripts/install.sh --binary /usr/local/bin/switchboard.previous
NEXT
    return "$failed"
}

# The unit and its copies, such as a second server behind a proxy: all units that run the program.
our_units() {
    local unit
    echo switchboard.service
    for unit in "$root"/etc/systemd/system/switchboard-*.service; do
        if grep -q '^ExecStart=/usr/local/bin/switchboard\( \|$\)' "$unit" 2>/dev/null; then echo "${unit##*/}"; fi
    done
}

# Removes a unit, its settings and the files that `systemctl edit` wrote.
remove_unit() { # name
    local settings file
    if booted_by_systemd && systemctl cat "$1" >/dev/null 2>&1; then
        if systemctl disable --now "$1"; then say stop "$1"; else complain "$1 could not be stopped; see systemctl status $1"; fi
    fi
    # Links of `systemctl --root enable`, which enables a unit in an image.
    for file in "$root"/etc/systemd/system/*.wants/"$1"; do
        remove "${file#"$root"}"
        remove_folder "$(dirname "${file#"$root"}")"
    done
    settings=$(sed -n 's|^EnvironmentFile=-\{0,1\}\(/etc/switchboard/[^/]*\)$|\1|p' "$root/etc/systemd/system/$1" 2>/dev/null || true)
    while read -r file; do [ -z "$file" ] || remove "$file"; done <<<"$settings"
    remove "/etc/systemd/system/$1"
    for file in "$root/etc/systemd/system/$1.d/"*.conf; do remove "${file#"$root"}"; done
    remove_folder "/etc/systemd/system/$1.d"
}

uninstall_all() {
    local unit units manual
    units=$(our_units)
    for unit in $units; do remove_unit "$unit"; done
    remove /usr/local/bin/switchboard
    remove /usr/local/bin/switchboard.previous
    remove /etc/security/limits.d/switchboard.conf
    # The whole folder, because earlier versions installed other files there.
    while read -r manual; do
        remove "${manual#"$root"}"
    done < <(find "$root/usr/local/share/doc/switchboard" ! -type d 2>/dev/null | LC_ALL=C sort)
    if [ -d "$root/usr/local/share/doc/switchboard" ]; then
        find "$root/usr/local/share/doc/switchboard" -mindepth 1 -depth -type d -empty -delete
    fi
    remove /etc/sysctl.d/99-switchboard.conf
    remove /etc/switchboard/switchboard.env
    remove_folder /etc/switchboard
    if [ -d "$root/etc/switchboard" ]; then
        echo "kept      $root/etc/switchboard, which contains other files"
    fi
    remove_folder /usr/local/share/doc/switchboard
    remove_folder /usr/local/share/doc
    if [ "$machine" = no ]; then
        for folder in /usr/local/bin /etc/systemd/system /etc/security/limits.d /etc/sysctl.d; do
            remove_folder "$folder"
        done
    fi
    if booted_by_systemd && [ "$changed" != 0 ]; then systemctl daemon-reload; fi
    [ "$machine" = no ] || remove_user
    if [ "$changed" = 0 ]; then
        echo 'nothing to do: nothing is installed'
    elif [ "$machine" = yes ]; then
        echo 'the kernel keeps its present limits until the next boot'
    fi
    return "$failed"
}

unfinished=
trap 'rm -f ${unfinished:+"$unfinished"}' EXIT
if [ "$uninstall" = yes ]; then uninstall_all; else install_all; fi
