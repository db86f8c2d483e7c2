//! What a client with a session sends and expects, independent of how its frames are made.

use serde_json::Value;

/// What a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A text message.
    Text(String),
    /// A Close frame with its code.
    Close(Option<u16>),
    /// The end of the connection.
    End,
}

/// The payload of a `match_found`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MatchFound {
    pub(crate) room_id: String,
    pub(crate) peer_id: String,
    pub(crate) initiator: bool,
}

/// A client with a session.
pub(crate) trait ProtocolClient {
    /// Its `session_id`.
    fn id(&self) -> &str;

    /// Sends a text message.
    fn send_text(&mut self, text: &str);

    /// Waits for the next message, a Close frame, or the end of the connection.
    fn receive(&mut self) -> Received;

    /// The next message, as text.
    fn receive_text(&mut self) -> String {
        match self.receive() {
            Received::Text(text) => text,
            other => panic!("expected a message, received {other:?}"),
        }
    }

    /// The payload of the next message, which must be of the type `name`; null if it has none.
    fn expect_message(&mut self, name: &str) -> Value {
        let text = self.receive_text();
        let mut message: Value = serde_json::from_str(&text).expect("the server sends JSON");
        assert_eq!(message["type"], name, "expected {name}, received {text}");
        let members = message.as_object().unwrap();
        assert!(members.keys().all(|key| key == "type" || key == "payload"), "{text}");
        message["payload"].take()
    }

    /// The next message must be an error with this code.
    fn expect_error(&mut self, code: &str) {
        let payload = self.expect_message("error");
        assert_eq!(payload["code"], code, "{payload}");
        assert!(payload["message"].as_str().is_some_and(|text| !text.is_empty()), "{payload}");
    }

    /// The next message must be an error with this code, for a message of the type `refused`.
    fn expect_refused(&mut self, refused: &str, code: &str) {
        let payload = self.expect_message("error");
        assert_eq!((&payload["refused"], &payload["code"]), (&refused.into(), &code.into()));
    }

    /// The next message must be a `match_found`.
    fn expect_match(&mut self) -> MatchFound {
        let payload = self.expect_message("match_found");
        let identifier = |name: &str| {
            let value = payload[name].as_str().unwrap_or_else(|| panic!("{payload}"));
            assert!(is_identifier(value), "{payload}");
            value.to_owned()
        };
        MatchFound {
            room_id: identifier("room_id"),
            peer_id: identifier("peer_id"),
            initiator: payload["initiator"].as_bool().unwrap(),
        }
    }

    /// The next message must be a `peer_left` for this room with this reason.
    fn expect_peer_left(&mut self, room: &MatchFound, reason: &str) {
        let payload = self.expect_message("peer_left");
        assert_eq!(payload, serde_json::json!({"room_id": room.room_id, "reason": reason}));
    }

    /// A Close frame with this code must come next, and then the end of the connection.
    fn expect_close(&mut self, code: u16) {
        assert_eq!(self.receive(), Received::Close(Some(code)));
        assert_eq!(self.receive(), Received::End);
    }

    /// No further message has been sent: the answer to a ping comes next.
    fn expect_no_message(&mut self) {
        let marker = format!(r#"{{"mark":{}}}"#, unique());
        self.send_text(&format!(r#"{{"type":"ping","payload":{marker}}}"#));
        assert_eq!(self.receive_text(), format!(r#"{{"type":"pong","payload":{marker}}}"#));
    }

    /// Sends `find_match` for this queue.
    fn find_match(&mut self, queue: &str) {
        self.send_text(&format!(r#"{{"type":"find_match","payload":{{"queue":"{queue}"}}}}"#));
    }

    /// Joins this queue, and expects `waiting`.
    fn join_queue(&mut self, queue: &str) {
        self.find_match(queue);
        assert_eq!(self.expect_message("waiting")["queue"], queue);
    }

    /// Sends a relayed message that names its room, and gives its text.
    fn relay(&mut self, kind: &str, room: &MatchFound, payload: &str) -> String {
        let room = &room.room_id;
        let text = format!(r#"{{"type":"{kind}","room_id":"{room}","payload":{payload}}}"#);
        self.send_text(&text);
        text
    }
}

/// Matches two clients that are in no room, in a queue that no other client uses. Gives the
/// initiator first, and the match as the initiator received it.
pub(crate) fn match_pair<T: ProtocolClient>(mut one: T, mut other: T) -> (T, T, MatchFound) {
    let queue = format!("q{}", one.id());
    for user in [&mut one, &mut other] {
        user.find_match(&queue);
        assert_eq!(user.expect_message("waiting")["queue"], queue);
    }
    let (ones, others) = (one.expect_match(), other.expect_match());
    assert_eq!(ones.room_id, others.room_id);
    assert_eq!((&*ones.peer_id, &*others.peer_id), (other.id(), one.id()));
    assert_ne!(ones.initiator, others.initiator, "exactly one sends the offer");
    if ones.initiator { (one, other, ones) } else { (other, one, others) }
}

/// The room relays both ways: what one member sends is what the other receives next.
pub(crate) fn expect_room_relays<A: ProtocolClient, B: ProtocolClient>(
    one: &mut A,
    other: &mut B,
    room: &MatchFound,
) {
    let sent = one.relay("signal", room, r#""still there?""#);
    assert_eq!(other.receive_text(), sent);
    let sent = other.relay("signal", room, r#""still here""#);
    assert_eq!(one.receive_text(), sent);
}

/// Whether this can be an identifier: base64url of at least 128 bits.
pub(super) fn is_identifier(token: &str) -> bool {
    token.len() >= 22 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// A number that differs each time.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
