//! Tests of [`super`]: the boundaries of reads do not matter, and each violation has its error.

mod observed;

use super::*;
use crate::limits::MAPPED_ALLOCATION_BYTES;
use crate::wire::websocket::frame::{BINARY, CLOSE, PING, TEXT, push_client_frame};
use observed::{ObservedItem, observe};
use proptest::prelude::*;

const LIMITS: ReceiveLimits =
    ReceiveLimits { sender: Side::Client, max_message_bytes: 1000, max_fragments: 8 };

/// Feeds `pieces` one after the other, as reads would, with and without the fast path.
fn read_pieces<'p>(
    pieces: impl IntoIterator<Item = &'p [u8]> + Clone,
    limits: &ReceiveLimits,
) -> Vec<ObservedItem> {
    let items = observe(pieces.clone(), limits, false);
    assert_eq!(observe(pieces, limits, true), items, "with the fast path");
    items
}

fn read_at_once(bytes: &[u8]) -> Vec<ObservedItem> {
    read_pieces([bytes], &LIMITS)
}

fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_client_frame(&mut out, OpCode::from(opcode), payload, [9, 8, 7, 6]);
    if !fin {
        out[0] &= 0x7f;
    }
    out
}

#[test]
fn assembles_fragments_with_control_frames_between_them() {
    let bytes = [
        frame(false, 1, b"he"),
        frame(true, 9, b"ping"),
        frame(false, 0, b""),
        frame(true, 0, b"llo"),
        frame(true, 2, &[0xff]),
    ]
    .concat();
    let expected = [
        ObservedItem::Ping(b"ping".to_vec()),
        ObservedItem::Text(b"hello".to_vec()),
        ObservedItem::Binary(vec![0xff]),
    ];
    assert_eq!(read_at_once(&bytes), expected);
    assert_eq!(read_pieces(bytes.chunks(1), &LIMITS), expected);
}

#[test]
fn keeps_no_state_after_a_message_is_complete() {
    let mut buf = [frame(false, 1, b"a"), frame(true, 0, b"b")].concat();
    let mut reader = MessageReader::new(&mut buf, None, &LIMITS);
    assert!(matches!(
        reader.next(),
        Ok(Some(IncomingItem::Text(PayloadLocation::Assembled { stale: false })))
    ));
    assert_eq!(reader.next(), Ok(None));
    assert!(reader.finish().is_none());
}

#[test]
fn a_message_begun_before_mark_stale_is_stale_and_the_next_one_is_not() {
    let mut first = frame(true, 1, b"old");
    let mut rest = first.split_off(7);
    let mut reader = MessageReader::new(&mut first, None, &LIMITS);
    assert_eq!(reader.next(), Ok(None));
    let mut partial = reader.finish().unwrap();
    partial.mark_stale();
    rest.extend(frame(false, 1, b"n"));
    rest.extend(frame(true, 0, b"ew"));
    let mut reader = MessageReader::new(&mut rest, Some(partial), &LIMITS);
    assert_eq!(
        reader.next(),
        Ok(Some(IncomingItem::Text(PayloadLocation::Assembled { stale: true })))
    );
    assert_eq!(
        reader.next(),
        Ok(Some(IncomingItem::Text(PayloadLocation::Assembled { stale: false })))
    );
}

#[test]
fn a_control_frame_split_by_mark_stale_makes_no_message_stale() {
    let mut first = frame(true, 10, b"pong");
    let mut rest = first.split_off(1);
    let mut reader = MessageReader::new(&mut first, None, &LIMITS);
    assert_eq!(reader.next(), Ok(None));
    let mut partial = reader.finish().unwrap();
    partial.mark_stale();
    // The read that completes the pong also begins a message.
    rest.extend(frame(true, 1, b"new"));
    let mut last = rest.split_off(rest.len() - 2);
    let mut reader = MessageReader::new(&mut rest, Some(partial), &LIMITS);
    assert!(matches!(reader.next(), Ok(Some(IncomingItem::Pong(_)))));
    assert_eq!(reader.next(), Ok(None));
    let partial = reader.finish();
    let mut reader = MessageReader::new(&mut last, partial, &LIMITS);
    assert_eq!(
        reader.next(),
        Ok(Some(IncomingItem::Text(PayloadLocation::Assembled { stale: false })))
    );
}

#[test]
fn reports_a_specific_error_for_each_violation() {
    let error_of = |frames: &[Vec<u8>]| match read_at_once(&frames.concat()).pop() {
        Some(ObservedItem::Error(error)) => error,
        other => panic!("no error but {other:?}"),
    };
    assert_eq!(error_of(&[frame(true, 0, b"x")]), MessageError::Sequence);
    assert_eq!(error_of(&[frame(false, 1, b"x"), frame(true, 1, b"y")]), MessageError::Sequence);
    assert_eq!(error_of(&[frame(true, 1, &[0xc3])]), MessageError::NotUtf8);
    assert_eq!(error_of(&[frame(false, 1, &[0xc3]), frame(true, 0, b"x")]), MessageError::NotUtf8);
    assert_eq!(error_of(&[frame(true, 1, &[b'x'; 1001])]), MessageError::TooLarge);
    assert_eq!(
        error_of(&[frame(false, 1, &[b'x'; 600]), frame(true, 0, &[b'x'; 401])]),
        MessageError::TooLarge
    );
    assert_eq!(
        error_of(&[frame(false, 1, b""), frame(false, 0, b"").repeat(8)]),
        MessageError::TooManyFragments
    );
    assert_eq!(error_of(&[frame(true, 8, &[3])]), MessageError::BadClose);
    assert_eq!(error_of(&[frame(true, 8, &1005u16.to_be_bytes())]), MessageError::BadClose);
    assert_eq!(error_of(&[frame(true, 8, &[3, 0xe8, 0xff])]), MessageError::NotUtf8);
}

#[test]
fn accepts_messages_exactly_at_the_limits() {
    assert_eq!(
        read_at_once(&frame(true, 1, &[b'x'; 1000])),
        [ObservedItem::Text(vec![b'x'; 1000])]
    );
    let eight = [frame(false, 1, b"x"), frame(false, 0, b"").repeat(6), frame(true, 0, b"y")];
    assert_eq!(read_at_once(&eight.concat()), [ObservedItem::Text(b"xy".to_vec())]);
}

#[test]
fn refuses_an_oversized_message_when_its_header_arrives() {
    let bytes = frame(true, 1, &[b'x'; 1001]);
    assert_eq!(read_at_once(&bytes[..8]), [ObservedItem::Error(MessageError::TooLarge)]);
}

#[test]
fn refuses_invalid_utf8_in_the_middle_of_a_frame() {
    let bytes = frame(true, 1, &[b'a', 0xf4, 0x90, 0x80, 0x80, b'b']);
    // A header of six bytes, then `a`, 0xf4 and 0x90: no character begins with these two bytes.
    assert_eq!(
        read_pieces(bytes[..9].chunks(1), &LIMITS),
        [ObservedItem::Error(MessageError::NotUtf8)]
    );
    assert_eq!(read_pieces(bytes[..8].chunks(1), &LIMITS), []);
}

#[test]
fn memory_of_a_partial_message_follows_the_bytes_received() {
    let limits = ReceiveLimits { max_message_bytes: 1 << 20, max_fragments: 100_000, ..LIMITS };
    let mut partial = None;
    let mut first = true;
    for len in 1..=16_000 {
        let mut buf = frame(false, if first { 2 } else { 0 }, &[1]);
        first = false;
        let mut reader = MessageReader::new(&mut buf, partial, &limits);
        assert_eq!(reader.next(), Ok(None));
        partial = reader.finish();
        let (size, least) =
            (partial.as_ref().unwrap().memory_bytes(), MAPPED_ALLOCATION_BYTES as usize);
        assert!(size as f64 <= 1.2 * f64::from(len) || size <= least + 512, "{size} for {len}");
    }
    // A header that announces a large message costs almost nothing.
    let mut buf = frame(true, 2, &[0; 1 << 20])[..20].to_vec();
    let mut reader = MessageReader::new(&mut buf, None, &limits);
    assert_eq!(reader.next(), Ok(None));
    assert!(reader.finish().unwrap().memory_bytes() < 1024);
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[a-zä€😀]{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(Just(b'x'), 100..300),
    ];
    (any::<bool>(), prop::sample::select(vec![0u8, 1, 1, 2, 8, 9, 10]), payload)
        .prop_map(|(fin, opcode, payload)| frame(fin, opcode, &payload))
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_items(
        frames in prop::collection::vec(any_frame(), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = frames.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(read_pieces(pieces, &LIMITS), read_at_once(&bytes));
        prop_assert_eq!(read_pieces(bytes.chunks(1), &LIMITS), read_at_once(&bytes));
    }

    #[test]
    fn returns_the_messages_of_a_valid_stream_unchanged(
        messages in prop::collection::vec(("[a-z€]{0,200}", 1usize..6), 0..6),
    ) {
        let mut bytes = Vec::new();
        for (text, parts) in &messages {
            let text = text.as_bytes();
            let size = text.len().div_ceil(*parts).max(1);
            let mut pieces: Vec<&[u8]> = text.chunks(size).collect();
            if pieces.is_empty() {
                pieces.push(b"");
            }
            let last = pieces.len() - 1;
            for (i, piece) in pieces.iter().enumerate() {
                bytes.extend(frame(i == last, if i == 0 { 1 } else { 0 }, piece));
            }
        }
        let expected: Vec<ObservedItem> =
            messages.iter().map(|(text, _)| ObservedItem::Text(text.clone().into_bytes())).collect();
        prop_assert_eq!(read_at_once(&bytes), expected);
    }

    #[test]
    fn arbitrary_bytes_give_items_and_at_most_one_error(bytes: Vec<u8>) {
        let items = read_at_once(&bytes);
        prop_assert_eq!(read_pieces(bytes.chunks(1), &LIMITS), items);
    }
}

#[test]
fn opcodes_have_the_numbers_of_the_rfc() {
    let numbers: Vec<u8> = [TEXT, BINARY, CLOSE, PING].into_iter().map(u8::from).collect();
    assert_eq!(numbers, [1, 2, 8, 9]);
}
