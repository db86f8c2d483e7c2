//! The parameters of a run, chosen by its seed: size, limits, kinds and frequency of faults, and
//! kinds of user actions.
//!
//! Each run disables whole classes of faults and actions at random (Groce et al., "Swarm testing",
//! 2012), so that frequent ones do not hide the effects of rare ones.

use super::random::Random;
use std::num::NonZeroU32;
use std::time::Duration;
use switchboard::config::Limits;
use switchboard::limits::DEFAULT_LIVENESS_WINDOW;

/// The time within which the partner of a member that has been silent since the match is told, with
/// the default liveness window.
pub(crate) const DEAD_ROOM_TIME: Duration = Duration::from_secs(12);

/// The parameters of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunPlan {
    pub(crate) shards: usize,
    /// Connections at the same time.
    pub(crate) users: usize,
    /// Connections in all.
    pub(crate) total_users: usize,
    pub(crate) steps: usize,
    /// The longest time between two steps.
    pub(crate) step_micros: usize,
    pub(crate) limits: Limits,
    pub(crate) queues: &'static [&'static str],
    /// Size of the server's send buffer for a connection.
    pub(crate) send_buffer: usize,
    /// Size of the server's receive buffer for a connection.
    pub(crate) receive_buffer: usize,
    /// Length of an HTTP document.
    pub(crate) document_bytes: usize,
    /// Whether the server shuts down during the run.
    pub(crate) drains: bool,
    /// Whether connections are counted by address.
    pub(crate) by_address: bool,
    /// Whether clients connect through a trusted proxy. Most connections have a PROXY header.
    pub(crate) proxied: bool,
    /// Whether each shard has its own descriptor table.
    pub(crate) private_tables: bool,
    pub(crate) faults: Faults,
    pub(crate) actions: Vec<(UserAction, u32)>,
}

/// Probability of each fault in thousandths, where it can occur.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) short_write: u32,
    pub(crate) tiny_arrival: u32,
    pub(crate) urgent: u32,
    pub(crate) stall_shard: u32,
    pub(crate) stall_matcher: u32,
    pub(crate) late_commands: u32,
    pub(crate) clock_jump: u32,
    pub(crate) watch_fails: u32,
    /// A shard has no free descriptor for a migrating session.
    pub(crate) table_full: u32,
}

/// An action that a user takes at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserAction {
    Find,
    FindElsewhere,
    Cancel,
    Leave,
    Relay,
    CarelessRelay,
    StaleRelay,
    Flood,
    Ping,
    SocketPing,
    Pong,
    Nonsense,
    Storm,
    Close,
    HalfClose,
    Vanish,
    Reset,
    StopReading,
    ReadAgain,
    LoseNetwork,
    RegainNetwork,
    BreakProtocol,
    Http,
}

/// Actions with their largest weights. The first group is never disabled.
const ALWAYS: [(UserAction, u32); 4] = [
    (UserAction::Find, 30),
    (UserAction::Relay, 60),
    (UserAction::ReadAgain, 5),
    (UserAction::RegainNetwork, 3),
];
const SOMETIMES: [(UserAction, u32); 19] = [
    (UserAction::FindElsewhere, 10),
    (UserAction::Cancel, 10),
    (UserAction::Leave, 10),
    (UserAction::CarelessRelay, 20),
    (UserAction::StaleRelay, 10),
    (UserAction::Flood, 20),
    (UserAction::Ping, 10),
    (UserAction::SocketPing, 10),
    (UserAction::Pong, 5),
    (UserAction::Nonsense, 10),
    (UserAction::Storm, 20),
    (UserAction::Close, 4),
    (UserAction::HalfClose, 4),
    (UserAction::Vanish, 4),
    (UserAction::Reset, 4),
    (UserAction::StopReading, 10),
    (UserAction::LoseNetwork, 6),
    (UserAction::BreakProtocol, 3),
    (UserAction::Http, 20),
];

fn millis(random: &mut Random, least: usize, most: usize) -> Duration {
    Duration::from_millis(random.between(least, most) as u64)
}

impl RunPlan {
    pub(crate) fn new(random: &mut Random) -> Self {
        let users = random.pick(&[2, 3, 3, 4, 6, 8, 12, 20, 60]);
        let mut actions = ALWAYS.to_vec();
        for (action, most) in SOMETIMES {
            if random.chance(600) {
                actions.push((action, random.between(1, most as usize) as u32));
            }
        }
        let mut limits = limits(random, users);
        let is_limited = is_limited(&limits);
        let by_address = limits.max_connections_per_address.is_some()
            || limits.max_matches_per_minute_per_address.is_some();
        if is_limited {
            // A run is long enough for a session to be evicted.
            limits.liveness_window = Duration::from_millis(random.pick(&[0, 50, 100, 200]));
        }
        let mut plan = RunPlan {
            shards: random.pick(&[1, 2, 2, 2, 3, 4]),
            users,
            total_users: users * random.between(1, 4),
            steps: random.between(600, 2600),
            step_micros: if is_limited { 3000 } else { random.pick(&[5, 50, 500, 3000]) },
            queues: random.pick(&[&["default"][..], &["en"], &["default", "en", "a:b_c-d.e"]]),
            send_buffer: random.pick(&[300, 1500, 1500, 8192, 65_536]),
            receive_buffer: random.pick(&[600, 4096, 65_536, 400_000]),
            document_bytes: random.pick(&[2, 300, 20_000]),
            drains: random.chance(250),
            by_address,
            proxied: random.chance(250),
            private_tables: random.chance(500),
            limits,
            faults: faults(random),
            actions,
        };
        if plan.has_reported_dead_rooms() {
            plan.last_longer_than_a_dead_room(random);
        }
        plan
    }

    /// Whether a dead room must be reported within [`DEAD_ROOM_TIME`].
    pub(crate) fn has_reported_dead_rooms(&self) -> bool {
        self.limits.liveness_window == DEFAULT_LIVENESS_WINDOW
    }

    /// The run lasts longer than [`DEAD_ROOM_TIME`]. No shard stalls, each runs often, and the
    /// silence limit ends no such room earlier.
    fn last_longer_than_a_dead_room(&mut self, random: &mut Random) {
        self.shards = self.shards.min(2);
        self.steps = random.between(3000, 5000);
        self.step_micros = 10_000;
        self.faults.stall_shard = 0;
        self.faults.clock_jump = 0;
        self.limits.silence_limit += 2 * DEAD_ROOM_TIME;
    }
}

fn is_limited(limits: &Limits) -> bool {
    limits.max_connections < 100 || limits.max_connections_per_address.is_some()
}

impl RunPlan {
    /// Whether a session may be closed with 1001 when it was silent for this time, and the name of
    /// the event.
    pub(crate) fn closes_after(&self, silent: Duration, in_room: bool) -> (bool, &'static str) {
        let limits = &self.limits;
        let silent_windows =
            |count| !limits.liveness_window.is_zero() && silent >= count * limits.liveness_window;
        if silent >= limits.silence_limit {
            (true, "close: 1001")
        } else if in_room && silent_windows(2) {
            (true, "close: 1001 after a match")
        } else {
            (self.is_limited() && silent_windows(1), "close: 1001 to make space")
        }
    }

    /// Whether there is a limit on connections that a run can reach.
    pub(crate) fn is_limited(&self) -> bool {
        is_limited(&self.limits)
    }

    /// Whether there is a limit on matches.
    pub(crate) fn limits_matches(&self) -> bool {
        let limits = &self.limits;
        let per_address = limits.max_matches_per_minute_per_address;
        limits.max_matches_per_minute.is_some() || per_address.is_some()
    }

    /// A small run without faults, for scripts.
    pub(crate) fn without_faults(shards: usize, drains: bool) -> Self {
        let limits = Limits {
            close_timeout: Duration::from_millis(200),
            handshake_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            ping_interval: Duration::from_millis(500),
            silence_limit: Duration::from_secs(1),
            rematch_delay: Duration::ZERO,
            drain_timeout: Duration::from_millis(100),
            ..Limits::default()
        };
        RunPlan {
            shards,
            users: 8,
            total_users: 8,
            steps: 0,
            step_micros: 1,
            limits,
            queues: &["default"],
            send_buffer: 65_536,
            receive_buffer: 65_536,
            document_bytes: 2,
            drains,
            by_address: false,
            proxied: false,
            private_tables: false,
            faults: Faults::default(),
            actions: ALWAYS.to_vec(),
        }
    }
}

fn limits(random: &mut Random, users: usize) -> Limits {
    let max_message_bytes = random.pick(&[1024, 1024, 4096, 65_536]);
    let ping_interval = millis(random, 100, 4000);
    let rate = NonZeroU32::new(random.between(1, 8) as u32);
    let matches = NonZeroU32::new(random.pick(&[1, 20, 600]));
    let matches_of_address = NonZeroU32::new(random.pick(&[1, 20, 600]));
    let per_address = NonZeroU32::new(random.between(1, users) as u32);
    Limits {
        max_connections: if random.chance(150) { users.div_ceil(2) as u32 } else { 10_000 },
        max_connections_per_address: per_address.filter(|_| random.chance(150)),
        max_new_connections_per_address: None,
        max_messages_per_second: rate.filter(|_| random.chance(300)),
        max_matches_per_minute: matches.filter(|_| random.chance(150)),
        max_matches_per_minute_per_address: matches_of_address.filter(|_| random.chance(150)),
        max_message_bytes,
        max_unsent_bytes: (max_message_bytes + 10).max(4096) * random.pick(&[1, 1, 2, 16]),
        close_timeout: millis(random, 20, 2000),
        handshake_timeout: millis(random, 200, 5000),
        // Shorter than the time for a head, or longer.
        idle_timeout: ping_interval,
        ping_interval,
        silence_limit: ping_interval + millis(random, 50, 4000),
        // A simulated network may take any time to deliver a message.
        message_timeout: Duration::ZERO,
        liveness_window: Duration::from_millis(random.pick(&[0, 100, 500, 2000, 5000])),
        max_head_bytes: random.pick(&[1024, 16_384]),
        rematch_delay: Duration::from_millis(random.pick(&[0, 5, 100, 800, 2000])),
        drain_timeout: Duration::from_millis(random.pick(&[0, 50, 1000, 5000])),
    }
}

fn faults(random: &mut Random) -> Faults {
    let mut often = |most: usize| {
        if random.chance(500) { random.between(1, most) as u32 } else { 0 }
    };
    Faults {
        short_write: often(300),
        tiny_arrival: often(900),
        urgent: often(100),
        stall_shard: often(8),
        stall_matcher: often(8),
        late_commands: often(800),
        clock_jump: often(4),
        watch_fails: often(120),
        table_full: often(300),
    }
}
