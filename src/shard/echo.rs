//! `/echo`: every message comes back, from the same event loop and frame code. Pure.
//!
//! It is there so that conformance suites and latency tools can be pointed at the real thing.
//! Here a client that does not read is not closed as slow but not read from: bytes that were
//! read already wait with the connection until what went before them has been sent.

use super::core::Core;
use super::frames::{Burst, end_reason};
use super::host::Host;
use crate::ids::Slot;
use crate::limits::{ECHO_FRAGMENTS, ECHO_MESSAGE_BYTES};
use crate::telemetry::labels::EndReason;
use crate::wire::egress::EgressContent;
use crate::wire::websocket::assembly::{
    IncomingItem, MessageReader, PayloadLocation, ReceiveLimits,
};
use crate::wire::websocket::frame::{self, BINARY, PONG, Side, TEXT};

const RULES: ReceiveLimits = ReceiveLimits {
    sender: Side::Client,
    // guard: echo messages have a bounded size [value usize::MAX]
    max_message_bytes: ECHO_MESSAGE_BYTES,
    // guard: echo messages have a bounded number of fragments [value u32::MAX]
    max_fragments: ECHO_FRAGMENTS,
};

/// Why frames are not read any further.
enum Stop {
    Close(Option<u16>, EndReason),
    /// The client has to read first.
    Unsent,
}

impl<H: Host> Core<H> {
    /// Sends back the messages in `bytes`.
    pub(super) fn consume_echo(&mut self, slot: Slot, bytes: &mut [u8]) {
        // The answer to the handshake comes first.
        self.send_answers();
        let held = self.take_held(slot);
        let mut reader = MessageReader::new(bytes, held, &RULES);
        let mut burst = Burst::default();
        let stop = loop {
            if self.connections[slot.index()].has_unsent() {
                break Some(Stop::Unsent);
            }
            let (place, opcode) = match reader.next() {
                Ok(Some(IncomingItem::Text(place))) => (place, TEXT),
                Ok(Some(IncomingItem::Binary(place))) => (place, BINARY),
                Ok(Some(IncomingItem::Ping(place))) => (place, PONG),
                Ok(Some(IncomingItem::Pong(_))) => continue,
                Ok(Some(IncomingItem::Close(code))) => {
                    break Some(Stop::Close(code, EndReason::ClientClose));
                }
                Ok(None) => break None,
                Err(fault) => {
                    let code = fault.close_code().into();
                    break Some(Stop::Close(Some(code), end_reason(fault)));
                }
            };
            self.counters.messages_received.add(u64::from(opcode != PONG));
            match place {
                PayloadLocation::ReceiveBuffer(range) => {
                    burst.add(slot, reader.buffer(), range, opcode)
                }
                PayloadLocation::Assembled { .. } | PayloadLocation::AssembledControl(_) => {
                    self.send_echoes(slot, &mut reader, &mut burst);
                    let mut echo = Vec::new();
                    frame::push_server_frame(&mut echo, opcode, reader.bytes(&place));
                    self.transmit(slot, &echo, EgressContent::Opaque);
                }
            }
        };
        self.send_echoes(slot, &mut reader, &mut burst);
        if let Some(Stop::Close(code, reason)) = stop {
            return self.close_with(slot, code, reason);
        }
        let position = reader.position();
        let held = reader.finish();
        self.keep_held(slot, held);
        if position < bytes.len() {
            self.keep_backlog(slot, &bytes[position..]);
        }
    }

    /// Sends the frames that were gathered. What the kernel does not take is one read's worth
    /// at most, or one message, so it needs no bound of its own.
    fn send_echoes(&mut self, slot: Slot, reader: &mut MessageReader<'_>, burst: &mut Burst) {
        let range = burst.take();
        if !range.is_empty() {
            self.transmit(slot, &reader.buffer()[range], EgressContent::Opaque);
        }
    }
}
