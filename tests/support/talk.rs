//! What can be said to a server and expected from it, whoever frames it.

use serde_json::Value;

/// What came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A text message.
    Text(String),
    /// A Close frame.
    Close(Option<u16>),
    /// The end of the connection.
    End,
}

/// The payload of a `match_found`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) room_id: String,
    pub(crate) peer_id: String,
    pub(crate) initiator: bool,
}

/// A user with a session.
pub(crate) trait Talk {
    /// Its `session_id`.
    fn id(&self) -> &str;

    /// Sends a text message.
    fn say(&mut self, text: &str);

    /// Waits for the next message, a Close frame, or the end.
    fn hear(&mut self) -> Heard;

    /// The next message, as text.
    fn text(&mut self) -> String {
        match self.hear() {
            Heard::Text(text) => text,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The payload of the next message, which has to be of this type; null if it has none.
    fn expect(&mut self, name: &str) -> Value {
        let text = self.text();
        let mut message: Value = serde_json::from_str(&text).expect("the server sends JSON");
        assert_eq!(message["type"], name, "expected {name}, got {text}");
        let members = message.as_object().unwrap();
        assert!(members.keys().all(|key| key == "type" || key == "payload"), "{text}");
        message["payload"].take()
    }

    /// The next message has to be an error of this code.
    fn expect_error(&mut self, code: &str) {
        let payload = self.expect("error");
        assert_eq!(payload["code"], code, "{payload}");
        assert!(payload["message"].as_str().is_some_and(|text| !text.is_empty()), "{payload}");
    }

    /// The next message has to be a `match_found`.
    fn expect_match(&mut self) -> Match {
        let payload = self.expect("match_found");
        let token = |name: &str| {
            let token = payload[name].as_str().unwrap_or_else(|| panic!("{payload}"));
            assert!(is_identifier(token), "{payload}");
            token.to_owned()
        };
        Match {
            room_id: token("room_id"),
            peer_id: token("peer_id"),
            initiator: payload["initiator"].as_bool().unwrap(),
        }
    }

    /// The next message has to say that the partner left this room for this reason.
    fn expect_peer_left(&mut self, room: &Match, reason: &str) {
        let payload = self.expect("peer_left");
        assert_eq!(payload, serde_json::json!({"room_id": room.room_id, "reason": reason}));
    }

    /// The next thing has to be a Close frame with this code, and after it the end.
    fn expect_close(&mut self, code: u16) {
        assert_eq!(self.hear(), Heard::Close(Some(code)));
        assert_eq!(self.hear(), Heard::End);
    }

    /// Nothing more has come: the answer to a ping is next.
    fn expect_nothing(&mut self) {
        let marker = format!(r#"{{"mark":{}}}"#, unique());
        self.say(&format!(r#"{{"type":"ping","payload":{marker}}}"#));
        assert_eq!(self.text(), format!(r#"{{"type":"pong","payload":{marker}}}"#));
    }

    /// Sends `find_match` for this queue.
    fn find(&mut self, queue: &str) {
        self.say(&format!(r#"{{"type":"find_match","payload":{{"queue":"{queue}"}}}}"#));
    }

    /// Joins this queue, and waits for the answer.
    fn wait_in(&mut self, queue: &str) {
        self.find(queue);
        assert_eq!(self.expect("waiting")["queue"], queue);
    }

    /// Sends a relayed message as a careful client does.
    fn relay(&mut self, kind: &str, room: &Match, payload: &str) -> String {
        let room = &room.room_id;
        let text = format!(r#"{{"type":"{kind}","room_id":"{room}","payload":{payload}}}"#);
        self.say(&text);
        text
    }
}

/// The room is as it was: what each sends, the other gets next.
pub(crate) fn still_talk<A: Talk, B: Talk>(one: &mut A, other: &mut B, room: &Match) {
    let sent = one.relay("signal", room, r#""still there?""#);
    assert_eq!(other.text(), sent);
    let sent = other.relay("signal", room, r#""still here""#);
    assert_eq!(one.text(), sent);
}

/// Whether this can be an identifier: base64url of at least 128 bits.
pub(crate) fn is_identifier(token: &str) -> bool {
    token.len() >= 22 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// A number that is another each time.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
