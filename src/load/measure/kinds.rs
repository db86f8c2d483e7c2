//! What there is to measure: the times, the counts and the faults, each with its name in reports
//! and targets. Pure.

/// Declares an enum whose variants index an array, with the name used in reports and targets.
macro_rules! indexed {
    ($(#[$meta:meta])* $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $text:literal, )* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$vmeta])* $variant, )* }

        impl $name {
            /// Every one, in order.
            pub const ALL: &[$name] = &[$( $name::$variant, )*];

            /// Its name in reports and logs.
            pub const fn name(self) -> &'static str {
                match self { $( $name::$variant => $text, )* }
            }

            /// The one with this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}

indexed! {
    /// Times that are measured, in microseconds.
    TimeMetric {
        /// From the moment a user should arrive to its `session` message.
        Connect = "connect",
        /// From the moment a match should be asked for to `match_found`.
        Match = "match",
        /// From the moment a message should be sent to its arrival at the partner.
        Relay = "relay",
        /// From the moment it was in fact sent: what the server and the network took.
        RelayService = "relay_service",
        /// From a `ping` to its `pong`.
        Ping = "ping",
        /// From the moment a request should be sent to the end of the answer.
        Http = "http",
        /// From the moment it was in fact sent.
        HttpService = "http_service",
        /// How late the generator itself started what it had planned.
        Late = "late",
    }
}

indexed! {
    /// Things that are counted.
    CountMetric {
        /// Users that should have arrived by now.
        Arrivals = "arrivals",
        /// Users whose `session` message came.
        Connected = "connected",
        /// Connections that never became a session.
        ConnectFailed = "connect_failed",
        /// Sessions that ended as the tester wanted.
        ClosedAsPlanned = "ended_well",
        /// Sessions that had answered every ping when the run ended.
        Alive = "alive",
        /// `find_match` messages.
        Asked = "asked",
        /// `match_found` messages that were asked for.
        Matched = "matched",
        /// Users who waited too long though somebody else did too, or was matched before them.
        Unmatched = "unmatched",
        /// Calls that went to their planned end.
        CallsCompleted = "calls_done",
        /// Calls that ended because the partner's connection did.
        CallsInterrupted = "calls_cut",
        /// Relayed messages sent.
        Sent = "sent",
        /// Relayed messages that came to the right partner, each counted once.
        Received = "received",
        /// Messages that came out of a room between leaving it and the server's answer.
        ReceivedWhileLeaving = "tail",
        /// Pings sent.
        Pings = "pings",
        /// Pongs received.
        Pongs = "pongs",
        /// HTTP requests that should have been sent by now.
        HttpDue = "http_due",
        /// HTTP answers with status 200.
        HttpOk = "http_ok",
        /// HTTP requests without such an answer.
        HttpFailed = "http_failed",
        /// Things started by the schedule.
        Starts = "starts",
        /// Of these, started later than allowed.
        LateStarts = "late_starts",
        /// Bytes read from sockets.
        BytesIn = "bytes_in",
        /// Bytes written to sockets.
        BytesOut = "bytes_out",
    }
}

indexed! {
    /// What can go wrong.
    LoadFault {
        /// A message that never came, though its sender and receiver stayed.
        Lost = "lost",
        /// A message that came twice.
        Duplicated = "duplicated",
        /// A message that came after a later one.
        Reordered = "reordered",
        /// A message whose checksum is wrong.
        Corrupted = "corrupted",
        /// A message that came to somebody it was not for.
        Misrouted = "misrouted",
        /// A message that came after `peer_left`.
        AfterEnd = "after_end",
        /// A user who is in two rooms, or a room with more than two.
        DoubleMatched = "double_matched",
        /// A user matched with itself.
        SelfMatched = "self_matched",
        /// A match that only one of the two was told of.
        OneSidedMatch = "one_sided_match",
        /// A room with no initiator, or two.
        BadInitiator = "bad_initiator",
        /// A room that its two members know by different names.
        RoomMismatch = "room_mismatch",
        /// A message that came before the match.
        BeforeMatch = "before_match",
        /// A member of a room who was not told that the other had left it.
        MissingPeerLeft = "end_untold",
        /// A match that nobody had asked for.
        UnrequestedMatch = "unasked_match",
        /// A user waited too long for a match while another one did too, or while those who had
        /// asked later were matched.
        NeverMatched = "never_matched",
        /// The server answered nothing at all for a while.
        Stalled = "stalled",
        /// The server vanished in the middle of the run.
        Crashed = "crashed",
        /// The server's memory or descriptors grow without end.
        Leaked = "leaked",
        /// A message from the server that breaks the protocol.
        BadMessage = "bad_message",
        /// A frame from the server that breaks RFC 6455.
        BadFrame = "bad_frame",
        /// The connection was refused.
        ConnectRefused = "connect_refused",
        /// The connection was reset before the session began.
        ConnectReset = "connect_reset",
        /// No session within the time allowed.
        ConnectTimeout = "connect_timeout",
        /// Any other failure to connect.
        ConnectOther = "connect_other",
        /// The upgrade was answered with 503: the server is full or shutting down.
        UpgradeBusy = "upgrade_503",
        /// The upgrade was answered with something else than 101 or 503.
        UpgradeRefused = "upgrade_refused",
        /// An open session was closed by the server.
        ClosedByServer = "closed_by_server",
        /// An open session's connection broke.
        ConnectionLost = "connection_lost",
        /// A pong did not come in time.
        PingTimeout = "ping_timeout",
        /// Any other answer did not come in time.
        AnswerTimeout = "answer_timeout",
        /// The server answered `rate_limited`.
        RateLimited = "rate_limited",
        /// The server answered `draining`.
        Draining = "draining",
        /// The server refused a message with any other error.
        Refused = "refused",
        /// An HTTP answer with another status than 200.
        HttpStatus = "http_status",
        /// An HTTP connection that broke, or an answer that is none.
        HttpBroken = "http_broken",
        /// No HTTP answer within the time allowed.
        HttpTimeout = "http_timeout",
        /// This machine has no more descriptors for the generator.
        NoDescriptors = "generator_no_descriptors",
        /// This machine has no more ports for the generator.
        NoPorts = "generator_no_ports",
    }
}

impl LoadFault {
    /// Whether one occurrence convicts the server: it broke a guarantee of the protocol, and
    /// nothing else could have caused it.
    pub const fn convicts(self) -> bool {
        (self as usize) <= (LoadFault::BadFrame as usize)
    }

    /// Whether only a clock tells it: what came too late for a generator that did not get its
    /// turn looks like what never came.
    pub const fn needs_time(self) -> bool {
        matches!(
            self,
            LoadFault::Lost
                | LoadFault::OneSidedMatch
                | LoadFault::MissingPeerLeft
                | LoadFault::NeverMatched
                | LoadFault::Stalled
        )
    }

    /// Whether it is a connection that never became a session.
    pub const fn is_of_connecting(self) -> bool {
        (self as usize) >= (LoadFault::ConnectRefused as usize)
            && (self as usize) <= (LoadFault::UpgradeRefused as usize)
    }

    /// Whether the generator is to blame, not the server.
    pub const fn is_own(self) -> bool {
        matches!(self, LoadFault::NoDescriptors | LoadFault::NoPorts)
    }

    /// One sentence for the report.
    pub const fn meaning(self) -> &'static str {
        match self {
            LoadFault::Lost => "messages never came, though sender and receiver stayed in the room",
            LoadFault::Duplicated => "messages came more than once",
            LoadFault::Reordered => "messages came after later ones of the same sender",
            LoadFault::Corrupted => "messages came changed: their checksum is wrong",
            LoadFault::Misrouted => "messages came to somebody they were not for",
            LoadFault::AfterEnd => "messages came out of a room that had ended",
            LoadFault::DoubleMatched => {
                "a user was in two rooms, or a room had more than two members"
            }
            LoadFault::SelfMatched => "a user was matched with itself",
            LoadFault::OneSidedMatch => "a match was announced to only one of its two members",
            LoadFault::BadInitiator => "a room had no initiator, or two",
            LoadFault::RoomMismatch => "the two members of a match were told different rooms",
            LoadFault::BeforeMatch => "messages came before the match that they belong to",
            LoadFault::MissingPeerLeft => {
                "a member of a room was not told that the other one had left"
            }
            LoadFault::UnrequestedMatch => "a match came to somebody who had not asked for one",
            LoadFault::NeverMatched => "users waited in the same queue and were not matched",
            LoadFault::Stalled => "the server answered nothing at all for a while",
            LoadFault::Crashed => "the server vanished in the middle of the run",
            LoadFault::Leaked => "the server's memory or descriptors grow without end",
            LoadFault::BadMessage => "the server sent messages that break the protocol",
            LoadFault::BadFrame => "the server sent frames that break RFC 6455",
            LoadFault::ConnectRefused => "connections were refused",
            LoadFault::ConnectReset => "connections were reset before the session began",
            LoadFault::ConnectTimeout => "connections did not become sessions in time",
            LoadFault::ConnectOther => "connections failed for another reason",
            LoadFault::UpgradeBusy => "the upgrade was refused with 503: full, or shutting down",
            LoadFault::UpgradeRefused => "the upgrade was refused",
            LoadFault::ClosedByServer => "the server closed sessions that should have stayed open",
            LoadFault::ConnectionLost => "connections of open sessions broke",
            LoadFault::PingTimeout => "pongs did not come in time",
            LoadFault::AnswerTimeout => "other answers did not come in time",
            LoadFault::RateLimited => "the server's rate limit dropped messages",
            LoadFault::Draining => "the server is shutting down",
            LoadFault::Refused => "the server refused messages",
            LoadFault::HttpStatus => "HTTP answers had another status than 200",
            LoadFault::HttpBroken => "HTTP connections broke or answers were malformed",
            LoadFault::HttpTimeout => "HTTP answers did not come in time",
            LoadFault::NoDescriptors => "the generator ran out of file descriptors",
            LoadFault::NoPorts => "the generator ran out of ports",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for metric in TimeMetric::ALL {
            assert_eq!(TimeMetric::named(metric.name()), Some(*metric));
        }
        for count in CountMetric::ALL {
            assert_eq!(CountMetric::named(count.name()), Some(*count));
        }
        for fault in LoadFault::ALL {
            assert_eq!(LoadFault::named(fault.name()), Some(*fault));
        }
    }
}
