#!/usr/bin/env bash
# Tests scripts/package.sh and the static programs: they run in an empty folder, the archive installs,
# the Debian package has its files where they belong, manual pages and completions are complete.
#
#   scripts/package-test.sh
#
# SWITCHBOARD_STATIC  a folder with static builds of both programs; default: they are built for musl,
#                     without optimisation
#
# Changes nothing outside a temporary folder, except that it installs missing tools as Debian packages:
# dpkg, man-db, curl, shellcheck, binutils, and the Rust target. Needs root for chroot(8), or sudo.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh
need dpkg-deb:dpkg man:man-db curl:curl shellcheck:shellcheck readelf:binutils
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

scratch=$(mktemp -d)
server=
stop_server() {
    [ -z "$server" ] || "${as_root[@]}" kill -KILL "$server" 2>/dev/null || true
    # Waiting keeps bash from reporting the end.
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    server=
}
trap 'stop_server; rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
fail() {
    printf 'package-test: %s\n' "$*" >&2
    exit 1
}
passed() { printf 'ok  %s\n' "$*"; }

build_static() {
    local target program
    if [ -n "${SWITCHBOARD_STATIC:-}" ]; then return; fi
    need musl-gcc:musl-tools
    target=$(uname -m)-unknown-linux-musl
    rustup target list --installed | grep -qx "$target" || rustup target add "$target"
    cargo build --locked --target "$target" --bin switchboard --bin switchboard-load
    # Without symbols the packages are small, and packing them is quick.
    SWITCHBOARD_STATIC=$scratch/static
    mkdir "$SWITCHBOARD_STATIC"
    for program in switchboard switchboard-load; do
        strip -o "$SWITCHBOARD_STATIC/$program" "${CARGO_TARGET_DIR:-target}/$target/debug/$program"
    done
}

make_packages() {
    # Both runs are of the same time, whatever is committed meanwhile.
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
    export SOURCE_DATE_EPOCH
    scripts/package.sh --binaries "$SWITCHBOARD_STATIC" "$scratch/one" >/dev/null
    (cd "$scratch/one" && sha256sum --quiet -c SHA256SUMS) || fail 'the checksums are wrong'
    scripts/package.sh --binaries "$SWITCHBOARD_STATIC" "$scratch/two" >/dev/null
    cmp "$scratch/one/SHA256SUMS" "$scratch/two/SHA256SUMS" || fail 'a second run made other packages from the same programs'
    tar -C "$scratch" -xzf "$scratch"/one/switchboard-*.tar.gz
    archive=$(echo "$scratch"/switchboard-*-linux)
    dpkg-deb -x "$scratch"/one/switchboard_*.deb "$scratch/root"
    dpkg-deb -e "$scratch"/one/switchboard_*.deb "$scratch/control"
    passed 'two runs of package.sh make the same archive and the same Debian package'
}

# Starts the server as a user without rights, in a folder that has nothing but the program.
run_in_an_empty_folder() {
    local empty=$scratch/empty port status=0
    local -a inside
    mkdir "$empty"
    cp "$scratch/root/usr/bin/switchboard" "$scratch/root/usr/bin/switchboard-load" "$empty"
    for program in "$empty"/*; do
        ! readelf -l "$program" 2>/dev/null | grep -q INTERP || fail "${program##*/} needs a dynamic linker"
    done
    inside=(${as_root[@]+"${as_root[@]}"} chroot --userspec=65532:65532 "$empty")
    "${inside[@]}" /switchboard-load --version >/dev/null || fail 'switchboard-load does not run without libraries'
    "${inside[@]}" /switchboard --listen 127.0.0.1:0 --no-pin 2>"$scratch/log" &
    server=$!
    for _ in $(seq 100); do
        port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' "$scratch/log")
        [ -z "$port" ] || break
        kill -0 "$server" || fail "the server ended: $(cat "$scratch/log")"
        sleep 0.1
    done
    [ -n "$port" ] || fail "the server does not listen: $(cat "$scratch/log")"
    curl -fsS -m 10 -o /dev/null "http://127.0.0.1:$port/" || fail 'the server does not serve its page'
    "${inside[@]}" /switchboard --health-check --listen "127.0.0.1:$port" || fail 'the health check fails'
    stop_server
    "${inside[@]}" /switchboard --health-check --listen "127.0.0.1:$port" 2>/dev/null || status=$?
    [ "$status" = 1 ] || fail "the health check of a server that has ended exits with $status"
    passed 'the static server runs in an empty folder, and its health check needs no shell'
}

check_the_archive() {
    mkdir "$scratch/installed"
    (cd "$archive" && scripts/install.sh --root "$scratch/installed" --binary switchboard) >/dev/null
    cmp "$archive/switchboard" "$scratch/installed/usr/local/bin/switchboard" || fail 'the installer of the archive installs another program'
    for file in README.md LICENSE CHANGELOG.md switchboard-load tuning/OPERATIONS.md tuning/turn/turnserver.conf; do
        [ -s "$archive/$file" ] || fail "the archive has no $file"
    done
    passed 'the installer in the archive installs from it'
}

check_the_debian_package() {
    local tree=$scratch/root file script
    for file in usr/bin/switchboard usr/bin/switchboard-load usr/lib/systemd/system/switchboard.service \
        usr/lib/sysctl.d/99-switchboard.conf etc/security/limits.d/switchboard.conf etc/switchboard/switchboard.env \
        usr/share/doc/switchboard/{copyright,changelog.gz,OPERATIONS.md,REFERENCE.md}; do
        [ -s "$tree/$file" ] || fail "the package has no $file"
    done
    [ ! -e "$tree/usr/local" ] || fail 'the package has files in /usr/local'
    if grep -rIl /usr/local "$tree/etc" "$tree/usr/lib"; then fail 'a file names /usr/local'; fi
    # All of /etc is the operator's: dpkg asks before it replaces a file that was changed.
    diff <(cd "$tree" && find etc -type f -printf '/%p\n' | sort) "$scratch/control/conffiles" || fail 'conffiles are not the files in /etc'
    [ "$(stat -c %a "$tree/etc/switchboard/switchboard.env")" = 640 ] || fail 'all users may read the settings'
    dpkg-deb -c "$scratch"/one/switchboard_*.deb | awk '$2 != "root/root" { exit 1 }' || fail 'a file does not belong to root'
    grep -q '^ExecStart=/usr/bin/switchboard$' "$tree/usr/lib/systemd/system/switchboard.service" || fail 'the unit starts another program'
    (cd "$tree" && md5sum --quiet -c "$scratch/control/md5sums") || fail 'md5sums are wrong'
    for script in postinst prerm postrm; do
        [ -x "$scratch/control/$script" ] || fail "$script cannot be executed"
        shellcheck "$scratch/control/$script"
    done
    passed 'the Debian package has its files where they belong'
}

# Each flag of --help is in the manual page and in the completions of each shell.
check_manual_and_completions() {
    local share=$scratch/root/usr/share program page flag count
    for program in switchboard switchboard-load; do
        page=$(man --warnings=w -l "$share/man/man1/$program.1.gz" 2>"$scratch/warnings" | col -b)
        [ ! -s "$scratch/warnings" ] || fail "the page of $program: $(cat "$scratch/warnings")"
        bash -n "$share/bash-completion/completions/$program"
        count=0
        while read -r flag; do
            count=$((count + 1))
            grep -qF -- "$flag" <<<"$page" || fail "the manual page of $program has no $flag"
            for file in "$share/bash-completion/completions/$program" "$share/zsh/vendor-completions/_$program"; do
                grep -qF -- "$flag" "$file" || fail "$file has no $flag"
            done
            grep -qF -- "-l ${flag#--}" "$share/fish/vendor_completions.d/$program.fish" || fail "the completions for fish have no $flag"
        done < <("$SWITCHBOARD_STATIC/$program" --help | grep -oE '^ +(-[a-zA-Z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+')
        [ "$count" -gt 5 ] || fail "--help of $program has only $count flags"
    done
    # shellcheck disable=SC2016
    words=$(bash -c '. "$1"; COMP_WORDS=(switchboard --drain) COMP_CWORD=1; _switchboard switchboard --drain switchboard; echo "${COMPREPLY[@]}"' \
        - "$share/bash-completion/completions/switchboard")
    [ "$words" = --drain-timeout ] || fail "bash completes --drain to $words"
    passed 'manual pages and completions have every flag'
}

build_static
make_packages
run_in_an_empty_folder
check_the_archive
check_the_debian_package
check_manual_and_completions
