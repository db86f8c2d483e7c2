//! What arrives on a connection: readiness events, the upgrade's response, and frames.

use super::{TIMER, Worker};
use crate::limits::MESSAGE_FRAGMENTS;
use crate::load::engine::connection::{ConnectionStage, SocketRead, UserConnection};
use crate::load::engine::http_client::HttpLoadClient;
use crate::load::measure::{CountMetric, LoadFault, http_cause};
use crate::load::user::{NEVER, UserContext};
use crate::timestamp::Timestamp;
use crate::wire::http::{BodyLength, UpgradeError, parse_response};
use crate::wire::websocket::assembly::{IncomingItem, MessageReader, ReceiveLimits};
use crate::wire::websocket::frame::{PONG, Side, push_client_frame};
use mio::Token;

/// Limit of reads from one connection in one iteration; the rest is read in the next iteration.
const READS_PER_ITERATION: u32 = 16;
/// Longest response head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How much of the text of a refusal is waited for.
const MAX_REFUSAL_BYTES: u64 = 1024;

/// Limits of what the server sends. A message over the limit is a fault.
const FRAMES: ReceiveLimits = ReceiveLimits {
    sender: Side::Server,
    max_message_bytes: 1024 * 1024,
    max_fragments: MESSAGE_FRAGMENTS,
};

impl Worker {
    pub(super) fn on_event(&mut self, event: &mio::event::Event, now: Timestamp) {
        let Token(slot) = event.token();
        if event.token() == TIMER {
            self.timer_at = NEVER;
            return;
        }
        if slot >= HttpLoadClient::FIRST_TOKEN {
            return self.on_http_event(slot, event, now);
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if event.is_writable() && !connection.writable || !connection.egress.is_empty() {
            match connection.flush() {
                Ok(sent) => self.recorder.add(CountMetric::BytesOut, sent),
                Err(fault) => return self.disconnect(slot, fault, now),
            }
        }
        let stream_ends = event.is_read_closed() || event.is_error();
        if event.is_readable() || stream_ends {
            self.read(slot, stream_ends, now);
        }
    }

    /// Reads up to the budget. A short read means that no bytes are left; but when the event
    /// announced the end of the stream, the end must be read as well, after the last byte.
    fn read(&mut self, slot: usize, stream_ends: bool, now: Timestamp) {
        for _ in 0..READS_PER_ITERATION {
            let is_read = |connection: &&mut UserConnection| {
                !connection.ended && !matches!(connection.stage, ConnectionStage::Abandoned)
            };
            let live = self.connections.get_mut(slot).filter(is_read);
            let Some(connection) = live else { return };
            match connection.read(&mut self.buffer) {
                SocketRead::Bytes(len) => {
                    let now = self.now();
                    self.stall_detector.record_response();
                    self.recorder.add(CountMetric::BytesIn, len as u64);
                    self.on_bytes(slot, len, now);
                    if len < self.buffer.len() && !stream_ends {
                        return;
                    }
                }
                SocketRead::Drained => return,
                SocketRead::End | SocketRead::Broken => {
                    // A server that closes connections is not stalled.
                    self.stall_detector.record_response();
                    return self.disconnect(slot, LoadFault::ConnectionLost, now);
                }
            }
        }
        self.unread.push((slot, self.connections[slot].serial));
    }

    /// Continues with the connections that used up their read budget.
    pub(super) fn read_unread(&mut self, now: Timestamp) {
        for (slot, serial) in std::mem::take(&mut self.unread) {
            if self.connections.get(slot).is_some_and(|connection| connection.serial == serial) {
                // Whether the event announced the end of the stream is not stored: assuming it
                // costs one read.
                self.read(slot, true, now);
            }
        }
    }

    /// Processes the first `len` bytes of the buffer.
    fn on_bytes(&mut self, slot: usize, len: usize, now: Timestamp) {
        match &mut self.connections[slot].stage {
            ConnectionStage::Open => self.read_frames(slot, 0, len, now),
            ConnectionStage::Abandoned => {}
            ConnectionStage::Upgrading(_) => self.read_upgrade_response(slot, len, now),
        }
    }

    fn read_upgrade_response(&mut self, slot: usize, len: usize, now: Timestamp) {
        let ConnectionStage::Upgrading(upgrade) = &mut self.connections[slot].stage else { return };
        let from_start = upgrade.head.is_empty();
        if !from_start {
            upgrade.head.extend_from_slice(&self.buffer[..len]);
        }
        let bytes = if from_start { &self.buffer[..len] } else { &upgrade.head };
        let (head, end) = match parse_response(bytes, &mut upgrade.scan, MAX_HEAD_BYTES) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                if from_start {
                    upgrade.head = bytes.to_vec();
                }
                return;
            }
            Err(error) => {
                let cause = error.to_string();
                return self.fail_connect_because(slot, LoadFault::UpgradeRefused, &cause, now);
            }
        };
        match head.check_upgrade(upgrade.expected) {
            Ok(()) => {
                // The bytes after the head are the last of those just read.
                let begin = len - (bytes.len() - end);
                self.connections[slot].stage = ConnectionStage::Open;
                self.read_frames(slot, begin, len, now);
            }
            Err(UpgradeError::Refused(status)) => {
                let text_bytes = match head.body {
                    BodyLength::Bytes(bytes) => bytes.min(MAX_REFUSAL_BYTES) as usize,
                    BodyLength::Chunked | BodyLength::UntilClose => 0,
                };
                if bytes.len() < end + text_bytes {
                    // The text names the cause.
                    upgrade.refusal = Some(status);
                    if from_start {
                        upgrade.head = bytes.to_vec();
                    }
                    return;
                }
                let cause = http_cause(status, &bytes[end..]);
                self.refuse_upgrade(slot, status, &cause, now);
            }
            Err(error) => {
                let cause = error.to_string();
                self.fail_connect_because(slot, LoadFault::UpgradeRefused, &cause, now);
            }
        }
    }

    /// The upgrade was answered with this status.
    pub(super) fn refuse_upgrade(&mut self, slot: usize, status: u16, cause: &str, now: Timestamp) {
        let fault = match status {
            503 => LoadFault::UpgradeBusy,
            _ => LoadFault::UpgradeRefused,
        };
        self.fail_connect_because(slot, fault, cause, now);
    }

    /// Reads frames from the buffer.
    fn read_frames(&mut self, slot: usize, begin: usize, len: usize, now: Timestamp) {
        let catching_up = self.pause_detector.is_catching_up(now);
        let connection = &mut self.connections[slot];
        let mut reader =
            MessageReader::new(&mut self.buffer[begin..len], connection.assembly.take(), &FRAMES);
        let mut close_code = None;
        loop {
            let item = match reader.next() {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(_) => return self.disconnect(slot, LoadFault::BadFrame, now),
            };
            let mut context = UserContext {
                now,
                catching_up,
                rules: &self.workload.rules,
                out: &mut self.out,
                recorder: &mut self.recorder,
                encoder: &mut self.encoder,
                decoder: &self.decoder,
                events: &mut self.events,
            };
            match item {
                IncomingItem::Text(range) => {
                    connection.user.on_text(reader.bytes(&range), &mut context);
                }
                IncomingItem::Binary(_) => {
                    context.recorder.record_fault(LoadFault::BadMessage, now)
                }
                IncomingItem::Ping(range) => {
                    let mask = context.encoder.next_mask();
                    push_client_frame(context.out, PONG, reader.bytes(&range), mask);
                }
                IncomingItem::Pong(_) => {}
                IncomingItem::Close(code) => {
                    close_code = Some(code);
                    break;
                }
            }
        }
        if close_code.is_none() {
            connection.assembly = reader.finish();
        }
        self.after_step(slot, now);
        if let Some(code) = close_code {
            self.on_close_frame(slot, code, now);
        }
    }
}
