//! What the users of a run do: their script and its limits. Pure values.

use crate::timestamp::Timestamp;
use std::time::Duration;

/// A time that is never reached.
pub const NEVER: Timestamp = Timestamp::from_nanos(u64::MAX);

/// The rules of a run, the same for every user.
#[derive(Clone, Debug)]
pub struct UserRules {
    /// What a user does once it has a session.
    pub script: UserScript,
    /// What the users of the sample do instead, if there is a sample.
    pub sample_script: Option<UserScript>,
    /// The queue in which users ask for a match.
    pub queue: String,
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

/// What a user does once it has a session.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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
