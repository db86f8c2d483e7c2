#!/usr/bin/env bash
# Tests the monitoring files of tuning/: the settings, rules and alerts of Prometheus, the
# dashboard of Grafana, and the metrics of a server under load, scraped by Prometheus.
#
#   scripts/monitoring-test.sh
#
# SWITCHBOARD_BIN    the server to test; default: the debug build, which is built first
#
# Installs missing tools: Prometheus (with promtool) and Node.js as Debian packages, the rest from
# npm. Listens on free loopback ports and keeps its data in a temporary folder.
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
