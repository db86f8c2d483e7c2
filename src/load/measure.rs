//! What is measured: counts, faults and histograms, of constant size. Pure.
//!
//! Each thread fills a [`Recorder`] of its own; once an interval it is handed over and merged.
//! Nothing here grows with the length of a run or the number of users.

use crate::moment::Moment;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Duration;

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
    Metric {
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
    Count {
        /// Users that should have arrived by now.
        Arrivals = "arrivals",
        /// Users whose `session` message came.
        Connected = "connected",
        /// Connections that never became a session.
        ConnectFailed = "connect_failed",
        /// Sessions that ended as the tester wanted.
        EndedWell = "ended_well",
        /// Sessions that had answered every ping when the run ended.
        Alive = "alive",
        /// `find_match` messages.
        Asked = "asked",
        /// `match_found` messages that were asked for.
        Matched = "matched",
        /// Users who waited too long though somebody else did too.
        Unmatched = "unmatched",
        /// Calls that went to their planned end.
        CallsDone = "calls_done",
        /// Calls that ended because the partner's connection did.
        CallsCut = "calls_cut",
        /// Relayed messages sent.
        Sent = "sent",
        /// Relayed messages that came to the right partner, each counted once.
        Received = "received",
        /// Messages that came out of a room between leaving it and the server's answer.
        Tail = "tail",
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
    Fault {
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
        OneSided = "one_sided_match",
        /// A room with no initiator, or two.
        BadInitiator = "bad_initiator",
        /// A room that its two members know by different names.
        RoomMismatch = "room_mismatch",
        /// A message that came before the match.
        BeforeMatch = "before_match",
        /// A member of a room who was not told that the other had left it.
        EndUntold = "end_untold",
        /// A match that nobody had asked for.
        Unasked = "unasked_match",
        /// Two users waited too long for a match at the same time.
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

impl Fault {
    /// Whether one occurrence convicts the server: it broke a guarantee of the protocol, and
    /// nothing else could have caused it.
    pub const fn convicts(self) -> bool {
        (self as usize) <= (Fault::BadFrame as usize)
    }

    /// Whether only a clock tells it: what came too late for a generator that did not get its
    /// turn looks like what never came.
    pub const fn needs_time(self) -> bool {
        matches!(
            self,
            Fault::Lost | Fault::OneSided | Fault::EndUntold | Fault::NeverMatched | Fault::Stalled
        )
    }

    /// Whether it is a connection that never became a session.
    pub const fn is_of_connecting(self) -> bool {
        (self as usize) >= (Fault::ConnectRefused as usize)
            && (self as usize) <= (Fault::UpgradeRefused as usize)
    }

    /// Whether the generator is to blame, not the server.
    pub const fn is_own(self) -> bool {
        matches!(self, Fault::NoDescriptors | Fault::NoPorts)
    }

    /// One sentence for the report.
    pub const fn meaning(self) -> &'static str {
        match self {
            Fault::Lost => "messages never came, though sender and receiver stayed in the room",
            Fault::Duplicated => "messages came more than once",
            Fault::Reordered => "messages came after later ones of the same sender",
            Fault::Corrupted => "messages came changed: their checksum is wrong",
            Fault::Misrouted => "messages came to somebody they were not for",
            Fault::AfterEnd => "messages came out of a room that had ended",
            Fault::DoubleMatched => "a user was in two rooms, or a room had more than two members",
            Fault::SelfMatched => "a user was matched with itself",
            Fault::OneSided => "a match was announced to only one of its two members",
            Fault::BadInitiator => "a room had no initiator, or two",
            Fault::RoomMismatch => "the two members of a match were told different rooms",
            Fault::BeforeMatch => "messages came before the match that they belong to",
            Fault::EndUntold => "a member of a room was not told that the other one had left",
            Fault::Unasked => "a match came to somebody who had not asked for one",
            Fault::NeverMatched => "users waited in the same queue and were not matched",
            Fault::Stalled => "the server answered nothing at all for a while",
            Fault::Crashed => "the server vanished in the middle of the run",
            Fault::Leaked => "the server's memory or descriptors grow without end",
            Fault::BadMessage => "the server sent messages that break the protocol",
            Fault::BadFrame => "the server sent frames that break RFC 6455",
            Fault::ConnectRefused => "connections were refused",
            Fault::ConnectReset => "connections were reset before the session began",
            Fault::ConnectTimeout => "connections did not become sessions in time",
            Fault::ConnectOther => "connections failed for another reason",
            Fault::UpgradeBusy => "the upgrade was refused with 503: full, or shutting down",
            Fault::UpgradeRefused => "the upgrade was refused",
            Fault::ClosedByServer => "the server closed sessions that should have stayed open",
            Fault::ConnectionLost => "connections of open sessions broke",
            Fault::PingTimeout => "pongs did not come in time",
            Fault::AnswerTimeout => "other answers did not come in time",
            Fault::RateLimited => "the server's rate limit dropped messages",
            Fault::Draining => "the server is shutting down",
            Fault::Refused => "the server refused messages",
            Fault::HttpStatus => "HTTP answers had another status than 200",
            Fault::HttpBroken => "HTTP connections broke or answers were malformed",
            Fault::HttpTimeout => "HTTP answers did not come in time",
            Fault::NoDescriptors => "the generator ran out of file descriptors",
            Fault::NoPorts => "the generator ran out of ports",
        }
    }
}

/// How often a fault was seen, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// Nanoseconds from the start of the run to the first time.
    pub first_ns: u64,
    /// Nanoseconds from the start of the run to the last time.
    pub last_ns: u64,
    /// The HTTP status that came with the first one; if it had none, that of a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl Seen {
    fn merge(&mut self, other: &Seen) {
        if other.count == 0 {
            return;
        }
        let is_first = self.count == 0 || other.first_ns < self.first_ns;
        self.status =
            if is_first { other.status.or(self.status) } else { self.status.or(other.status) };
        self.first_ns =
            if self.count == 0 { other.first_ns } else { self.first_ns.min(other.first_ns) };
        self.last_ns = self.last_ns.max(other.last_ns);
        self.count += other.count;
    }
}

/// Longest time that a histogram tells apart; anything longer counts as this.
const LONGEST_US: u64 = 120_000_000;

/// Counts, faults and histograms of one thread or of a whole run.
#[derive(Clone, Debug)]
pub struct Recorder {
    counts: [u64; Count::ALL.len()],
    faults: [Seen; Fault::ALL.len()],
    times: Vec<Histogram<u64>>,
}

impl Default for Recorder {
    fn default() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LONGEST_US, 3)
                .expect("because three digits over eight decades is a valid histogram")
        };
        Recorder {
            counts: [0; Count::ALL.len()],
            faults: [Seen::default(); Fault::ALL.len()],
            times: Metric::ALL.iter().map(|_| histogram()).collect(),
        }
    }
}

impl Recorder {
    /// Counts one.
    #[inline]
    pub fn count(&mut self, what: Count) {
        self.counts[what as usize] += 1;
    }

    /// Counts several.
    #[inline]
    pub fn add(&mut self, what: Count, many: u64) {
        self.counts[what as usize] += many;
    }

    /// Records a time.
    #[inline]
    pub fn time(&mut self, metric: Metric, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US);
        self.times[metric as usize].saturating_record(micros.max(1));
    }

    /// Records the time from one moment to another; for the path of every message, without
    /// the arithmetic of durations.
    #[inline]
    pub fn between(&mut self, metric: Metric, from: Moment, to: Moment) {
        let micros = to.as_nanos().saturating_sub(from.as_nanos()) / 1000;
        self.times[metric as usize].saturating_record(micros.max(1));
    }

    /// Records a fault at `at`, counted from the start of the run.
    pub fn fault(&mut self, what: Fault, at: Moment) {
        self.faults_at(what, 1, at);
    }

    /// Records `many` faults at `at`.
    pub fn faults_at(&mut self, what: Fault, many: u64, at: Moment) {
        let at = at.as_nanos();
        let seen = Seen { count: many, first_ns: at, last_ns: at, status: None };
        self.faults[what as usize].merge(&seen);
    }

    /// The fault just recorded came with this HTTP status; only the first one is kept.
    pub fn note_status(&mut self, what: Fault, status: u16) {
        self.faults[what as usize].status.get_or_insert(status);
    }

    /// Restores what an earlier recorder had seen of a fault.
    pub fn restore_fault(&mut self, what: Fault, seen: Seen) {
        self.faults[what as usize].merge(&seen);
    }

    /// Moves what was seen of faults to a later time: this recorder began `offset_ns` after
    /// the run did.
    pub fn delay_faults(&mut self, offset_ns: u64) {
        for seen in self.faults.iter_mut().filter(|seen| seen.count > 0) {
            seen.first_ns += offset_ns;
            seen.last_ns += offset_ns;
        }
    }

    /// How many.
    pub fn get(&self, what: Count) -> u64 {
        self.counts[what as usize]
    }

    /// What was seen of a fault.
    pub fn seen(&self, what: Fault) -> Seen {
        self.faults[what as usize]
    }

    /// One sentence for the report, with the status that came first if any came.
    pub fn meaning(&self, what: Fault) -> String {
        match self.seen(what).status {
            Some(status) => format!("{}, first with {status}", what.meaning()),
            None => what.meaning().to_owned(),
        }
    }

    /// The histogram of a time, in microseconds.
    pub fn histogram(&self, metric: Metric) -> &Histogram<u64> {
        &self.times[metric as usize]
    }

    /// The histogram of a time, to be filled from a log.
    pub fn histogram_mut(&mut self, metric: Metric) -> &mut Histogram<u64> {
        &mut self.times[metric as usize]
    }

    /// Adds what another recorder holds.
    pub fn merge(&mut self, other: &Recorder) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        for (mine, theirs) in self.faults.iter_mut().zip(&other.faults) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.times.iter_mut().zip(&other.times) {
            if !theirs.is_empty() {
                mine.add(theirs).expect("because all histograms have the same bounds");
            }
        }
    }

    /// Makes it as new, without giving memory back.
    pub fn clear(&mut self) {
        self.counts = [0; Count::ALL.len()];
        self.faults = [Seen::default(); Fault::ALL.len()];
        self.times.iter_mut().filter(|h| !h.is_empty()).for_each(Histogram::reset);
    }
}

/// The figures that people read off a histogram, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many times were recorded.
    pub count: u64,
    /// Mean.
    pub mean_ms: f64,
    /// Half were at most this.
    pub p50_ms: f64,
    /// 90 % were at most this.
    pub p90_ms: f64,
    /// 99 % were at most this.
    pub p99_ms: f64,
    /// 99.9 % were at most this.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Quantiles {
    /// Reads a histogram of microseconds; `None` if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |q| histogram.value_at_quantile(q) as f64 / 1000.0;
        (!histogram.is_empty()).then(|| Quantiles {
            count: histogram.len(),
            mean_ms: histogram.mean() / 1000.0,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1000.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_recorders_is_the_same_as_filling_one() {
        let at = Moment::from_nanos;
        let (mut a, mut b, mut whole) =
            (Recorder::default(), Recorder::default(), Recorder::default());
        for i in 1..=1000u64 {
            let part = if i % 3 == 0 { &mut a } else { &mut b };
            for recorder in [part, &mut whole] {
                recorder.count(Count::Sent);
                recorder.time(Metric::Relay, Duration::from_micros(i * 7));
                recorder.fault(Fault::Lost, at(i));
            }
        }
        a.merge(&b);
        assert_eq!(a.get(Count::Sent), 1000);
        assert_eq!(
            a.seen(Fault::Lost),
            Seen { count: 1000, first_ns: 1, last_ns: 1000, status: None }
        );
        let quantiles = |r: &Recorder| Quantiles::of(r.histogram(Metric::Relay));
        assert_eq!(quantiles(&a), quantiles(&whole));
        a.clear();
        assert_eq!((a.get(Count::Sent), quantiles(&a)), (0, None));
        assert_eq!(a.seen(Fault::Lost), Seen::default());
    }

    /// Whichever thread saw it first, and though another one may have seen it without a status.
    #[test]
    fn a_fault_is_told_with_the_status_that_came_first() {
        let refused = |at, status| {
            let mut recorder = Recorder::default();
            recorder.fault(Fault::UpgradeRefused, Moment::from_nanos(at));
            if let Some(status) = status {
                recorder.note_status(Fault::UpgradeRefused, status);
                recorder.note_status(Fault::UpgradeRefused, 500);
            }
            recorder
        };
        let parts = [refused(2, Some(404)), refused(1, None), refused(3, Some(400))];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut whole = Recorder::default();
            order.iter().for_each(|nth| whole.merge(&parts[*nth]));
            let told = whole.meaning(Fault::UpgradeRefused);
            assert!(told.starts_with("the upgrade was refused, first with 40"), "{told}");
        }
        let (mut early, late) = (refused(3, Some(400)), refused(2, Some(404)));
        early.merge(&late);
        assert_eq!(early.meaning(Fault::UpgradeRefused), "the upgrade was refused, first with 404");
        assert_eq!(refused(1, None).meaning(Fault::UpgradeRefused), "the upgrade was refused");
    }

    #[test]
    fn names_are_unique_and_lead_back() {
        for metric in Metric::ALL {
            assert_eq!(Metric::named(metric.name()), Some(*metric));
        }
        for count in Count::ALL {
            assert_eq!(Count::named(count.name()), Some(*count));
        }
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(*fault));
        }
    }

    #[test]
    fn what_is_longer_than_the_longest_counts_as_the_longest() {
        let mut recorder = Recorder::default();
        recorder.time(Metric::Match, Duration::from_secs(100_000));
        let max = Quantiles::of(recorder.histogram(Metric::Match)).unwrap().max_ms;
        assert!((120_000.0..132_000.0).contains(&max), "{max}");
    }
}
