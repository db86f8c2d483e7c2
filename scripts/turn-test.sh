#!/usr/bin/env bash
# Tests tuning/turn with a real coturn: credentials that the server made are accepted, wrong and expired
# ones are refused, nothing is relayed to private addresses, and the quotas hold.
#
#   scripts/turn-test.sh            all tests
#   scripts/turn-test.sh NAME...    some of them, such as Shipped
#
# SWITCHBOARD_BIN  the server to test; default: the debug build, which is built first
#
# Runs in a network namespace of its own, whose loopback interface has public addresses: with them the
# settings are tested as they are shipped, and nothing leaves the machine. Installs missing tools as
# Debian packages: coturn (its service is not started), iproute2, python3.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh

if [ -z "${TURN_RELAY:-}" ]; then
    need turnserver:coturn ip:iproute2 python3:python3 unshare:util-linux
    need_server
    as_user=()
    [ "$(id -u)" = 0 ] || as_user=(--map-root-user)
    export TURN_RELAY=1.2.3.4 TURN_PEER=1.2.3.5 TURN_RELAY_6=2606:4700::7 TURN_PEER_6=2606:4700::8
    exec unshare ${as_user[@]+"${as_user[@]}"} --net scripts/turn-test.sh "$@"
fi

ip link set lo up
for address in "$TURN_RELAY/32" "$TURN_PEER/32" "$TURN_RELAY_6/128" "$TURN_PEER_6/128"; do
    ip address add "$address" dev lo
done
SWITCHBOARD_BIN=$(realpath "$SWITCHBOARD_BIN")
export SWITCHBOARD_BIN
cd tests/turn
[ $# -gt 0 ] || exec python3 -B -m unittest -v test_turn
exec python3 -B -m unittest -v "${@/#/test_turn.}"
