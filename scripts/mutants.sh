#!/usr/bin/env bash
# Each guard is taken out in turn, and the test that is there for it has to turn red.
#
#   scripts/mutants.sh            all of them
#   scripts/mutants.sh PATTERN    those whose name contains it
#
# Works on a copy of the sources in a temporary folder, with a target folder of its own
# (target/mutants). The status is 1 if a test stays green, or if a guard is not where the table
# below says it is.
set -euo pipefail
cd "$(dirname "$0")/.."

# name | file | sed expression | what cargo test is told
MUTANTS=(
    'one of the run-list is read for its events too|src/shard/core.rs|s/ && !self.run_list.contains(key)//|--test faults a_healthy_message'
    'the run-list is read to its end|src/shard/core.rs|s/self.run_list.len().min(limits::RUNS_PER_TURN)/self.run_list.len()/|--test faults a_healthy_message'
    'a full buffer is not the last read of a turn|src/shard/input.rs|s/if count == buffer.len() => break false/if count == buffer.len() => {}/|--test faults a_healthy_message'
    'requests are answered to the last in one turn|src/shard/input.rs|s/ || answered == limits::REQUESTS_PER_TURN//|--test faults one_turn_answers'
    'what is behind an unsent answer is read|src/shard/input.rs|s/let waits = self.waits_for_answers(slot) \&\& has_unsent(self);/let waits = false;/|--test faults behind_an_answer'
    'an event is whoever has the slot|src/shard/core.rs|s/is_some_and(|c| c.serial == key.serial)/is_some()/|--test faults an_event_for_one'
    'time counts while the process is stopped|src/shard/sweep.rs|s/\.min(Self::PATIENCE)//|--test faults a_clock_that'
    'everybody is swept at once|src/limits.rs|s/SWEEP_PARTS: usize = 10/SWEEP_PARTS: usize = 1/|--test faults a_hundred_thousand'
    'newcomers are accepted to the last in one turn|src/shard/accept.rs|s/in 0..ACCEPTS_PER_TURN/in 0..ACCEPTS_PER_TURN * 1000/|--test stalls newcomers'
    'a failed accept is tried at once|src/shard/accept.rs|s/Some(_) | None => Failure::Exhausted/Some(_) | None => Failure::ThatOne/|--lib running_out'
    'a control frame leaves its mark|src/wire/assembly.rs|s/^                held.stale = false;//|--lib a_control_frame_cut'
    'what is begun before a match is for the partner|src/wire/assembly.rs|s/self.stale = true;//|--lib a_message_begun_before'
    'fragments are not counted|src/wire/assembly.rs|s/self.fragments > rules.max_fragments/false/|--lib each_breach'
    'messages have any size|src/wire/assembly.rs|s/held.saturating_add(header.payload_len) > rules.max_message_bytes as u64/false/|--lib each_breach'
    'UTF-8 is not checked|src/wire/assembly.rs|s/Err(_) => return Err(Fault::NotUtf8)/Err(_) => {}/|--lib each_breach'
    'lengths have any form|src/wire/frame.rs|s/length < LENGTH_16 as u16/false/|--lib wire::frame'
    'control characters are JSON|src/wire/message/client.rs|s/0..=0x1f if in_string => return None,//|--lib what_is_not_strict'
    'the quick look sees no second type|src/wire/message/client.rs|s/u8::from(here | LOWER == b.p.) \& u8::from(next == b.e.)/0/|--lib wire::message'
    'what a client does not read is kept without bound|src/shard/output.rs|s/Framing::Frames => self.setup.limits.max_unsent_bytes/Framing::Frames => usize::MAX/|--test simulation the_guarantees'
    'a survivor is not handed in again|src/shard/rooms.rs|s/^                self.host.to_shard(home.holder.shard, ToShard::MoverGone(home));//|--test crossings'
    'a room is announced to one who can relay at once|src/shard/frames.rs|s/connection.announcement_pending() || matches/matches/|--test protocol_rooms who_could_not'
    'messages have any rate|src/shard/frames.rs|s/Pace::Allowed => return true,/_ if true => return true, Pace::Allowed => return true,/|--test limits_messages over_the_message_rate'
    'a closing connection may take for ever|src/shard/sweep.rs|s/>= as_ms(limits.close_timeout)/== u32::MAX/|--test limits_times a_client_that_does_not_end'
    'a head may take for ever|src/shard/sweep.rs|s/>= as_ms(limits.handshake_timeout)/== u32::MAX/|--test limits_times a_head_that_takes'
    'silence may last for ever|src/shard/sweep.rs|s/silent_ms >= as_ms(limits.silence_limit)/false/|--test faults a_hundred_thousand'
    'what comes after a Close frame has no bound|src/shard/input.rs|s/if lingering.bytes_left == 0/if false/|--test protocol_frames beyond_a_mebibyte'
)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutants
mkdir "$scratch/at"
cp -r Cargo.toml Cargo.lock src benches tests tuning README.md .clippy.toml .rustfmt.toml "$scratch/at"
rm -rf "$scratch/at/tests/browser/node_modules" "$scratch/at/tests/fuzz"

survivors=()
tried=0
for mutant in "${MUTANTS[@]}"; do
    # The expressions have bars of their own: the file is the second field, the test the last.
    name=${mutant%%|*} rest=${mutant#*|}
    file=${rest%%|*} rest=${rest#*|}
    read -ra test <<<"${rest##*|}"
    expression=${rest%|*}
    [[ $name == *"${1:-}"* ]] || continue
    tried=$((tried + 1))
    sed -i -- "$expression" "$scratch/at/$file"
    if cmp -s "$file" "$scratch/at/$file"; then
        verdict='NOT FOUND in the sources'
    elif ! (cd "$scratch/at" && cargo test --no-run "${test[@]}" >"$scratch/log" 2>&1); then
        # A mutant that does not compile shows nothing.
        verdict='DOES NOT COMPILE'
        tail -n 20 "$scratch/log"
    elif (cd "$scratch/at" && timeout 300 cargo test "${test[@]}" >"$scratch/log" 2>&1); then
        verdict='SURVIVES'
    else
        verdict='red'
    fi
    printf '%-60s %-45s %s\n' "$name" "${test[*]}" "$verdict"
    [ "$verdict" = red ] || survivors+=("$name")
    cp -- "$file" "$scratch/at/$file"
done
echo "$tried tried, ${#survivors[@]} not red"
[ "${#survivors[@]}" = 0 ]
