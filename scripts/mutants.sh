#!/usr/bin/env bash
# Each guard is taken out in turn, and the test that is there for it has to turn red.
#
#   scripts/mutants.sh            all of them
#   scripts/mutants.sh PATTERN    those whose name contains it
#
# Works on a copy of the sources in a temporary folder, with a target folder of its own
# (target/mutants). The status is 1 if a test stays green, if a guard is not where the table below
# says it is, or if there is none of that name.
set -euo pipefail
cd "$(dirname "$0")/.."

# name | file | sed expression | what cargo test is told
MUTANTS=(
    'one of the run-list is read for its events too|src/shard/core.rs|s/ \&\& self.reads_for_events(key)//|--test faults a_healthy_message'
    'the run-list is read to its end|src/shard/core.rs|s/bytes_left = bytes_left.saturating_sub(.*);//|--test faults many_who_send'
    'the run-list gives everybody a whole buffer|src/shard/core.rs|s/self.read_on(key, share)/self.read_on(key, limits::RECEIVE_BUFFER_BYTES)/|--test faults who_sends_one_large'
    'each event brings a whole buffer|src/shard/core.rs|s/self.read(key, self.share, /self.read(key, limits::RECEIVE_BUFFER_BYTES, /|--test faults many_who_send'
    'a full buffer is not the last read of a turn|src/shard/input.rs|s/if count == share => break false/if count == share => {}/|--test faults a_healthy_message'
    'requests are answered to the last in one turn|src/shard/input.rs|s/answered == limits::REQUESTS_PER_TURN || //|--test faults one_turn_answers'
    'the requests of all are answered in one turn|src/shard/input.rs|s/ || self.requests_left == 0//|--test faults the_requests_of_all'
    'what is behind an unsent answer is read|src/shard/input.rs|s/let waits = self.waits_for_answers(slot) \&\& has_unsent(self);/let waits = false;/|--test faults behind_an_answer'
    'an event is whoever has the slot|src/shard/core.rs|s/is_some_and(|c| c.serial == key.serial)/is_some()/|--test faults an_event_for_one'
    'time counts while the process is stopped|src/shard/sweep.rs|s/\.min(Self::PATIENCE)//|--test faults a_clock_that'
    'everybody is swept at once|src/limits.rs|s/SWEEP_PARTS: usize = 10/SWEEP_PARTS: usize = 1/|--test faults a_hundred_thousand'
    'figures are made for each who asks|src/shard/driver.rs|s/self.figures\[.\].get_or_insert_with(render).clone()/render()/|--test http_connections figures_are_made'
    'administration takes users their places|src/shard/core.rs|s/self.alive() - self.admin_connections/self.alive()/|--test admin_listen in_a_table'
    'newcomers are accepted to the last in one turn|src/shard/accept.rs|s/in 0..ACCEPTS_PER_TURN/in 0..ACCEPTS_PER_TURN * 1000/|--test stalls newcomers'
    'the end takes everybody who still waits|src/shard/accept.rs|s/for _ in 0..most {/for _ in 0..most.max(9) {/|--lib the_end_takes'
    'the surplus of a table has no end|src/shard/accept.rs|s/if here >= most.saturating_add(TABLE_SURPLUS_CONNECTIONS)/if false/|--test limits_tables'
    'letters are read to the last in one turn|src/shard/driver.rs|s/if letters < LETTERS_PER_TURN { self.inbox.take() } else { None }/self.inbox.take()/|--test limits_turns'
    'a failed accept is tried at once|src/shard/accept.rs|s/Some(_) | None => Failure::Exhausted/Some(_) | None => Failure::ThatOne/|--lib running_out'
    'a control frame leaves its mark|src/wire/assembly.rs|s/^                held.clear_stale();//|--lib a_control_frame_cut'
    'what is begun before a match is for the partner|src/wire/assembly/held.rs|s/self.stale = true;//|--lib a_message_begun_before'
    'fragments are not counted|src/wire/assembly/held.rs|s/self.fragments > rules.max_fragments/false/|--lib each_breach'
    'messages have any size|src/wire/assembly/held.rs|s/held.saturating_add(header.payload_len) > rules.max_message_bytes as u64/false/|--lib each_breach'
    'UTF-8 is not checked|src/wire/assembly/held.rs|s/Err(_) => return Err(Fault::NotUtf8)/Err(_) => {}/|--lib each_breach'
    'lengths have any form|src/wire/frame.rs|s/length < LENGTH_16 as u16/false/|--lib wire::frame'
    'control characters are JSON|src/wire/message/client.rs|s/0..=0x1f if in_string => return None,//|--lib what_is_not_strict'
    'the quick look sees no second type|src/wire/message/client.rs|s/u8::from(here | LOWER == b.p.) \& u8::from(next == b.e.)/0/|--lib wire::message'
    'what is no escape hides a name|src/wire/message/client.rs|s/!(u8::from(next == b.n.).*;*$/u8::from(next == 117)/|--lib wire::message'
    'what a client does not read is kept without bound|src/shard/output.rs|s/Framing::Frames => self.setup.limits.max_unsent_bytes/Framing::Frames => usize::MAX/|--test simulation the_guarantees'
    'a waiting is held back for ever|src/shard/core.rs|s/^                self.stop_holding_back(key.slot);//|--test faults who_waits_alone'
    'what is said meanwhile waits too|src/shard/output.rs|s/^                return self.flush(slot);/                return;/|--test faults a_waiting_that_is_held_back'
    'what is said behind it has no bound|src/shard/output.rs|s/if fits \&\& connection.is_held_back() {/if connection.is_held_back() {/|--test faults has_its_bound'
    'who has read meanwhile is slow|src/shard/output.rs|s/if !fits {/if !fits \&\& connection.is_held_back() {/|--test faults no_slow_consumer'
    'one that waits for the matcher is not pinged|src/shard/sweep.rs|s/ || connection.is_held_back()//|--test faults is_pinged'
    'each answer is a send of its own|src/shard/output.rs|s/if is_lone_waiting \&\& .*has_unsent() {/if false {/|--test faults two_who_meet'
    'a survivor is not handed in again|src/shard/rooms.rs|s/^                self.host.to_shard(home.holder.shard, ToShard::MoverGone(home));//|--test crossings'
    'a room is announced to one who can relay at once|src/shard/frames.rs|s/connection.announcement_pending() || matches/matches/|--test protocol_rooms who_could_not'
    'the short way is open before a room is announced|src/shard/frames.rs|s/^        if connection.announcement_pending() {$/        if false {/|--test protocol_rooms who_could_not'
    'the short way has any rate|src/shard/frames.rs|s/if self.setup.limits.max_messages_per_second.is_some() {/if false {/|--test limits_messages over_the_message_rate'
    'the short way leads to any room|src/wire/message/client.rs|s/if name == room() => rest/if name == room() || name[0] > 0 => rest/|--lib the_short_way'
    'messages have any rate|src/shard/frames.rs|s/Pace::Allowed => return true,/_ if true => return true, Pace::Allowed => return true,/|--test limits_messages over_the_message_rate'
    'a closing connection may take for ever|src/shard/sweep.rs|s/>= as_ms(limits.close_timeout)/== u32::MAX/|--test limits_times a_client_that_does_not_end'
    'a head may take for ever|src/shard/sweep.rs|s/>= as_ms(limits.handshake_timeout)/== u32::MAX/|--test limits_times a_head_that_takes'
    'silence may last for ever|src/shard/sweep.rs|s/silent_ms >= as_ms(limits.silence_limit)/false/|--test faults a_hundred_thousand'
    'what comes after a Close frame has no bound|src/shard/input.rs|s/if lingering.bytes_left == 0/if false/|--test protocol_frames beyond_a_mebibyte'
    'pages of every site come in|src/shard/input.rs|s/if !self.setup.doors.admit_page(request.origin)/if false/|--test limits_origin pages_of_other'
    'of two origins either will do|src/config/mod.rs|s/Single::Several => false,/Single::Several => true,/|--test limits_origin pages_of_other'
    'connections have no number|src/shard/admission.rs|s/(before >= self.most).then_some/false.then_some/|--test limits_connections past_max_connections'
    'the surplus has no end|src/shard/admission.rs|s/if before >= self.most + SURPLUS_CONNECTIONS/if false/|--lib surplus_connections'
    'one address has any number of connections|src/shard/admission.rs|s/Standing::of(\*count + 1, most)/Standing::Within/|--test limits_connections past_the_limit_of_its_address'
    'one address comes as often as it likes|src/shard/admission.rs|s/Standing::of(part.count_new(address, now), most)/Standing::Within/|--test limits_connections past_its_rate'
    'all addresses that come are kept|src/shard/admission.rs|s/self.new.len() >= ADDRESSES_WATCHED .*contains_key(&address)/false/|--lib what_is_kept'
    'the place of one who left is not given back|src/shard/admission.rs|s/^            by_address.leave(address);//|--test limits_connections past_the_limit_of_its_address'
    'each address of a prefix is another|src/shard/admission.rs|s/ \& !u128::from(u64::MAX)//|--test proxy_protocol a_trusted_proxy_names'
    'every address is a trusted proxy|src/shard/proxied.rs|s/self.setup.doors.trusted_proxies.contain(address)/true/|--test proxy_protocol from_anybody_else'
    'a client that a header names is believed too|src/shard/proxied.rs|s/if client.is_some() { Via::Direct }/if false { Via::Direct }/|--test proxy_protocol the_last_address'
    'who comes through two proxies counts for one of them|src/shard/proxied.rs|s/let client = client.filter(.*);//|--test proxy_protocol the_rate_of_newcomers'
    'the first address that is forwarded counts|src/wire/proxy/forwarded.rs|s/other => client = other,/other => client = client.or(other),/|--lib forwarded'
    'a PROXY header has any length|src/wire/proxy/header.rs|s/if length > most_bytes/if false/|--test proxy_protocol a_malformed_endless'
    'figures are public beside --admin-listen|src/shard/input.rs|s/Ok(Ask::Stats | Ask::Metrics) if apart \&\& !admin/Ok(Ask::Stats | Ask::Metrics) if false/|--test admin_listen figures'
    'connections for administration have no number|src/shard/core.rs|s/self.admin_connections >= limits::ADMIN_CONNECTIONS/false/|--test admin_listen connections_there'
    'a panic is told as it is|src/logging.rs|s/{place}: {reason:?}/{place}: {reason}/|--lib a_panic_is_one_line'
    'who logs waits for who reads|src/logging.rs|s/self.sender.try_send(Entry::Line(line))/self.sender.send(Entry::Line(line))/|--lib who_logs_does_not_wait'
    'a reason is told each time|src/telemetry/notices.rs|s/told.next.is_none_or(|next| next <= now)/true/|--lib each_reason'
    'a thread that ended is not missed|src/server.rs|s/self.threads.iter().find(|thread| thread.is_finished())/self.threads.iter().find(|_| false)/|--lib a_thread_that_panics'
    'an echo is there unasked|src/shard/input.rs|s/Ok(Ask::Echo(key)) if self.setup.echo/Ok(Ask::Echo(key)) if true/|--test echo there_is_no_echo'
    'an echo is read though it does not read|src/shard/input.rs|s/Role::Http(_) | Role::Echo)$/Role::Http(_))/|--test echo one_that_does_not_read'
    'an echo has any size|src/shard/echo.rs|s/max_message_bytes: ECHO_MESSAGE_BYTES/max_message_bytes: usize::MAX/|--test echo the_largest_message'
    'text is checked when its message is complete|src/wire/assembly/held.rs|s/if self.kind == Some(Kind::Text) {/if self.kind == Some(Kind::Text) \&\& complete \&\& last {/|--test echo broken_text'
    'what is held grows by doubling|src/wire/assembly/held.rs|s/self.message.reserve_exact(capacity - self.message.len())/self.message.reserve(capacity - self.message.len())/|--lib held_memory_follows'
    'a Close frame has any code|src/wire/assembly/held.rs|s/if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)/if false/|--test echo a_close_comes_back'
    'reserved bits mean nothing|src/wire/frame.rs|s/if first \& RESERVED_BITS != 0/if false/|--test protocol_frames a_frame_that_breaks'
    'frames need no mask|src/wire/frame.rs|s/if masked != (sender == Side::Client)/if false/|--test protocol_frames a_frame_that_breaks'
    'control frames have any length|src/wire/frame.rs|s/if control \&\& short as usize > CONTROL_PAYLOAD_BYTES/if false/|--test protocol_frames a_frame_that_breaks'
    'control frames come in fragments|src/wire/frame.rs|s/if control \&\& !fin/if false/|--test protocol_frames a_frame_that_breaks'
    'a head has any length|src/wire/http/scan.rs|s/if buf.len() >= max_head_bytes/if false/|--lib an_endless_head'
    'a head has any number of fields|src/wire/http/request.rs|s/; HEAD_FIELDS\]/; HEAD_FIELDS * 10]/|--test limits_messages more_than_100_fields'
    'lines end as they like|src/wire/http/scan.rs|s/if window\[at - 1\] != b.\\r./if false/|--lib wire::http'
    'a body is a request|src/wire/http/request.rs|s/(None, Single::One(length)) => {/(None, Single::One(length)) => { return Ok(());/|--test http_answers a_request_with_a_body'
    'a second Content-Length does not count|src/wire/http/request.rs|s/(None, Single::Several) => bad(.*),/(None, Single::Several) => Ok(()),/|--test http_answers what_two_readers'
    'a second Host does not count|src/wire/http/request.rs|s/Single::Several => Err(HttpError::BadRequest("several Host fields")),/Single::Several => Ok(()),/|--lib a_host_is_named_once'
    'a Host is any characters|src/wire/http/request.rs|s/Single::One(host) if is_host(host)/Single::One(_) if true/|--lib a_host_is_named_once'
    'a key is any characters|src/wire/http/upgrade.rs|s/(padding == b"==" \&\& digits.iter().all(is_digit)).then_some/(true || digits.iter().all(is_digit)).then_some/|--lib a_key_is_sixteen'
    'any room is the present one|src/shard/frames.rs|s/\*\*name == \*named.as_bytes()/\*\*name == \*named.as_bytes() || true/|--test protocol_messages a_room_id_other'
    'JSON nests at any depth|src/wire/message/client.rs|s/depth > JSON_DEPTH/false/|--test protocol_messages json_may_nest'
    'binary is not refused|src/shard/frames.rs|s/^                    self.refuse(slot, ErrorCode::BadMessage);//|--test protocol_messages a_binary'
    'a read ends at the mark of urgent data|src/shard/driver.rs|s/ended || event.is_priority()/ended/|--test protocol_frames urgent_data'
    'a pairing is believed though a ticket is gone|src/shard/rooms.rs|s/if self.drain.is_some() || !self.is_live(\&mover)/if self.drain.is_some()/|--test crossings'
    'a session has many letters under way|src/session.rs|s/(_, Standing::UnderWay) => return None,/(None, Standing::UnderWay) => return None, (Some(_), Standing::UnderWay) => None,/|--lib session'
    'rooms outlive the deadline|src/shard/sweep.rs|s/if has_room { drain.deadline_ms }/if has_room { drain.deadline_ms.wrapping_add(1 << 30) }/|--test shutdown sigterm_drains'
    'answers are collected for who asked nothing|src/shard/input.rs|s/Role::Http(_) => self.consume_requests(slot, bytes),/Role::Http(_) => { self.current = Some(slot); self.consume_requests(slot, bytes) }/|--test simulation the_guarantees'
    'a Close frame has no room of its own|src/shard/output.rs|s/self.current == Some(slot) \&\& !self.has_room_for(slot, bytes.len())/false/|--test limits_messages a_close_behind'
    'a move that was refused is tried at once|src/shard/rooms.rs|s/self.resting.push(pairing);/self.hand_in_again(\&pairing.home);/|--test crossings a_lasting_shortage'
    'who was refused meets nobody else|src/shard/rooms.rs|s/session.avoid(Parted { from: mover.session, until });//|--test crossings need_no_descriptor'
    'one that reads slowly is silent|src/shard/output.rs|s/if waited \&\& count > 0/if false/|--test echo reads_slowly'
    'what is unsent is closed at once|src/shard/output.rs|s/matches!(connection.role, Role::Lingering(_)) \&\& !connection.has_unsent()/matches!(connection.role, Role::Lingering(_))/|--test http_connections the_last_answer_arrives'
    'what grows side by side leaves holes|src/wire/assembly/held.rs|s/needed <= SHARED_PAGES_BYTES/true/|--test echo messages_that_grow'
    'an echo has any number of fragments|src/shard/echo.rs|s/max_fragments: ECHO_FRAGMENTS/max_fragments: u32::MAX/|--test echo the_largest'
)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutants
mkdir "$scratch/at"
tar -c --exclude=node_modules --exclude=tests/fuzz Cargo.toml Cargo.lock src benches tests tuning \
    README.md .clippy.toml .rustfmt.toml | tar -x -C "$scratch/at"

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
[ "$tried" -gt 0 ] && [ "${#survivors[@]}" = 0 ]
