//! Replies to the connection whose input is being handled. Pure.
//!
//! Code that handles the input of a connection gets [`Replies`] as an argument and writes to
//! that connection only through it, so that the replies to one read leave with one send. What it
//! writes to other connections is sent at once.

use crate::ids::Slot;
use crate::limits;
use crate::wire::egress::EgressContent;
use crate::wire::message::server::ServerMessage;
use crate::wire::websocket::frame::{push_server_frame, push_server_text};
use tungstenite::protocol::frame::coding::OpCode;

/// Collects the replies to one connection.
#[derive(Debug)]
pub(super) struct Replies {
    slot: Slot,
    bytes: Vec<u8>,
    content: EgressContent,
    /// The length of `bytes` behind a `waiting` that was the first reply and that the matcher's
    /// reply will follow; otherwise 0.
    lone_waiting_end: usize,
}

impl Replies {
    /// No replies yet to the connection in this slot. `storage` is reused.
    pub(super) fn new(slot: Slot, storage: Vec<u8>) -> Self {
        debug_assert!(storage.is_empty(), "replies of an earlier read were not sent");
        Replies { slot, bytes: storage, content: EgressContent::Frames, lone_waiting_end: 0 }
    }

    /// The connection that the replies are for.
    #[inline]
    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    /// Adds a message.
    pub(super) fn push_message(&mut self, message: ServerMessage<'_>) {
        push_server_text(&mut self.bytes, |out| message.write(out));
    }

    /// Adds a frame.
    pub(super) fn push_frame(&mut self, opcode: OpCode, payload: &[u8]) {
        push_server_frame(&mut self.bytes, opcode, payload);
    }

    /// Where an HTTP response is to be appended. The replies cannot be cut between frames then.
    pub(super) fn http_response(&mut self) -> &mut Vec<u8> {
        self.content = EgressContent::Opaque;
        &mut self.bytes
    }

    /// Adds the `waiting` of a session that has entered a queue. If it is the only reply, it may
    /// be held back until the matcher has answered.
    pub(super) fn push_waiting(&mut self, message: ServerMessage<'_>) {
        let is_first = self.bytes.is_empty();
        self.push_message(message);
        if is_first {
            self.lone_waiting_end = self.bytes.len();
        }
    }

    /// Whether the replies are nothing but a `waiting` that may be held back.
    pub(super) fn is_lone_waiting(&self) -> bool {
        self.bytes.len() == self.lone_waiting_end
    }

    /// The replies.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether they can be cut between frames.
    pub(super) fn content(&self) -> EgressContent {
        self.content
    }

    /// Removes all replies, because they have been sent.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        // The memory of one large document is not kept for ever.
        self.bytes.shrink_to(limits::RECEIVE_BUFFER_BYTES);
        self.content = EgressContent::Frames;
        self.lone_waiting_end = 0;
    }

    /// The storage, to be used again.
    pub(super) fn into_storage(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::websocket::frame::PONG;

    const WAITING: ServerMessage<'_> = ServerMessage::Waiting { queue: "default" };

    #[test]
    fn a_waiting_is_lone_only_as_the_first_and_last_reply() {
        let mut replies = Replies::new(Slot(0), Vec::new());
        replies.push_waiting(WAITING);
        assert!(replies.is_lone_waiting());
        replies.push_frame(PONG, b"");
        assert!(!replies.is_lone_waiting());
        replies.clear();
        replies.push_frame(PONG, b"");
        replies.push_waiting(WAITING);
        assert!(!replies.is_lone_waiting());
    }

    #[test]
    fn are_opaque_from_an_http_response_until_they_are_cleared() {
        let mut replies = Replies::new(Slot(0), Vec::new());
        replies.http_response().extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n");
        replies.push_message(WAITING);
        assert_eq!(replies.content(), EgressContent::Opaque);
        replies.clear();
        assert_eq!((replies.content(), replies.bytes().len()), (EgressContent::Frames, 0));
    }
}
