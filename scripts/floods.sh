#!/usr/bin/env bash
# Floods at full size: what one hostile process does to its neighbours, as a table, and what a
# hostile client may cost. Wants a quiet machine, some minutes and 20,000 descriptors.
#
#   scripts/floods.sh
#
# The flooder is one thread that stands still for three times the processor time it uses, so
# that it has a quarter of a core at most and the scheduler is not what is measured. Beside it a
# pair talks, and others meet. The table shows for each flood: how long their messages took
# (goal: p99 up to 10 ms) and how long it took to meet (500 ms); the bound below which every turn
# of the shards lay (100 ms); how soon after the flood two who come meet and talk (500 ms); the
# memory that the server then has more than before (4 MiB); and its processor time while nobody is
# there (20 % of a core). Behind it come crowds of 15,000 who are back at once: all of them are
# matched within 5 s. The status is 1 if a goal is missed.
set -euo pipefail
cd "$(dirname "$0")/.."

ulimit -n "$(ulimit -Hn)"
# One after the other: each is measured.
exec cargo test --release --test floods -- --ignored --nocapture --test-threads 1
