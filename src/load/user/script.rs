//! What the users of a run do: their script and its limits. Pure values.

use super::SILENT_TIME;
use crate::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A time that is never reached.
pub const NEVER: Timestamp = Timestamp::from_nanos(u64::MAX);

/// The rules of a run, the same for every user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserRules {
    /// What a user does once it has a session.
    pub script: UserScript,
    /// What the users of the sample do instead, if there is a sample.
    pub sample_script: Option<UserScript>,
    /// The queues in which users ask for a match; at least one.
    pub queues: Vec<WeightedQueue>,
    /// What users do beside calls that end in good order.
    pub habits: UserHabits,
    /// How long a user may wait before it is overdue.
    pub match_timeout: Duration,
    /// How long an answer or a partner's final message may take.
    pub message_timeout: Duration,
    /// A start later than this after its planned time counts as late.
    pub late_after: Duration,
    /// Relay times are recorded from this time on; before it, the run warms up.
    pub measure_from: Timestamp,
}

impl UserRules {
    /// The queue of a user. Users `2n` and `2n + 1` have the same queue, so that in a population of
    /// pairs each user has a partner. Queues of equal weight are used in turn; otherwise successive
    /// pairs are spread by the golden section, so that any number of them has nearly the wanted
    /// shares.
    pub fn queue_of(&self, number: u64) -> u16 {
        const GOLDEN_SECTION: u64 = 0x9e37_79b9_7f4a_7c15;
        let count = self.queues.len() as u64;
        let is_even = |(index, queue): (usize, &WeightedQueue)| {
            (queue.up_to * count as f64 - (index + 1) as f64).abs() < 1e-6
        };
        if self.queues.iter().enumerate().all(is_even) {
            return (number / 2 % count) as u16;
        }
        let place = (number / 2).wrapping_mul(GOLDEN_SECTION) >> 11;
        let share = place as f64 / (1u64 << 53) as f64;
        let found = self.queues.iter().position(|queue| share < queue.up_to);
        found.unwrap_or(self.queues.len() - 1) as u16
    }

    /// Gives the users queues of their own: those of one of several generators.
    pub fn append_to_queues(&mut self, suffix: &str) {
        self.queues.iter_mut().for_each(|queue| queue.name.push_str(suffix));
    }

    /// The script of a user, which may be part of the sample.
    pub fn script_for(&self, in_sample: bool) -> &UserScript {
        self.sample_script.as_ref().filter(|_| in_sample).unwrap_or(&self.script)
    }

    /// Whether any of the users sends messages.
    pub fn sends_messages(&self) -> bool {
        [false, true]
            .into_iter()
            .any(|in_sample| matches!(self.script_for(in_sample), UserScript::Calls(_)))
    }
}

/// A queue and the share of users in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedQueue {
    /// Its name.
    pub name: String,
    /// Share of the users in this queue and those before it in the list.
    pub up_to: f64,
}

/// What users of [`UserScript::Calls`] do beside calls that end in good order. Shares are from 0
/// to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserHabits {
    /// Share of match requests that are withdrawn once; then the user asks again.
    pub cancel_share: f64,
    /// How long a user waits for a match before it leaves; `None`: until it is matched.
    pub patience: Option<Duration>,
    /// Share of calls after which the initiator resets its connection.
    pub reset_share: f64,
    /// Share of calls after which the initiator reads and sends nothing more, and keeps its
    /// connection open.
    pub silent_share: f64,
    /// Share of users that come back after they have left.
    pub return_share: f64,
    /// How long they stay away.
    pub return_after: Duration,
}

impl UserHabits {
    /// The most connections of silent users at the same time to be expected, if `users` users are in calls
    /// all the time, which last for `talk` on average, and the load lasts for `load`. In each call two users
    /// talk, and at most one of them goes silent.
    pub fn silent_connections(&self, users: u64, talk: Duration, load: Duration) -> u64 {
        let calls_per_s = users as f64 / 2.0 / talk.as_secs_f64().max(1e-3);
        let open_s = SILENT_TIME.min(load).as_secs_f64();
        (calls_per_s * self.silent_share * open_s).ceil() as u64
    }
}

/// What a user does once it has a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum UserScript {
    /// Keeps the session open and pings.
    Hold {
        /// Time between pings.
        ping_every: Duration,
    },
    /// Asks for a match at fixed times, at the same time as all other users.
    Rounds {
        /// Start of the first round.
        first: Timestamp,
        /// Time from one round to the next.
        every: Duration,
        /// Number of rounds.
        rounds: u32,
    },
    /// Asks for a match at once, then talks to its partner.
    Calls(CallPlan),
}

/// What happens in a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallPlan {
    /// Number of ICE candidates that each side sends after its offer or answer.
    pub candidates: u32,
    /// Time between two messages of one user after the setup; `None`: no messages.
    pub gap: Option<Duration>,
    /// Messages start at this time, or when the call is set up if that is later.
    pub steady_from: Timestamp,
    /// Shortest call.
    pub talk_min: Duration,
    /// Longest call.
    pub talk_max: Duration,
    /// Share of users that ask for the next partner after a call; the others leave.
    pub next_share: f64,
}

impl CallPlan {
    /// Time between two ICE candidates, as browsers gather them.
    pub const CANDIDATE_GAP: Duration = Duration::from_millis(20);

    /// Time from the start of a call until it is set up.
    pub fn setup_time(&self) -> Duration {
        Self::CANDIDATE_GAP * (self.candidates + 2)
    }
}

impl UserScript {
    /// Share of the time between two rounds that matched users stay in their room.
    const ROOM_SHARE: f64 = 0.6;

    /// Start of round number `round`, or [`NEVER`] when there is no such round.
    pub fn round_start(&self, round: u32) -> Timestamp {
        match self {
            UserScript::Rounds { first, every, rounds } if round < *rounds => {
                *first + every.saturating_mul(round)
            }
            _ => NEVER,
        }
    }

    /// How long users stay in the room of a round.
    pub fn round_room_time(&self) -> Duration {
        match self {
            UserScript::Rounds { every, .. } => every.mul_f64(Self::ROOM_SHARE),
            UserScript::Hold { .. } | UserScript::Calls(_) => Duration::ZERO,
        }
    }
}
