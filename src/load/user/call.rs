//! One user's side of one call: what to send when, and what has come. Pure.

use super::script::{CallPlan, NEVER};
use crate::load::message_header::id_hash;
use crate::load::rng::Rng;
use crate::load::sequence_tracker::SequenceTracker;
use crate::timestamp::Timestamp;
use crate::wire::message::RelayKind;
use std::time::Duration;

/// Planned moments of a steady stream lie on this grid.
const GRID: Duration = Duration::from_millis(1);

/// What is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallStep {
    /// The other side's offer is awaited; if it never comes, the call goes on without.
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
    /// The number of the next message.
    pub(super) sequence: u32,
    pub(super) received: SequenceTracker,
    step: CallStep,
    /// When the next message should be sent.
    pub(super) next_send: Timestamp,
    /// First moment of this user's own beat.
    beat: Timestamp,
    /// The beat that `next_send` was rounded from.
    ideal: Timestamp,
    /// When the initiator says its last word; the other one answers it.
    pub(super) ends_at: Timestamp,
    /// When this side said its last word.
    pub(super) bye_sent: Option<Timestamp>,
    /// Whether the partner has said its last word.
    pub(super) bye_heard: bool,
    /// When to leave, whatever is still missing.
    pub(super) leave_at: Timestamp,
    /// The partner said that the server dropped some of its messages.
    pub(super) gaps_expected: bool,
    /// The server said that it dropped some of ours.
    pub(super) limited: bool,
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
            step: CallStep::Steady,
            next_send: NEVER,
            beat: NEVER,
            ideal: NEVER,
            ends_at: if initiator { ends_at } else { NEVER },
            bye_sent: None,
            bye_heard: false,
            leave_at: NEVER,
            gaps_expected: false,
            limited: false,
        }
    }

    /// Plans what is sent; without it the call is silent.
    pub(super) fn plan(&mut self, plan: &CallPlan, rng: &mut Rng, now: Timestamp) {
        let setup_ends = now + plan.setup_time();
        if let Some(gap) = plan.gap {
            // A beat of its own for each user, so that all together make an even stream.
            self.beat = plan.steady_from.max(setup_ends) + gap.mul_f64(rng.next_fraction());
        }
        if self.initiator {
            self.step = CallStep::Description(RelayKind::Offer);
            self.next_send = now;
        } else {
            self.step = CallStep::AwaitOffer;
            self.ideal = self.beat;
            self.next_send = on_grid(self.beat, plan.gap.unwrap_or_default());
        }
    }

    /// The offer has come: answer it.
    pub(super) fn offered(&mut self, now: Timestamp) {
        if self.step == CallStep::AwaitOffer {
            self.step = CallStep::Description(RelayKind::Answer);
            self.next_send = now;
        }
    }

    /// The message to send now, if its moment has come; goes on to the next one.
    pub(super) fn due(
        &mut self,
        plan: &CallPlan,
        now: Timestamp,
    ) -> Option<(RelayKind, Timestamp)> {
        let intended = self.next_send;
        if intended > now || self.bye_sent.is_some() {
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
                self.ideal = self.next_beat(plan, intended);
                self.next_send = on_grid(self.ideal, plan.gap.unwrap_or_default());
                return self.due(plan, now);
            }
            CallStep::AwaitOffer | CallStep::Steady => {
                self.step = CallStep::Steady;
                if let Some(gap) = plan.gap {
                    // Each beat is counted from the first, so that rounding never adds up.
                    self.ideal = self.ideal + gap;
                    self.next_send = on_grid(self.ideal, gap);
                }
                RelayKind::Signal
            }
        };
        Some((kind, intended))
    }

    /// The first beat at or after `from`.
    fn next_beat(&self, plan: &CallPlan, from: Timestamp) -> Timestamp {
        let Some(gap) = plan.gap else { return NEVER };
        let gap = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX).max(1);
        let behind = from.as_nanos().saturating_sub(self.beat.as_nanos());
        let beat = self.beat.as_nanos().saturating_add(behind.div_ceil(gap) * gap);
        Timestamp::from_nanos(beat)
    }
}

/// Rounds a planned moment up to the grid. One wake-up then serves all users whose moments are
/// the same: at thousands of messages a second that halves the generator's system calls, and
/// the plan is as fixed beforehand as without it. Beats closer than the grid are left alone.
fn on_grid(moment: Timestamp, gap: Duration) -> Timestamp {
    if gap < GRID {
        return moment;
    }
    let grid = GRID.as_nanos() as u64;
    Timestamp::from_nanos(moment.as_nanos().div_ceil(grid).saturating_mul(grid))
}
