//! Handshake messages after the handshake: a client may send only KeyUpdate (RFC 8446 §4.6). Pure.

use super::error::RecordError;
use super::state::{TlsState, WriteStatus};
use crate::limits::TLS_KEY_UPDATES;

/// Handshake type of a KeyUpdate (RFC 8446 §4).
const KEY_UPDATE: u8 = 24;
/// Length of a KeyUpdate: type, a length of three bytes, and the request.
const KEY_UPDATE_BYTES: usize = 5;

/// Values of `request_update` (RFC 8446 §4.6.3).
const UPDATE_NOT_REQUESTED: u8 = 0;
const UPDATE_REQUESTED: u8 = 1;

/// The start of a KeyUpdate that was divided over records (RFC 8446 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HandshakeFragment {
    bytes: [u8; KEY_UPDATE_BYTES],
    length: u8,
}

impl HandshakeFragment {
    /// A fragment of these bytes; `None` if they cannot be the start of a KeyUpdate.
    pub(super) fn new(bytes: &[u8]) -> Option<HandshakeFragment> {
        let mut fragment = HandshakeFragment::default();
        if bytes.len() >= KEY_UPDATE_BYTES {
            return None;
        }
        fragment.bytes[..bytes.len()].copy_from_slice(bytes);
        fragment.length = bytes.len() as u8;
        is_key_update_start(bytes).then_some(fragment)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// The KeyUpdate message that is sent.
pub(super) const fn key_update_message(requests_answer: bool) -> [u8; KEY_UPDATE_BYTES] {
    let request = if requests_answer { UPDATE_REQUESTED } else { UPDATE_NOT_REQUESTED };
    [KEY_UPDATE, 0, 0, 1, request]
}

fn is_key_update_start(bytes: &[u8]) -> bool {
    const START: [u8; 4] = [KEY_UPDATE, 0, 0, 1];
    bytes.iter().zip(START).all(|(byte, expected)| *byte == expected)
}

impl TlsState {
    /// Handles the content of a handshake record.
    pub(super) fn receive_handshake(&mut self, content: &[u8]) -> Result<(), RecordError> {
        let missing = KEY_UPDATE_BYTES - self.fragment.bytes().len();
        let mut message = [0; KEY_UPDATE_BYTES];
        let length = KEY_UPDATE_BYTES - missing;
        message[..length].copy_from_slice(self.fragment.bytes());
        let taken = missing.min(content.len());
        message[length..length + taken].copy_from_slice(&content[..taken]);
        let message = &message[..length + taken];
        // guard: a handshake message that is no KeyUpdate is refused [false]
        if message.first().is_some_and(|kind| *kind != KEY_UPDATE) {
            return Err(RecordError::HandshakeType);
        }
        if !is_key_update_start(message) {
            return Err(RecordError::KeyUpdateLength);
        }
        // guard: a KeyUpdate ends its record [false]
        if content.len() > missing {
            return Err(RecordError::KeyUpdateNotLast);
        }
        match *message {
            [_, _, _, _, request] => self.receive_key_update(request),
            _ => {
                self.fragment = HandshakeFragment::new(message).unwrap_or_default();
                Ok(())
            }
        }
    }

    /// Goes on with the next keys of the peer. If it requests an answer, the next application data is preceded
    /// by one, however many requests there were.
    fn receive_key_update(&mut self, request: u8) -> Result<(), RecordError> {
        self.fragment = HandshakeFragment::default();
        let is_answer_requested = match request {
            UPDATE_NOT_REQUESTED => false,
            UPDATE_REQUESTED => true,
            _ => return Err(RecordError::KeyUpdateValue),
        };
        // guard: the number of KeyUpdates without application data is limited [false]
        if self.key_updates >= TLS_KEY_UPDATES {
            return Err(RecordError::TooManyKeyUpdates);
        }
        self.key_updates += 1;
        self.read.update(self.suite);
        if is_answer_requested {
            self.write_status = match self.write_status {
                WriteStatus::Open | WriteStatus::OwesKeyUpdate => WriteStatus::OwesKeyUpdate,
                WriteStatus::Ended => WriteStatus::Ended,
            };
        }
        Ok(())
    }
}
