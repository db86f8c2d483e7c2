#!/usr/bin/env bash
# What tuning/ says about monitoring, tried: Prometheus's settings, rules and alerts, Grafana's
# dashboard, and the server's exposition under load, read by a real Prometheus.
#
#   scripts/monitoring-test.sh
#
# SWITCHBOARD_BIN    the server to test; without it the debug build, which is made up to date
#
# Installs what is missing, and says so: Prometheus (with promtool) and Node.js as Debian packages,
# the rest from npm. Listens on loopback at free ports, and keeps its data in a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh

need promtool:prometheus prometheus:prometheus
need_node
need_server

promtool check config tuning/prometheus/prometheus.yml
promtool check rules tuning/prometheus/rules/*.yml
promtool test rules tuning/prometheus/tests/*.yml
node --test --test-concurrency=1 --test-reporter=spec tests/monitoring/*.test.js
