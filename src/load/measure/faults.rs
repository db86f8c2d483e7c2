//! The faults that a run can reveal, and what each one proves. Pure.

indexed_enum! {
    /// A fault of the server, the network or the generator. The order matters: see
    /// [`LoadFault::proves_violation`] and [`LoadFault::is_connect_failure`].
    LoadFault {
        /// A message never arrived, though its sender and receiver stayed.
        Lost = "lost",
        /// A message arrived twice.
        Duplicated = "duplicated",
        /// A message arrived after a later one.
        Reordered = "reordered",
        /// A message has a wrong checksum.
        Corrupted = "corrupted",
        /// A message arrived at a user that it was not meant for.
        Misrouted = "misrouted",
        /// A message arrived after `peer_left`.
        AfterEnd = "after_end",
        /// A user is in two rooms, or a room has more than two members.
        DoubleMatched = "double_matched",
        /// A user was matched with itself.
        SelfMatched = "self_matched",
        /// A match was announced to only one member.
        OneSidedMatch = "one_sided_match",
        /// A room has no initiator, or two.
        BadInitiator = "bad_initiator",
        /// The two members of a match received different room ids.
        RoomMismatch = "room_mismatch",
        /// A message arrived before `match_found`.
        BeforeMatch = "before_match",
        /// A member left a room, and the other one did not receive `peer_left`.
        MissingPeerLeft = "end_untold",
        /// A user was matched without having asked.
        UnrequestedMatch = "unasked_match",
        /// A user waited too long for a match while another one did too, or while users that had
        /// asked later were matched.
        NeverMatched = "never_matched",
        /// The server answered nothing at all for some time.
        Stalled = "stalled",
        /// The server vanished during the run without announcing a shutdown.
        Crashed = "crashed",
        /// The server's memory or number of descriptors grows without limit.
        Leaked = "leaked",
        /// A message from the server breaks the protocol.
        BadMessage = "bad_message",
        /// A frame from the server breaks RFC 6455.
        BadFrame = "bad_frame",
        /// A connection was refused.
        ConnectRefused = "connect_refused",
        /// A connection was reset before the session began.
        ConnectReset = "connect_reset",
        /// The server closed a connection with a Close frame before the session began.
        ConnectClosed = "connect_closed",
        /// A connection did not become a session in time.
        ConnectTimeout = "connect_timeout",
        /// Any other failure to connect.
        ConnectOther = "connect_other",
        /// The upgrade was answered with 503: the server is full or shutting down.
        UpgradeBusy = "upgrade_503",
        /// The upgrade was answered neither with 101 nor with 503.
        UpgradeRefused = "upgrade_refused",
        /// The server closed an open session.
        ClosedByServer = "closed_by_server",
        /// The connection of an open session broke.
        ConnectionLost = "connection_lost",
        /// A pong did not arrive in time.
        PingTimeout = "ping_timeout",
        /// Any other answer did not arrive in time.
        AnswerTimeout = "answer_timeout",
        /// The server answered `rate_limited`.
        RateLimited = "rate_limited",
        /// The server answered `peer_busy`.
        PeerBusy = "peer_busy",
        /// The server answered `too_many_matches`.
        TooManyMatches = "too_many_matches",
        /// The server answered `not_in_room` to a message that was sent in a room.
        NotInRoom = "not_in_room",
        /// The server answered `draining`.
        Draining = "draining",
        /// The server refused a message with any other error.
        Refused = "refused",
        /// An HTTP answer had a status other than 200.
        HttpStatus = "http_status",
        /// An HTTP connection broke, or an answer was malformed.
        HttpBroken = "http_broken",
        /// An HTTP answer did not arrive in time.
        HttpTimeout = "http_timeout",
        /// The server was shut down during the run.
        ShutDown = "shut_down",
        /// The server, which was there before, could not be reached when a run began.
        Unreachable = "server_unreachable",
        /// The run ended before the generator could start a user whose time had come.
        NotStarted = "generator_not_started",
        /// The generator ran out of file descriptors.
        NoDescriptors = "generator_no_descriptors",
        /// The generator ran out of ports.
        NoPorts = "generator_no_ports",
    }
}

impl LoadFault {
    /// Whether one occurrence proves that the server broke a guarantee of the protocol, because
    /// nothing else could have caused it.
    pub const fn proves_violation(self) -> bool {
        (self as usize) <= (LoadFault::BadFrame as usize)
    }

    /// Whether only a timeout reveals it. A generator that did not get CPU time cannot distinguish
    /// a late message from a missing one.
    pub const fn depends_on_timing(self) -> bool {
        matches!(
            self,
            LoadFault::Lost
                | LoadFault::OneSidedMatch
                | LoadFault::MissingPeerLeft
                | LoadFault::NeverMatched
                | LoadFault::Stalled
        )
    }

    /// Whether the server refused a message, and not because it shuts down.
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            LoadFault::RateLimited
                | LoadFault::PeerBusy
                | LoadFault::TooManyMatches
                | LoadFault::NotInRoom
                | LoadFault::Refused
        )
    }

    /// Whether a connection did not become a session.
    pub const fn is_connect_failure(self) -> bool {
        (self as usize) >= (LoadFault::ConnectRefused as usize)
            && (self as usize) <= (LoadFault::UpgradeRefused as usize)
    }

    /// Whether an HTTP request got no answer with status 200 because of the fault.
    pub const fn fails_request(self) -> bool {
        matches!(self, LoadFault::HttpStatus | LoadFault::HttpBroken | LoadFault::HttpTimeout)
            || self.is_connect_failure()
    }

    /// Whether the fault ended a session that should have stayed open.
    pub const fn ends_session(self) -> bool {
        matches!(self, LoadFault::ClosedByServer | LoadFault::ConnectionLost)
    }

    /// Whether the causes of the fault are close codes.
    pub const fn has_close_codes(self) -> bool {
        matches!(self, LoadFault::ClosedByServer | LoadFault::ConnectClosed)
    }

    /// Whether the generator, not the server, is the cause.
    pub const fn is_generator_fault(self) -> bool {
        matches!(self, LoadFault::NotStarted | LoadFault::NoDescriptors | LoadFault::NoPorts)
    }

    /// One sentence for the report.
    pub const fn meaning(self) -> &'static str {
        match self {
            LoadFault::Lost => {
                "messages never arrived, though sender and receiver stayed in the room"
            }
            LoadFault::Duplicated => "messages arrived more than once",
            LoadFault::Reordered => "messages arrived after later ones of the same sender",
            LoadFault::Corrupted => "messages arrived with a wrong checksum",
            LoadFault::Misrouted => "messages arrived at users that they were not meant for",
            LoadFault::AfterEnd => "messages arrived from a room that had ended",
            LoadFault::DoubleMatched => {
                "a user was in two rooms, or a room had more than two members"
            }
            LoadFault::SelfMatched => "a user was matched with itself",
            LoadFault::OneSidedMatch => "a match was announced to only one of its two members",
            LoadFault::BadInitiator => "a room had no initiator, or two",
            LoadFault::RoomMismatch => "the two members of a match received different room ids",
            LoadFault::BeforeMatch => "messages arrived before the match that they belong to",
            LoadFault::MissingPeerLeft => {
                "a member of a room received no `peer_left` after the other one had left"
            }
            LoadFault::UnrequestedMatch => "users were matched that had not asked for a match",
            LoadFault::NeverMatched => "users waited in the same queue and were not matched",
            LoadFault::Stalled => "the server answered nothing at all for some time",
            LoadFault::Crashed => "the server crashed during the run",
            LoadFault::Leaked => "the server's memory or descriptors grow without limit",
            LoadFault::BadMessage => "the server sent messages that break the protocol",
            LoadFault::BadFrame => "the server sent frames that break RFC 6455",
            LoadFault::ConnectRefused => "connections were refused",
            LoadFault::ConnectReset => "connections were reset before the session began",
            LoadFault::ConnectClosed => "the server closed connections before the session began",
            LoadFault::ConnectTimeout => "connections did not become sessions in time",
            LoadFault::ConnectOther => "connections failed for another reason",
            LoadFault::UpgradeBusy => {
                "the upgrade was refused with 503: the server is full or shutting down"
            }
            LoadFault::UpgradeRefused => "the upgrade was refused",
            LoadFault::ClosedByServer => "the server closed sessions that should have stayed open",
            LoadFault::ConnectionLost => "connections of open sessions broke",
            LoadFault::PingTimeout => "pongs did not arrive in time",
            LoadFault::AnswerTimeout => "other answers did not arrive in time",
            LoadFault::RateLimited => {
                "the server's rate limit dropped messages; it says so once a second for each user"
            }
            LoadFault::PeerBusy => {
                "the server refused messages because their receivers read too slowly"
            }
            LoadFault::TooManyMatches => "the server's rate of matches refused match requests",
            LoadFault::NotInRoom => "the server refused messages of a room that has not ended",
            LoadFault::Draining => "the server is shutting down",
            LoadFault::Refused => "the server refused messages",
            LoadFault::HttpStatus => "HTTP answers had a status other than 200",
            LoadFault::HttpBroken => "HTTP connections broke, or answers were malformed",
            LoadFault::HttpTimeout => "HTTP answers did not arrive in time",
            LoadFault::ShutDown => "the server was shut down",
            LoadFault::Unreachable => "the server could not be reached any more when the run began",
            LoadFault::NotStarted => "users never started, because the generator was too late",
            LoadFault::NoDescriptors => "the generator ran out of file descriptors",
            LoadFault::NoPorts => "the generator ran out of ports",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name() {
        for fault in LoadFault::ALL {
            assert_eq!(LoadFault::from_name(fault.name()), Some(*fault));
        }
    }
}
