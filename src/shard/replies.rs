//! Replies to the connection whose input is being handled. Pure.
//!
//! Code that handles the input of a connection gets [`Replies`] as an argument and writes to
//! that connection only through it, so that the replies to one read leave with one send. Messages
//! to other connections are sent at once. The exception is `/echo`: it sends messages back from
//! the receive buffer, without a copy, and requires that there are no replies meanwhile.

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
    /// If the first reply is a `waiting` that the matcher's reply will follow, where it ends in
    /// `bytes`.
    lone_waiting_end: Option<usize>,
}

impl Replies {
    /// No replies yet to the connection in this slot. `storage` is reused.
    pub(super) fn new(slot: Slot, storage: Vec<u8>) -> Self {
        debug_assert!(storage.is_empty(), "the storage holds replies of another connection");
        Replies { slot, bytes: storage, content: EgressContent::Frames, lone_waiting_end: None }
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

    /// Adds an HTTP response, which `write` appends. From here on the replies cannot be cut
    /// between frames, until they have been sent.
    pub(super) fn push_response<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.content = EgressContent::Opaque;
        write(&mut self.bytes)
    }

    /// Adds the `waiting` of a session that has entered a queue. If it is the only reply, it may
    /// be held back until the matcher has answered.
    pub(super) fn push_waiting(&mut self, message: ServerMessage<'_>) {
        let is_first = self.bytes.is_empty();
        self.push_message(message);
        if is_first {
            self.lone_waiting_end = Some(self.bytes.len());
        }
    }

    /// Whether the replies are nothing but a `waiting` that may be held back.
    pub(super) fn is_lone_waiting(&self) -> bool {
        self.lone_waiting_end == Some(self.bytes.len())
    }

    /// Whether there are no replies.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
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
        self.lone_waiting_end = None;
    }

    /// The storage, empty, to be used again. Replies that were not sent are dropped: they must
    /// never reach another client.
    pub(super) fn into_storage(mut self) -> Vec<u8> {
        self.bytes.clear();
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::websocket::frame::PONG;

    const WAITING: ServerMessage<'_> =
        ServerMessage::Waiting { queue: "default", expected_wait: None };

    #[test]
    fn a_waiting_is_lone_only_as_the_first_and_last_reply() {
        let mut replies = Replies::new(Slot(0), Vec::new());
        assert!(!replies.is_lone_waiting());
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
        replies.push_response(|out| out.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n"));
        replies.push_message(WAITING);
        assert_eq!(replies.content(), EgressContent::Opaque);
        replies.clear();
        assert_eq!((replies.content(), replies.bytes().len()), (EgressContent::Frames, 0));
    }

    #[test]
    fn drops_unsent_replies_when_the_storage_is_reused() {
        let mut replies = Replies::new(Slot(0), Vec::new());
        replies.push_message(WAITING);
        assert!(Replies::new(Slot(1), replies.into_storage()).is_empty());
    }
}
