//! The measured operations.

use crate::Operation;
use crate::common::{KEY, REQUEST};
use crate::match_harness::MatchHarness;
use crate::shard_harness::ShardHarness;
use std::hint::black_box;
use switchboard::commands::{RecentPartners, Ticket};
use switchboard::ids::{
    ConnectionKey, QueueKey, SessionAddress, SessionNo, ShardId, TicketNo, TokenMint,
};
use switchboard::matchmaking::queue::MatchQueue;
use switchboard::timestamp::Timestamp;
use switchboard::wire::egress::{Egress, EgressContent};
use switchboard::wire::http::{self, HeadScan};
use switchboard::wire::message::RelayKind;
use switchboard::wire::message::client::{parse_client_message, write_relay};
use switchboard::wire::websocket::assembly::{MessageReader, ReceiveLimits};
use switchboard::wire::websocket::frame::{Side, TEXT, parse_header, push_client_frame, unmask};

const ROOM: &str = "Q6UBtzG5vQbPuFoiYRrQ4w";

/// An ICE candidate as a browser sends it, 200 bytes in total.
pub(crate) fn candidate(room: &str) -> Vec<u8> {
    let mut message = Vec::new();
    let payload = r#"{"candidate":"candidate:1 1 udp 2113937151 10.0.0.1 54321 typ host generation 0","sdpMid":"0","sdpMLineIndex":0}"#;
    write_relay(&mut message, RelayKind::IceCandidate, room, payload.as_bytes());
    message.resize(199, b' ');
    let brace = message.iter().rposition(|byte| *byte == b'}').expect("the end of the object");
    message[brace] = b' ';
    message.push(b'}');
    message
}

/// An offer of about 2 kB.
fn offer() -> Vec<u8> {
    let sdp = "a=rtpmap:111 opus/48000/2\\r\\n".repeat(70);
    let payload = format!(r#"{{"type":"offer","sdp":"v=0\r\n{sdp}"}}"#);
    let mut message = Vec::new();
    write_relay(&mut message, RelayKind::Offer, ROOM, payload.as_bytes());
    message
}

pub(crate) fn operation(
    name: &'static str,
    per_call: u32,
    run: impl FnMut() + 'static,
) -> Operation {
    Operation { name, per_call, run: Box::new(run) }
}

/// All operations, in the order of the baseline.
pub(crate) fn all() -> Vec<Operation> {
    let mut operations = wire();
    operations.extend(crate::tls_operations::all());
    operations.extend(matching());
    for (name, depth) in [("core-relay-1", 1), ("core-relay-16", 16)] {
        let mut harness = ShardHarness::with_a_room();
        let read = harness.read_of(depth);
        operations.push(operation(name, depth as u32, move || harness.relay(&read)));
    }
    let mut harness = ShardHarness::with_a_room();
    let read = harness.read_unnamed();
    operations.push(operation("core-unnamed-1", 1, move || harness.relay(&read)));
    let mut harness = ShardHarness::with_a_room();
    operations.push(operation("core-open-and-close", 1, move || harness.open_and_close(REQUEST)));
    let mut harness = MatchHarness::new();
    let users = harness.open_pair();
    operations.push(operation("core-match", 1, move || harness.match_again(users)));
    let mut harness = MatchHarness::new();
    operations.push(operation("core-match-across", 1, move || harness.match_across_shards()));
    operations
}

fn wire() -> Vec<Operation> {
    let message = candidate(ROOM);
    let mut frame = Vec::new();
    push_client_frame(&mut frame, TEXT, &message, KEY);
    let frames = frame.repeat(16);
    let mut scratch = frames.clone();
    let rules =
        ReceiveLimits { sender: Side::Client, max_message_bytes: 65_536, max_fragments: 1024 };
    let (header, payload, offer) = (frame.clone(), message.clone(), offer());
    let mut masked = message.clone();
    let mint = TokenMint::new([7; 16]);
    let mut egress = Egress::default();
    vec![
        operation("header", 1, move || {
            let _ = black_box(parse_header(black_box(&header), Side::Client));
        }),
        operation("unmask-200", 1, move || {
            black_box(unmask(black_box(&mut masked), KEY, 0));
        }),
        operation("utf8-200", 1, {
            let message = message.clone();
            move || {
                black_box(simdutf8::basic::from_utf8(black_box(&message)).is_ok());
            }
        }),
        operation("parse_client_message-candidate", 1, move || {
            let _ = black_box(parse_client_message(black_box(&payload)));
        }),
        operation("parse_client_message-offer", 1, move || {
            let _ = black_box(parse_client_message(black_box(&offer)));
        }),
        operation("reader-16", 16, move || {
            scratch.copy_from_slice(&frames);
            let mut reader = MessageReader::new(&mut scratch, None, &rules);
            while let Ok(Some(item)) = reader.next() {
                black_box(item);
            }
        }),
        operation("egress", 1, move || {
            let _ = egress.push(black_box(&frame), 7, EgressContent::Frames, 65_536);
            egress.mark_sent(egress.unsent_len());
        }),
        operation("token", 1, move || {
            black_box(mint.session(black_box(SessionNo(5))));
        }),
        operation("http-upgrade-head", 1, || {
            let mut scan = HeadScan::default();
            let _ = black_box(http::parse_request(black_box(REQUEST), &mut scan, 16_384));
        }),
    ]
}

/// What the matcher does for a match and for a cancelled ticket, in a thousand queues in rotation.
/// `cargo bench --bench queue` has the workloads that could be slow.
fn matching() -> Vec<Operation> {
    let (mut meeting, mut first) = (MatchQueue::new(), 0);
    let (mut leaving, mut alone) = (MatchQueue::new(), 0);
    vec![
        operation("queue-match", 2, move || {
            first += 2;
            for session in [first, first + 1] {
                meeting.enter(black_box(ticket(session)), None, Timestamp::ZERO, |one, other| {
                    black_box((one.holder, other.holder));
                });
            }
        }),
        operation("queue-cancel", 1, move || {
            alone += 2;
            let Ticket { holder, number, .. } = ticket(alone);
            let handle = leaving.enter(black_box(ticket(alone)), None, Timestamp::ZERO, |_, _| ());
            black_box(handle.is_some_and(|handle| leaving.leave(holder, handle, number)));
        }),
    ]
}

/// The tickets of sessions 2n and 2n + 1 are in the same queue.
fn ticket(session: u64) -> Ticket {
    /// Spreads small numbers over all bits, as the hash of a queue name does.
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let key = ConnectionKey::from_word(session << 32 | session & 0xffff);
    Ticket {
        holder: SessionAddress { shard: ShardId(session as u16 & 1), key },
        number: TicketNo(session as u32),
        session: SessionNo(session),
        queue: QueueKey(u128::from(session / 2 % 1_000 + 1).wrapping_mul(SPREAD)),
        since: Timestamp::ZERO,
        recent_partners: RecentPartners::default(),
        apart_ms: 800,
    }
}
