//! What one member of a room has sent and received, and which messages could not arrive because a
//! member had left. Pure.

use crate::timestamp::Timestamp;
use std::time::Duration;

/// How a member's time in a room ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomExit {
    /// It left by a message or a Close frame, after everything that it had sent.
    Left,
    /// It received `peer_left`, after everything that the server had relayed to it.
    PeerLeft,
    /// Its connection ended.
    Disconnected,
}

/// The messages of one member of a room, at the end of its time there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomTraffic {
    /// Number of messages that it sent.
    pub sent: u32,
    /// How many of those had so much time that they must have arrived; see [`SentHistory`].
    pub settled: u32,
    /// One above the highest sequence number that it received.
    pub received_up_to: u32,
    /// How its time in the room ended.
    pub exit: RoomExit,
}

impl RoomTraffic {
    /// A member that sent and received nothing.
    pub const fn none(exit: RoomExit) -> Self {
        RoomTraffic { sent: 0, settled: 0, received_up_to: 0, exit }
    }

    /// Number of this member's messages that were under way when a member left: no later message
    /// of this member has arrived, and the server may still have had them.
    ///
    /// A member that left on purpose sent everything before, and the server relays that before it
    /// sends `peer_left`; then none was under way.
    pub fn under_way_to(&self, receiver: &RoomTraffic) -> u32 {
        let not_arrived = self.sent.saturating_sub(receiver.received_up_to);
        match (self.exit, receiver.exit) {
            (RoomExit::Left, RoomExit::PeerLeft) => 0,
            (RoomExit::Left | RoomExit::PeerLeft | RoomExit::Disconnected, _) => {
                not_arrived.min(self.sent.saturating_sub(self.settled))
            }
        }
    }
}

/// How many messages had been sent by an earlier time, in constant memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct SentHistory {
    /// Two times with the number of messages sent before each; the second is later by at least the
    /// patience.
    marks: [(Timestamp, u32); 2],
}

impl SentHistory {
    /// Records that the message after the first `sent` is sent at `now`.
    pub fn record(&mut self, now: Timestamp, sent: u32, patience: Duration) {
        if now.since(self.marks[1].0) >= patience {
            self.marks = [self.marks[1], (now, sent)];
        }
    }

    /// Number of messages that were certainly sent at least `patience` before `now`.
    pub fn settled(&self, now: Timestamp, patience: Duration) -> u32 {
        let is_past = |mark: &&(Timestamp, u32)| now.since(mark.0) >= patience;
        self.marks.iter().rev().find(is_past).map_or(0, |(_, sent)| *sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(sent: u32, settled: u32, received_up_to: u32, exit: RoomExit) -> RoomTraffic {
        RoomTraffic { sent, settled, received_up_to, exit }
    }

    #[test]
    fn only_messages_to_a_member_that_left_first_can_be_under_way() {
        let left = member(10, 0, 17, RoomExit::Left);
        let told = member(20, 0, 9, RoomExit::PeerLeft);
        assert_eq!(told.under_way_to(&left), 3);
        assert_eq!(left.under_way_to(&told), 0, "it was dropped: `peer_left` came after it");
        let lost = member(10, 0, 17, RoomExit::Disconnected);
        assert_eq!(lost.under_way_to(&told), 1, "the connection may have ended before it");
    }

    #[test]
    fn a_message_that_had_enough_time_was_not_under_way() {
        let left = member(0, 0, 17, RoomExit::Left);
        for (settled, under_way) in [(0, 3), (17, 3), (18, 2), (20, 0)] {
            let told = member(20, settled, 0, RoomExit::PeerLeft);
            assert_eq!(told.under_way_to(&left), under_way, "{settled} settled");
        }
    }

    #[test]
    fn a_history_settles_no_message_too_early() {
        let patience = Duration::from_secs(5);
        let at = |tenths: u64| Timestamp::from_nanos(tenths * 100_000_000);
        let mut history = SentHistory::default();
        for sent in 0..200 {
            history.record(at(u64::from(sent) + 50), sent, patience);
            let settled = history.settled(at(u64::from(sent) + 50), patience);
            let exact = (sent + 1).saturating_sub(50);
            assert!(settled <= exact && settled + 50 >= exact, "{settled} of {exact}");
        }
    }
}
