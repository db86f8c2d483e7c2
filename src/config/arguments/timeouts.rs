//! The flags under "Timeouts".

use super::values::Trimmed;
use crate::config::HumanDuration;
use crate::limits;
use clap::Args;
use std::time::Duration;

/// Time limits.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Timeouts")]
pub struct TimeoutArguments {
    /// How long a connection that is being closed may stay open
    ///
    /// Counted from the server's Close frame; after an HTTP response that ends the connection, from
    /// the last byte that the client acknowledged, at most 12 times. Then the connection is reset.
    #[arg(long, env = "SWITCHBOARD_CLOSE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_CLOSE_TIMEOUT))]
    pub close_timeout: HumanDuration,

    /// How long a request head may take to arrive completely
    ///
    /// The time is for the whole head; single bytes do not extend it. After it the server answers
    /// 408. A connection on which the client does not read the response is closed after the same time.
    #[arg(long, env = "SWITCHBOARD_HANDSHAKE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_HANDSHAKE_TIMEOUT))]
    pub handshake_timeout: HumanDuration,

    /// How long an HTTP connection is kept open for the next request
    ///
    /// Longer than the time after which a load balancer closes connections that it does not use:
    /// otherwise it may send a request while the server closes the connection. Such a connection counts
    /// for --max-connections, and is closed at once when that limit, or the one of its address,
    /// refuses another. One above a limit is closed after --handshake-timeout.
    #[arg(long, env = "SWITCHBOARD_IDLE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_IDLE_TIMEOUT))]
    pub idle_timeout: HumanDuration,

    /// Silence after which a client is pinged
    ///
    /// Any byte that arrives ends the silence, and so does reading from the backlog. Must be
    /// shorter than --silence-limit, and should be shorter than the idle timeout of every proxy on
    /// the way.
    #[arg(long, env = "SWITCHBOARD_PING_INTERVAL", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_PING_INTERVAL))]
    pub ping_interval: HumanDuration,

    /// Silence after which a client is closed with 1001
    #[arg(long, env = "SWITCHBOARD_SILENCE_LIMIT", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_SILENCE_LIMIT))]
    pub silence_limit: HumanDuration,

    /// Silence after which a waiting user is not matched until the client sends something
    ///
    /// A waiting user is pinged twice in this time, keeps the position in the queue, and is passed
    /// over while silent. 0s matches users however long they have been silent, and turns off what
    /// else depends on this time: a partner that is silent from the match on is reported only after
    /// --silence-limit, and a full server closes no session that owes an answer.
    #[arg(long, env = "SWITCHBOARD_LIVENESS_WINDOW", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_LIVENESS_WINDOW))]
    pub liveness_window: HumanDuration,

    /// How long a message may take to arrive completely, from its first byte
    ///
    /// After it the client is closed with 1008. Further bytes do not extend the time. It is also
    /// for frame headers, fragments and /echo. 0s is no limit.
    #[arg(long, env = "SWITCHBOARD_MESSAGE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_MESSAGE_TIMEOUT))]
    pub message_timeout: HumanDuration,

    /// How long a user is not matched with one of the last three partners if others wait
    ///
    /// 0s matches them again at once if they are next in the queue.
    #[arg(long, env = "SWITCHBOARD_REMATCH_DELAY", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_REMATCH_DELAY))]
    pub rematch_delay: HumanDuration,

    /// How long rooms may stay open after SIGTERM or SIGINT
    ///
    /// Idle and waiting users are closed with 1012 during the first half of this time, rooms at
    /// its end. A second signal, a second or more later, ends the process at once.
    #[arg(long, env = "SWITCHBOARD_DRAIN_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_DRAIN_TIMEOUT))]
    pub drain_timeout: HumanDuration,

    /// How long a session can be resumed after its connection was lost; this version takes only 0s
    ///
    /// 0s turns resuming off: a session ends with its connection.
    #[arg(long, env = "SWITCHBOARD_RESUME_WINDOW", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(Duration::ZERO))]
    pub resume_window: HumanDuration,
}
