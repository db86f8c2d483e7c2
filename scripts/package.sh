#!/usr/bin/env bash
# Builds what a release consists of: an archive with static programs for any Linux, a Debian package,
# and their checksums.
#
#   scripts/package.sh FOLDER       writes switchboard-VERSION-ARCH-linux.tar.gz,
#                                   switchboard_VERSION_ARCH.deb and SHA256SUMS to FOLDER
#   --binaries DIR                  takes switchboard and switchboard-load from there, and builds
#                                   only the manual pages and completions
#
# The programs are linked with musl: they need no library and no file. From the same sources, tools and
# commit the same bytes come (SOURCE_DATE_EPOCH: the time of the commit). Installs musl-gcc if it is missing.
#
# The Debian package has the files of scripts/install.sh, moved to where packages put them. It is made
# with dpkg-deb, so that there is one list of files to maintain.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/.."
. scripts/need.sh

out='' binaries=''
usage() {
    sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' scripts/package.sh
    exit "$1"
}
while [ $# -gt 0 ]; do
    case $1 in
        --binaries)
            [ -n "${2:-}" ] || usage 2 >&2
            case $2 in
                /*) binaries=$2 ;;
                *) binaries=$called_from/$2 ;;
            esac
            shift
            ;;
        -h | --help) usage 0 ;;
        -* | '') usage 2 >&2 ;;
        /*) out=$1 ;;
        *) out=$called_from/$1 ;;
    esac
    shift
done
[ -n "$out" ] || usage 2 >&2

field() { sed -n "s/^$1 = \"\(.*\)\"$/\1/p" Cargo.toml | head -n 1; }
version=$(field version)
machine=$(uname -m)
architecture=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
umask 022

if [ -z "$binaries" ]; then
    # Compiles the C and assembly of aws-lc for musl.
    need musl-gcc:musl-tools
    target=$machine-unknown-linux-musl
    rustup target list --installed | grep -qx "$target" || rustup target add "$target"
    cargo build --release --locked --target "$target" --bin switchboard --bin switchboard-load
    binaries=${CARGO_TARGET_DIR:-target}/$target/release
fi
cargo run --quiet --locked --example manual -- "$scratch/manual"

# Writes times that do not depend on the build, so that archives can be compared.
settle() { find "$1" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +; }

# The manual pages and completions, below a folder such as /usr.
put_manual() { # folder
    local program
    for program in switchboard switchboard-load; do
        install -D -m 644 "$scratch/manual/$program.1" "$1/share/man/man1/$program.1"
        gzip -9n "$1/share/man/man1/$program.1"
        install -D -m 644 "$scratch/manual/$program.bash" "$1/share/bash-completion/completions/$program"
        install -D -m 644 "$scratch/manual/_$program" "$1/share/zsh/vendor-completions/_$program"
        install -D -m 644 "$scratch/manual/$program.fish" "$1/share/fish/vendor_completions.d/$program.fish"
    done
}

make_archive() {
    local name=switchboard-$version-$machine-linux
    local tree=$scratch/$name
    install -D -m 755 -t "$tree" "$binaries/switchboard" "$binaries/switchboard-load"
    install -D -m 755 -t "$tree/scripts" scripts/install.sh
    cp -r tuning "$tree"
    rm -r "$tree/tuning/debian" "$tree/tuning/Containerfile"
    install -m 644 -t "$tree" README.md LICENSE .github/CHANGELOG.md
    put_manual "$tree"
    settle "$tree"
    tar -C "$scratch" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -cf - "$name" |
        gzip -9n >"$out/$name.tar.gz"
}

make_debian_package() {
    local tree=$scratch/debian doc
    mkdir "$tree"
    scripts/install.sh --root "$tree" --binary "$binaries/switchboard" >/dev/null
    # A package may not use /usr/local, and puts its units and kernel limits into /usr/lib, so that /etc has
    # what the operator changes.
    cp -a "$tree/usr/local/." "$tree/usr/"
    rm -r "${tree:?}/usr/local"
    mkdir -p "$tree/usr/lib/systemd/system" "$tree/usr/lib/sysctl.d" "$tree/DEBIAN"
    sed 's|/usr/local/|/usr/|g' "$tree/etc/systemd/system/switchboard.service" >"$tree/usr/lib/systemd/system/switchboard.service"
    rm -r "$tree/etc/systemd"
    mv "$tree/etc/sysctl.d/99-switchboard.conf" "$tree/usr/lib/sysctl.d/"
    rmdir "$tree/etc/sysctl.d"
    install -m 755 -t "$tree/usr/bin" "$binaries/switchboard-load"
    put_manual "$tree/usr"
    doc=$tree/usr/share/doc/switchboard
    sed -i 's|/usr/local/|/usr/|g' "$doc"/*.md
    install -D -m 644 .github/CHANGELOG.md "$doc/changelog"
    gzip -9n "$doc/changelog"
    install -m 644 LICENSE "$doc/copyright"
    cp -r tuning/proxy tuning/turn tuning/prometheus tuning/grafana "$doc/"
    (cd "$tree" && find etc -type f -printf '/%p\n' | sort) >"$tree/DEBIAN/conffiles"
    install -m 755 -t "$tree/DEBIAN" tuning/debian/postinst tuning/debian/prerm tuning/debian/postrm
    cat >"$tree/DEBIAN/control" <<CONTROL
Package: switchboard
Version: $version
Architecture: $architecture
Maintainer: ${SWITCHBOARD_MAINTAINER:-Switchboard <switchboard@localhost>}
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f 1)
Depends: adduser
Section: net
Priority: optional
Description: matchmaking and WebRTC signalling for voice calls
 Switchboard matches users in pairs over WebSocket and relays the signalling of
 their WebRTC calls. It serves the page for them, metrics for Prometheus, and
 brings a load tester.
CONTROL
    (cd "$tree" && find usr -type f -exec md5sum {} + | sort -k 2) >"$tree/DEBIAN/md5sums"
    settle "$tree"
    dpkg-deb --root-owner-group --build "$tree" "$out/switchboard_${version}_$architecture.deb" >/dev/null
}

mkdir -p "$out"
make_archive
make_debian_package
(cd "$out" && sha256sum "switchboard-$version-$machine-linux.tar.gz" "switchboard_${version}_$architecture.deb" >SHA256SUMS)
(cd "$out" && ls -l)
