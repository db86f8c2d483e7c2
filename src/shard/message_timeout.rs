//! Messages that were begun and do not end. Pure.
//!
//! The time at which a message began is kept with its first bytes, so only a connection with a
//! partial message has it. The sweep compares it with the message timeout. A frame header and a
//! control frame that arrive in parts count as begun messages too.

use super::core::Core;
use super::entry::Role;
use super::host::Host;
use super::timeouts::as_ms;
use crate::ids::{ConnectionKey, Slot};
use crate::telemetry::labels::EndReason;
use tungstenite::protocol::frame::coding::CloseCode;

impl<H: Host> Core<H> {
    /// Closes a WebSocket connection if its client has not completed a message within the message
    /// timeout. Returns whether it did.
    pub(super) fn end_overdue_message(&mut self, key: ConnectionKey) -> bool {
        // guard: a message that does not end closes the connection [value false]
        let is_overdue = self.is_message_overdue(key.slot);
        if is_overdue {
            self.close(key.slot, CloseCode::Policy, EndReason::MessageTimeout);
        }
        is_overdue
    }

    fn is_message_overdue(&mut self, slot: Slot) -> bool {
        let timeout = self.setup.limits.message_timeout;
        let now_ms = self.timeouts.now_ms();
        let Some(entry) = self.table.get_mut(slot) else { return false };
        // `/echo` does not read the client while bytes wait for it: the time begins afterwards.
        let is_paused = matches!(entry.role, Role::Echo) && entry.has_unsent();
        let Some(message) = entry
            .connection
            .as_mut()
            .and_then(|connection| connection.pending.as_mut()?.assembly.as_deref_mut())
        else {
            return false;
        };
        if is_paused {
            message.begin_again(now_ms);
        }
        let passed_ms = message.begun_ms().map_or(0, |begun_ms| now_ms.wrapping_sub(begun_ms));
        !timeout.is_zero() && passed_ms >= as_ms(timeout)
    }
}
