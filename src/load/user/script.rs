//! What all users of a run do. Pure values.

use crate::timestamp::Timestamp;
use std::time::Duration;

/// A moment that never comes.
pub const NEVER: Timestamp = Timestamp::from_nanos(u64::MAX);

/// The rules of a run, the same for every user.
#[derive(Clone, Debug)]
pub struct UserRules {
    /// What a user does once it has a session.
    pub script: UserScript,
    /// What users of the sample do instead, where there is one.
    pub sample: Option<UserScript>,
    /// The queue it asks for.
    pub queue: String,
    /// How long a user may wait before it is overdue.
    pub match_timeout: Duration,
    /// How long an answer or a partner's last message may take.
    pub message_timeout: Duration,
    /// A start later than this after its intended moment counts as late.
    pub late_after: Duration,
    /// Relay times count from this moment on: before, it is warming up.
    pub measure_from: Timestamp,
}

impl UserRules {
    /// What a user does, who is of the sample or not.
    pub fn script_for(&self, sampled: bool) -> &UserScript {
        self.sample.as_ref().filter(|_| sampled).unwrap_or(&self.script)
    }

    /// Whether any of the users are to send messages.
    pub fn talk(&self) -> bool {
        [false, true]
            .into_iter()
            .any(|sampled| matches!(self.script_for(sampled), UserScript::Calls(_)))
    }
}

/// What a user does once it has a session.
#[derive(Clone, Debug, PartialEq)]
pub enum UserScript {
    /// Stays, and shows that it is alive.
    Hold {
        /// Time between pings.
        ping_every: Duration,
    },
    /// Asks for a match at fixed instants, together with everybody else.
    Rounds {
        /// The first instant.
        first: Timestamp,
        /// From one to the next.
        every: Duration,
        /// How many.
        rounds: u32,
    },
    /// Asks for a match at once, then does what a call does.
    Calls(CallPlan),
}

/// What happens in a call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallPlan {
    /// ICE candidates that each side sends after its offer or answer.
    pub candidates: u32,
    /// Time between two messages of one user after that; `None`: there are none.
    pub gap: Option<Duration>,
    /// The messages begin at this moment if the call is set up by then.
    pub steady_from: Timestamp,
    /// Shortest call.
    pub talk_min: Duration,
    /// Longest call.
    pub talk_max: Duration,
    /// Share of users who ask for the next partner after a call; the others leave.
    pub next_share: f64,
}

impl CallPlan {
    /// Time between two ICE candidates, as a browser finds them.
    pub const CANDIDATE_GAP: Duration = Duration::from_millis(20);

    /// Time from the beginning of a call until it is set up.
    pub fn setup_time(&self) -> Duration {
        Self::CANDIDATE_GAP * (self.candidates + 2)
    }
}

impl UserScript {
    /// Of the time between two rounds, the share that matched users stay together.
    const STAY: f64 = 0.6;

    /// The instant of round number `round`.
    pub fn round_at(&self, round: u32) -> Timestamp {
        match self {
            UserScript::Rounds { first, every, rounds } if round < *rounds => {
                *first + every.saturating_mul(round)
            }
            _ => NEVER,
        }
    }

    /// How long a room of a round lasts.
    pub fn round_stay(&self) -> Duration {
        match self {
            UserScript::Rounds { every, .. } => every.mul_f64(Self::STAY),
            UserScript::Hold { .. } | UserScript::Calls(_) => Duration::ZERO,
        }
    }
}
