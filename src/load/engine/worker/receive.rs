//! What comes in on a connection, and how a connection ends.

use super::{ALARM, Worker};
use crate::limits::MESSAGE_FRAGMENTS;
use crate::load::engine::connection::{ConnectionStage, SocketRead, connect_fault};
use crate::load::engine::http_client::HttpLoadClient;
use crate::load::measure::{CountMetric, LoadFault};
use crate::load::user::{NEVER, UserActivity, UserContext};
use crate::timestamp::Timestamp;
use crate::wire::http::{UpgradeError, parse_response};
use crate::wire::websocket::assembly::{IncomingItem, MessageReader, ReceiveLimits};
use crate::wire::websocket::frame::{CLOSE, PONG, Side, push_client_frame};
use mio::Token;

/// Reads of one connection in one turn at most; the rest of its bytes comes in the next turn.
const READS_PER_ITERATION: u32 = 16;
/// Longest response head.
const HEAD_BYTES: usize = 16 * 1024;

/// Frames as the server sends them. Its own limits are its own business; a message above this
/// is a fault.
const FRAMES: ReceiveLimits = ReceiveLimits {
    sender: Side::Server,
    max_message_bytes: 1024 * 1024,
    max_fragments: MESSAGE_FRAGMENTS,
};

impl Worker {
    pub(super) fn on_event(&mut self, event: &mio::event::Event, now: Timestamp) {
        let Token(slot) = event.token();
        if event.token() == ALARM {
            self.alarm_at = NEVER;
            return;
        }
        if slot >= HttpLoadClient::FIRST_TOKEN {
            return self.on_http_event(slot, event, now);
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if event.is_writable() && !connection.writable || !connection.egress.is_empty() {
            match connection.flush() {
                Ok(taken) => self.recorder.add(CountMetric::BytesOut, taken),
                Err(fault) => return self.lose(slot, fault, now),
            }
        }
        let ends = event.is_read_closed() || event.is_error();
        if event.is_readable() || ends {
            self.read(slot, ends, now);
        }
    }

    /// Reads what is there, up to the budget. A short read means that nothing is left, unless
    /// the end of the stream was announced as well: that is read only behind the last byte.
    fn read(&mut self, slot: usize, ends: bool, now: Timestamp) {
        for _ in 0..READS_PER_ITERATION {
            let Some(connection) =
                self.connections.get_mut(slot).filter(|connection| !connection.gone)
            else {
                return;
            };
            match connection.read(&mut self.buffer) {
                SocketRead::Bytes(len) => {
                    let now = self.now();
                    self.watch.heard();
                    self.recorder.add(CountMetric::BytesIn, len as u64);
                    self.digest(slot, len, now);
                    if len < self.buffer.len() && !ends {
                        return;
                    }
                }
                SocketRead::Drained => return,
                SocketRead::End | SocketRead::Broken => {
                    // That is an answer too: whoever hangs up does not stand still.
                    self.watch.heard();
                    return self.lose(slot, LoadFault::ConnectionLost, now);
                }
            }
        }
        self.unread.push((slot, self.connections[slot].serial));
    }

    pub(super) fn read_on(&mut self, now: Timestamp) {
        for (slot, serial) in std::mem::take(&mut self.unread) {
            if self.connections.get(slot).is_some_and(|connection| connection.serial == serial) {
                // Whether the end was announced is forgotten by now; looking costs one read.
                self.read(slot, true, now);
            }
        }
    }

    /// Takes in the first `len` bytes of the buffer.
    fn digest(&mut self, slot: usize, len: usize, now: Timestamp) {
        match &mut self.connections[slot].stage {
            ConnectionStage::Open => self.read_frames(slot, 0, len, now),
            ConnectionStage::Upgrading(handshake) => {
                let from_start = handshake.head.is_empty();
                if !from_start {
                    handshake.head.extend_from_slice(&self.buffer[..len]);
                }
                let head = if from_start { &self.buffer[..len] } else { &handshake.head };
                match parse_response(head, &mut handshake.scan, HEAD_BYTES) {
                    Ok(None) => {
                        if from_start {
                            handshake.head = self.buffer[..len].to_vec();
                        }
                    }
                    Err(_) => self.fail_connect(slot, LoadFault::UpgradeRefused, now),
                    Ok(Some((response, end))) => {
                        let verdict = response.check_upgrade(handshake.expected);
                        // The bytes behind the head are the last of those just read.
                        let begin = len - (head.len() - end);
                        self.upgraded(slot, verdict, begin, len, now)
                    }
                }
            }
        }
    }

    fn upgraded(
        &mut self,
        slot: usize,
        verdict: Result<(), UpgradeError>,
        begin: usize,
        len: usize,
        now: Timestamp,
    ) {
        match verdict {
            Ok(()) => {
                self.connections[slot].stage = ConnectionStage::Open;
                self.read_frames(slot, begin, len, now);
            }
            Err(UpgradeError::Refused(503)) => self.fail_connect(slot, LoadFault::UpgradeBusy, now),
            Err(fault) => {
                self.fail_connect(slot, LoadFault::UpgradeRefused, now);
                if let UpgradeError::Refused(status) = fault {
                    self.recorder.note_status(LoadFault::UpgradeRefused, status);
                }
            }
        }
    }

    /// Reads frames from the buffer.
    fn read_frames(&mut self, slot: usize, begin: usize, len: usize, now: Timestamp) {
        let catching_up = self.blind.is_catching_up(now);
        let connection = &mut self.connections[slot];
        let mut reader =
            MessageReader::new(&mut self.buffer[begin..len], connection.held.take(), &FRAMES);
        let mut closed = None;
        loop {
            let item = match reader.next() {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(_) => return self.lose(slot, LoadFault::BadFrame, now),
            };
            let mut turn = UserContext {
                now,
                catching_up,
                rules: &self.load.rules,
                out: &mut self.out,
                recorder: &mut self.recorder,
                encoder: &mut self.encoder,
                reader: &self.reader,
                news: &mut self.news,
            };
            match item {
                IncomingItem::Text(place) => connection.user.text(reader.bytes(&place), &mut turn),
                IncomingItem::Binary(_) => turn.recorder.fault(LoadFault::BadMessage, now),
                IncomingItem::Ping(place) => {
                    let mask = turn.encoder.next_mask();
                    push_client_frame(turn.out, PONG, reader.bytes(&place), mask);
                }
                IncomingItem::Pong(_) => {}
                IncomingItem::Close(code) => {
                    closed = Some(code);
                    break;
                }
            }
        }
        if closed.is_none() {
            connection.held = reader.finish();
        }
        self.after_step(slot, now);
        if let Some(code) = closed {
            self.close_heard(slot, code, now);
        }
    }

    /// The server has said its last word; it closes the connection now (RFC 6455 §7.1.1).
    fn close_heard(&mut self, slot: usize, code: Option<u16>, now: Timestamp) {
        let connection = &self.connections[slot];
        if connection.gone || connection.user.standing() == UserActivity::Closing {
            return;
        }
        // RFC 6455 §5.5.1: answer with the same code.
        let mask = self.encoder.next_mask();
        let bytes = code.map(u16::to_be_bytes).unwrap_or_default();
        let payload = if code.is_some() { &bytes[..] } else { &[] };
        push_client_frame(&mut self.out, CLOSE, payload, mask);
        self.send_out(slot, now);
        self.lose(slot, LoadFault::ClosedByServer, now);
    }

    /// The connection is over; `fault` names why if nobody wanted it.
    pub(super) fn lose(&mut self, slot: usize, fault: LoadFault, now: Timestamp) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.gone {
            return;
        }
        if matches!(connection.stage, ConnectionStage::Upgrading(_))
            || connection.user.standing() == UserActivity::Greeting
        {
            let error = connection.socket.take_error().ok().flatten();
            let fault = error.map_or(LoadFault::ConnectReset, |error| connect_fault(&error));
            return self.fail_connect(slot, fault, now);
        }
        let session = connection.user.session();
        self.out.clear();
        let connection = &mut self.connections[slot];
        let mut turn = UserContext {
            now,
            catching_up: self.blind.is_catching_up(now),
            rules: &self.load.rules,
            out: &mut self.out,
            recorder: &mut self.recorder,
            encoder: &mut self.encoder,
            reader: &self.reader,
            news: &mut self.news,
        };
        if !connection.user.lost(fault == LoadFault::ClosedByServer, &mut turn) {
            self.recorder.fault(fault, now);
        }
        self.tell_news(slot, now);
        if let Ok(mut book) = self.shared.book.lock() {
            book.closed(session, now);
        }
        self.let_go(slot);
    }

    /// A connection is over; its slot is freed at the end of the turn.
    pub(super) fn let_go(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.connections[slot].gone, true) {
            self.gone.push(slot);
        }
    }

    pub(super) fn fail_connect(&mut self, slot: usize, fault: LoadFault, now: Timestamp) {
        if !self.connections[slot].gone {
            self.recorder.count(CountMetric::ConnectFailed);
            self.recorder.fault(fault, now);
            self.let_go(slot);
        }
    }

    /// Frees the slots of connections that are over.
    pub(super) fn reap(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        let now = self.now();
        for slot in std::mem::take(&mut self.gone) {
            let Some(mut connection) = self.connections.try_remove(slot) else { continue };
            // Closing the descriptor would do as well; this also tells mio.
            let _ = self.poll.registry().deregister(&mut connection.socket);
            self.uncount(connection.counted_as);
            let session = connection.user.session();
            if session != 0
                && let Ok(mut book) = self.shared.book.lock()
            {
                book.closed(session, now);
            }
        }
    }

    /// The time is up: who is still there did not come to an end.
    pub(super) fn drop_everybody(&mut self) {
        let now = self.now();
        for slot in self.slots() {
            self.lose(slot, LoadFault::ConnectionLost, now);
        }
        self.reap();
    }
}
