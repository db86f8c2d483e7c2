//! `/echo`: every message is sent back, by the event loop and the frame code of the relay. Pure.
//!
//! Conformance suites and latency tools can be pointed at it. A client that does not read is not
//! closed as a slow consumer here: it is not read from, and input that has been read already is
//! stored until what came before it has been sent.

use super::core::Core;
use super::frames::end_reason;
use super::host::Host;
use super::relay_batch::RelayBatch;
use super::replies::Replies;
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

/// Why no more frames are read.
enum EchoStop {
    Close(Option<u16>, EndReason),
    /// The client has to read first.
    Unsent,
}

impl<H: Host> Core<H> {
    /// Sends the messages in `bytes` back: from the receive buffer, and not through `replies`,
    /// because that would copy them. For the order of what is sent there must be no replies.
    pub(super) fn handle_echo(&mut self, replies: &Replies, bytes: &mut [u8]) {
        debug_assert!(replies.is_empty(), "replies would be sent behind later echoes");
        let slot = replies.slot();
        let assembly = self.take_assembly(slot);
        let mut reader = MessageReader::new(bytes, assembly, &RULES);
        let mut batch = RelayBatch::default();
        let stop = loop {
            if self.table[slot].has_unsent() {
                break Some(EchoStop::Unsent);
            }
            let (place, opcode) = match reader.next() {
                Ok(Some(IncomingItem::Text(place))) => (place, TEXT),
                Ok(Some(IncomingItem::Binary(place))) => (place, BINARY),
                Ok(Some(IncomingItem::Ping(place))) => (place, PONG),
                Ok(Some(IncomingItem::Pong(_))) => continue,
                Ok(Some(IncomingItem::Close(code))) => {
                    break Some(EchoStop::Close(code, EndReason::ClientClose));
                }
                Ok(None) => break None,
                Err(fault) => {
                    let code = fault.close_code().into();
                    break Some(EchoStop::Close(Some(code), end_reason(fault)));
                }
            };
            self.counters.messages_received.add(u64::from(opcode != PONG));
            match place {
                PayloadLocation::ReceiveBuffer(range) => {
                    batch.add(slot, reader.buffer(), range, opcode)
                }
                PayloadLocation::Assembled { .. } | PayloadLocation::AssembledControl(_) => {
                    self.send_echoes(&mut reader, &mut batch);
                    let mut echo = Vec::new();
                    frame::push_server_frame(&mut echo, opcode, reader.bytes(&place));
                    self.transmit(slot, &echo, EgressContent::Opaque);
                }
            }
        };
        self.send_echoes(&mut reader, &mut batch);
        if let Some(EchoStop::Close(code, reason)) = stop {
            return self.close_with(slot, code, reason);
        }
        let position = reader.position();
        let assembly = reader.finish();
        self.store_assembly(slot, assembly);
        if position < bytes.len() {
            self.store_backlog(slot, &bytes[position..]);
        }
    }

    /// Sends the frames that were collected. What the kernel does not take is at most one read's
    /// worth, or one message, so it needs no limit of its own.
    fn send_echoes(&mut self, reader: &mut MessageReader<'_>, batch: &mut RelayBatch) {
        if let Some(batch) = batch.finish() {
            self.transmit(batch.to, &reader.buffer()[batch.range], EgressContent::Opaque);
        }
    }
}
