#!/usr/bin/env bash
# Runs the flood tests at full size: prints a table of what one hostile process costs the other
# users of the server. Needs a quiet machine, some minutes and 20,000 descriptors.
#
#   scripts/floods.sh
#
# The flooder is one thread that sleeps three times as long as it uses the CPU. So it gets at most
# a quarter of a core, and the table does not measure the scheduler. During each flood one pair of
# users exchanges messages and other users are matched. The columns, with their goals:
#   relay time of the pair (p99 at most 10 ms), time to a match (500 ms), the longest iteration of
#   a shard (100 ms), time until two new users are matched and have exchanged messages after the
#   flood (500 ms), memory that the server keeps after the flood (4 MiB), and CPU time of the
#   server while it has no users (20 % of a core)
# Then 15,000 users reconnect at once; all of them have to be matched within 5 s. The status is 1
# if a goal is missed.
set -euo pipefail
cd "$(dirname "$0")/.."

ulimit -n "$(ulimit -Hn)"
# One test at a time, because each one measures.
exec cargo test --release --test floods -- --ignored --nocapture --test-threads 1
