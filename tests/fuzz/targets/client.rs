//! The client side of the protocol, which the load tester and the simulation use: responses and
//! frames split at any byte, and a virtual user that receives what a broken server may send.
#![no_main]

#[path = "bytes.rs"]
mod bytes;

use bytes::{Choices, piece_lengths, split};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::time::Duration;
use switchboard::load::measure::Recorder;
use switchboard::load::message_header::{MessageDecoder, MessageEncoder, MessageHeader, id_hash};
use switchboard::load::user::{
    CallPlan, User, UserContext, UserHabits, UserRules, UserScript, WeightedQueue,
};
use switchboard::timestamp::Timestamp;
use switchboard::wire::http::{HeadScan, WebSocketKey, parse_response};
use switchboard::wire::message::RelayKind;
use switchboard::wire::websocket::assembly::{self, MessageReader};
use switchboard::wire::websocket::frame::{Side, parse_header, unmask};

fn check_response(choices: &mut Choices<'_>) {
    let lengths = piece_lengths(choices);
    let bytes = choices.0;
    let whole = parse_response(bytes, &mut HeadScan::default(), 2048);
    let (mut scan, mut arrived) = (HeadScan::default(), 0);
    for piece in split(bytes, lengths) {
        arrived += piece.len();
        match (parse_response(&bytes[..arrived], &mut scan, 2048), &whole) {
            (Ok(None), _) if arrived < bytes.len() => continue,
            (Err(_), Err(_)) => {}
            (split, whole) => assert_eq!(split, *whole),
        }
        break;
    }
    if let Ok(Some((head, length))) = whole {
        assert!(length <= bytes.len());
        let _verdict = head.check_upgrade(WebSocketKey::from_nonce([7; 16]).accept());
    }
}

fn check_frames(choices: &mut Choices<'_>) {
    let limits =
        assembly::ReceiveLimits { sender: Side::Server, max_message_bytes: 1000, max_fragments: 8 };
    let lengths = piece_lengths(choices);
    let items = |reads: &mut dyn Iterator<Item = &[u8]>| {
        let (mut partial, mut items) = (None, Vec::new());
        for read in reads {
            let mut buffer = read.to_vec();
            let mut reader = MessageReader::new(&mut buffer, partial, &limits);
            loop {
                let next = reader.next();
                match &next {
                    Ok(None) => break,
                    Ok(Some(item)) => items.push(match item {
                        assembly::IncomingItem::Text(location)
                        | assembly::IncomingItem::Binary(location)
                        | assembly::IncomingItem::Ping(location)
                        | assembly::IncomingItem::Pong(location) => reader.bytes(location).to_vec(),
                        assembly::IncomingItem::Close(code) => format!("{code:?}").into_bytes(),
                    }),
                    Err(error) => {
                        items.push(format!("{error:?}").into_bytes());
                        return items;
                    }
                }
            }
            partial = reader.finish();
        }
        items
    };
    let bytes = choices.0;
    assert_eq!(items(&mut [bytes].into_iter()), items(&mut split(bytes, lengths)));
}

struct ClientParts {
    recorder: Recorder,
    encoder: MessageEncoder,
    decoder: MessageDecoder,
}

thread_local! {
    static PARTS: RefCell<ClientParts> = RefCell::new(ClientParts {
        recorder: Recorder::default(),
        encoder: MessageEncoder::new(40, 1),
        decoder: MessageDecoder::default(),
    });
}

fn script(choices: &mut Choices<'_>) -> UserScript {
    let span = |byte: u8| Duration::from_millis(u64::from(byte) * 10);
    match choices.byte() % 3 {
        0 => UserScript::Hold { ping_every: span(choices.byte() | 1) },
        1 => UserScript::Rounds {
            first: Timestamp::ZERO + span(choices.byte()),
            every: span(choices.byte() | 1),
            rounds: u32::from(choices.byte() % 8),
        },
        _ => {
            let talk = span(choices.byte());
            let gap = choices.byte();
            UserScript::Calls(CallPlan {
                candidates: u32::from(choices.byte() % 5),
                gap: (gap > 50).then_some(span(gap)),
                steady_from: Timestamp::ZERO + span(choices.byte()),
                talk_min: talk,
                talk_max: talk + span(choices.byte()),
                next_share: f64::from(choices.byte()) / 255.0,
            })
        }
    }
}

/// A relayed message of a partner in some room.
fn relayed_message(choices: &mut Choices<'_>, encoder: &mut MessageEncoder) -> Vec<u8> {
    const NAMES: [&str; 4] = ["a", "b", "r1", "r2"];
    let kind = RelayKind::ALL[usize::from(choices.byte() % 4)];
    let flags = choices.byte();
    let room = choices.pick(&NAMES);
    let message = MessageHeader {
        room: id_hash(room),
        sender: id_hash(choices.pick(&NAMES)),
        intended: Timestamp::from_nanos(choices.number() as u64 * 1_000_000),
        sent: Timestamp::from_nanos(choices.number() as u64 * 1_000_000),
        sequence: choices.pick(&[0, 1, 2, 3, 4, 5, 63, 64, 65, 200, 70_000, u32::MAX]),
        last: flags & 1 != 0,
        gaps_expected: flags & 2 != 0,
    };
    let mut frame = Vec::new();
    encoder.encode_relay(&mut frame, kind, room, &message);
    let header = parse_header(&frame, Side::Client)
        .expect("the frame must be valid")
        .expect("the frame must be complete");
    let mut text = frame.split_off(header.header_len);
    unmask(&mut text, header.mask.expect("a client masks its frames"), 0);
    if flags & 4 != 0 {
        let at = choices.number() % text.len();
        text[at] ^= flags;
    }
    text
}

fn server_message(choices: &mut Choices<'_>, encoder: &mut MessageEncoder) -> Vec<u8> {
    const TEXTS: [&str; 12] = [
        r#"{"type":"session","payload":{"session_id":"a","ice_servers":[],"resumed":false}}"#,
        r#"{"type":"waiting","payload":{"queue":"q"}}"#,
        r#"{"type":"match_found","payload":{"room_id":"r1","peer_id":"b","initiator":true}}"#,
        r#"{"type":"match_found","payload":{"room_id":"r2","peer_id":"b","initiator":false}}"#,
        r#"{"type":"room_left","payload":{"room_id":"r1"}}"#,
        r#"{"type":"peer_left","payload":{"room_id":"r1","reason":"left"}}"#,
        r#"{"type":"peer_left","payload":{"room_id":"r2","reason":"disconnected"}}"#,
        r#"{"type":"pong"}"#,
        r#"{"type":"match_cancelled"}"#,
        r#"{"type":"error","payload":{"code":"rate_limited","message":"x"}}"#,
        r#"{"type":"error","payload":{"code":"not_in_room","message":"x"}}"#,
        r#"{"type":"draining","payload":{"deadline_ms":1}}"#,
    ];
    match choices.byte() % 4 {
        0 | 1 => choices.pick(&TEXTS).into(),
        2 => relayed_message(choices, encoder),
        _ => {
            let length = usize::from(choices.byte());
            String::from_utf8_lossy(choices.take(length)).into_owned().into_bytes()
        }
    }
}

fn habits(choices: &mut Choices<'_>) -> UserHabits {
    let mut share = || f64::from(choices.byte() % 5) / 4.0;
    UserHabits {
        cancel_share: share(),
        reset_share: share(),
        silent_share: share(),
        return_share: share(),
        return_after: Duration::from_millis(20),
        patience: (choices.byte() % 2 == 0).then_some(Duration::from_millis(300)),
    }
}

fn run_user(choices: &mut Choices<'_>) {
    let rules = UserRules {
        script: script(choices),
        sample_script: (choices.byte() % 2 == 0).then(|| script(choices)),
        habits: habits(choices),
        queues: vec![WeightedQueue { name: "q".to_owned(), up_to: 1.0 }],
        match_timeout: Duration::from_millis(500),
        message_timeout: Duration::from_millis(200),
        late_after: Duration::from_millis(10),
        measure_from: Timestamp::ZERO + Duration::from_millis(50),
    };
    PARTS.with_borrow_mut(|ClientParts { recorder, encoder, decoder }| {
        let mut user = User::new(1, u64::from(choices.byte()), choices.byte() % 2 == 0, 0);
        let (mut now, mut out, mut events) = (Timestamp::ZERO, Vec::new(), Vec::new());
        while !choices.is_empty() {
            let what = choices.byte();
            let text = (what % 8 < 5).then(|| server_message(choices, encoder));
            let context = &mut UserContext {
                now,
                catching_up: what & 64 != 0,
                rules: &rules,
                out: &mut out,
                recorder,
                encoder,
                decoder,
                events: &mut events,
            };
            match (text, what % 8) {
                (Some(text), _) => user.on_text(&text, context),
                (None, 5 | 6) => {
                    now = now + Duration::from_millis(u64::from(what) * 4);
                    context.now = now;
                    user.wake(context);
                }
                (None, _) if what < 32 => user.finish(context),
                (None, _) => {
                    if what < 48 && user.on_disconnect(what % 2 == 0, context) {
                        return;
                    }
                }
            }
            let _gives_up = user.close_has_timed_out(now);
            check_sent(&mut out);
            events.clear();
        }
    });
}

/// Checks that a user sends complete client frames only.
fn check_sent(out: &mut Vec<u8>) {
    let mut rest = &out[..];
    while !rest.is_empty() {
        let header = parse_header(rest, Side::Client)
            .expect("the frame must be valid")
            .expect("the frame must be complete");
        rest = &rest[header.header_len + header.payload_len as usize..];
    }
    out.clear();
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    match choices.byte() % 4 {
        0 => check_response(&mut choices),
        1 => check_frames(&mut choices),
        _ => run_user(&mut choices),
    }
});
