//! One user's side of one call: what it sends when, and what it has received. Pure.

use super::script::{CallPlan, NEVER};
use crate::load::message_header::id_hash;
use crate::load::rng::Rng;
use crate::load::room_traffic::{RoomExit, RoomTraffic, SentHistory};
use crate::load::sequence_tracker::SequenceTracker;
use crate::timestamp::Timestamp;
use crate::wire::message::RelayKind;
use std::time::Duration;

/// Granularity of the planned sending times of a steady stream.
const GRID: Duration = Duration::from_millis(1);

/// The next message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallStep {
    /// Waits for the partner's offer; if it never arrives, the call continues without it.
    AwaitOffer,
    Description(RelayKind),
    Candidate {
        left: u32,
    },
    Steady,
}

/// One user's side of one call.
#[derive(Debug)]
pub(super) struct ActiveCall {
    pub(super) room_id: Box<str>,
    /// Hash of the room.
    pub(super) room: u64,
    /// Hash of the partner's session.
    pub(super) peer: u64,
    pub(super) initiator: bool,
    /// Sequence number of the next message.
    pub(super) sequence: u32,
    pub(super) received: SequenceTracker,
    /// When this side's messages were sent.
    pub(super) sent_history: SentHistory,
    step: CallStep,
    /// Planned time of the next message.
    pub(super) next_send: Timestamp,
    /// Planned time of the first message of the steady stream.
    steady_start: Timestamp,
    /// The exact time that `next_send` was rounded from.
    exact_next_send: Timestamp,
    /// When the initiator sends its final message; the other side replies to it with its own.
    pub(super) ends_at: Timestamp,
    /// When this side sent its final message.
    pub(super) final_sent_at: Option<Timestamp>,
    /// Whether the partner's final message has arrived.
    pub(super) final_received: bool,
    /// When to leave, even if messages are missing.
    pub(super) leave_at: Timestamp,
    /// The partner has reported that the server dropped some of its messages.
    pub(super) gaps_expected: bool,
    /// The server has reported that it dropped some of this user's messages.
    pub(super) messages_dropped: bool,
}

impl ActiveCall {
    pub(super) fn new(room_id: &str, peer_id: &str, initiator: bool, ends_at: Timestamp) -> Self {
        ActiveCall {
            room_id: room_id.into(),
            room: id_hash(room_id),
            peer: id_hash(peer_id),
            initiator,
            sequence: 0,
            received: SequenceTracker::default(),
            sent_history: SentHistory::default(),
            step: CallStep::Steady,
            next_send: NEVER,
            steady_start: NEVER,
            exact_next_send: NEVER,
            ends_at: if initiator { ends_at } else { NEVER },
            final_sent_at: None,
            final_received: false,
            leave_at: NEVER,
            gaps_expected: false,
            messages_dropped: false,
        }
    }

    /// Plans the messages; without a plan this side sends none.
    pub(super) fn plan_messages(&mut self, plan: &CallPlan, rng: &mut Rng, now: Timestamp) {
        let setup_ends = now + plan.setup_time();
        if let Some(gap) = plan.gap {
            // Each user starts at a random offset, so that the total stream is even.
            self.steady_start = plan.steady_from.max(setup_ends) + gap.mul_f64(rng.next_fraction());
        }
        if self.initiator {
            self.step = CallStep::Description(RelayKind::Offer);
            self.next_send = now;
        } else {
            self.step = CallStep::AwaitOffer;
            self.exact_next_send = self.steady_start;
            self.next_send = round_up_to_grid(self.steady_start, plan.gap.unwrap_or_default());
        }
    }

    /// What this side has sent and received, at the end of its time in the room. A message has
    /// arrived, if it arrives at all, `patience` after it was sent.
    pub(super) fn traffic(
        &self,
        exit: RoomExit,
        now: Timestamp,
        patience: Duration,
    ) -> RoomTraffic {
        let all_settled = self.final_sent_at.is_some_and(|sent| now.since(sent) >= patience);
        let settled =
            if all_settled { self.sequence } else { self.sent_history.settled(now, patience) };
        let received_up_to = self.received.received_up_to();
        RoomTraffic { sent: self.sequence, settled, received_up_to, exit }
    }

    /// Plans the answer to the partner's offer, which has arrived.
    pub(super) fn on_offer(&mut self, now: Timestamp) {
        if self.step == CallStep::AwaitOffer {
            self.step = CallStep::Description(RelayKind::Answer);
            self.next_send = now;
        }
    }

    /// Takes the next message if its planned time has come, with that time.
    pub(super) fn take_due(
        &mut self,
        plan: &CallPlan,
        now: Timestamp,
    ) -> Option<(RelayKind, Timestamp)> {
        let intended = self.next_send;
        if intended > now || self.final_sent_at.is_some() {
            return None;
        }
        let kind = match self.step {
            CallStep::Description(kind) => {
                self.step = CallStep::Candidate { left: plan.candidates };
                self.next_send = intended + CallPlan::CANDIDATE_GAP;
                kind
            }
            CallStep::Candidate { left } if left > 0 => {
                self.step = CallStep::Candidate { left: left - 1 };
                self.next_send = intended + CallPlan::CANDIDATE_GAP;
                RelayKind::IceCandidate
            }
            CallStep::Candidate { .. } => {
                self.step = CallStep::Steady;
                self.exact_next_send = self.next_steady_time(plan, intended);
                self.next_send =
                    round_up_to_grid(self.exact_next_send, plan.gap.unwrap_or_default());
                return self.take_due(plan, now);
            }
            CallStep::AwaitOffer | CallStep::Steady => {
                self.step = CallStep::Steady;
                if let Some(gap) = plan.gap {
                    // Counted from the exact time, so that rounding errors do not accumulate.
                    self.exact_next_send = self.exact_next_send + gap;
                    self.next_send = round_up_to_grid(self.exact_next_send, gap);
                }
                RelayKind::Signal
            }
        };
        Some((kind, intended))
    }

    /// The first time of the steady stream at or after `from`.
    fn next_steady_time(&self, plan: &CallPlan, from: Timestamp) -> Timestamp {
        let Some(gap) = plan.gap else { return NEVER };
        let gap = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX).max(1);
        let behind = from.as_nanos().saturating_sub(self.steady_start.as_nanos());
        let next = self.steady_start.as_nanos().saturating_add(behind.div_ceil(gap) * gap);
        Timestamp::from_nanos(next)
    }
}

/// Rounds a planned time up to the grid. One wake-up then serves all users with the same planned
/// time, which halves the generator's system calls at thousands of messages a second. The plan
/// stays fixed in advance. Streams with a gap below the grid are not rounded.
fn round_up_to_grid(at: Timestamp, gap: Duration) -> Timestamp {
    if gap < GRID {
        return at;
    }
    let grid = GRID.as_nanos() as u64;
    Timestamp::from_nanos(at.as_nanos().div_ceil(grid).saturating_mul(grid))
}
