//! The counters of each thread. A set of counters belongs to the thread that writes it (see
//! [`super::counter`]) and shares no cache line with another thread's.

use super::counter::{Counter, Gauge, Labelled, LabelledFigures};
use super::expected_wait::RoomWaits;
use super::histogram::{Histogram, HistogramFigures};
use super::labels::{EndReason, RejectReason};
use crate::wire::message::ErrorCode;
use serde::Serialize;

/// Declares [`ShardCounters`], and [`ShardFigures`] with its values at one time, from one list, so
/// that neither can lack a field of the other.
macro_rules! shard_counters {
    (
        gauges { $($(#[doc = $gauge_doc:literal])+ $gauge:ident,)+ }
        counters { $($(#[doc = $counter_doc:literal])+ $counter:ident,)+ }
        labelled { $($(#[doc = $label_doc:literal])+ $labelled:ident: $label:ty,)+ }
        histograms { $($(#[doc = $histogram_doc:literal])+ $histogram:ident,)+ }
    ) => {
        /// The counters of one shard. Only that shard's thread writes them.
        #[derive(Debug)]
        #[repr(align(128))]
        pub struct ShardCounters {
            $($(#[doc = $gauge_doc])+ pub $gauge: Gauge,)+
            $($(#[doc = $counter_doc])+ pub $counter: Counter,)+
            $($(#[doc = $label_doc])+ pub $labelled: Labelled<$label>,)+
            $($(#[doc = $histogram_doc])+ pub $histogram: Histogram,)+
            /// Sessions of this shard waiting in each queue of `--stats-queue`, in its order.
            pub waiting_by_queue: Vec<Gauge>,
            /// Rooms of this shard by queue: those of `--stats-queue` in its order, then `default`.
            /// The last one is not used if `--stats-queue` names `default`.
            pub room_waits: Vec<RoomWaits>,
            /// The CPU that this shard is pinned to; -1 if it is not pinned.
            pub pinned_cpu: Gauge,
            /// The id of this shard's thread, if the thread has a descriptor table of its own;
            /// -1 otherwise.
            pub table_thread: Gauge,
        }

        impl ShardCounters {
            /// All zero, for `stats_queues` named queues.
            pub fn new(stats_queues: usize) -> Self {
                ShardCounters {
                    $($gauge: Gauge::default(),)+
                    $($counter: Counter::default(),)+
                    $($labelled: Labelled::default(),)+
                    $($histogram: Histogram::default(),)+
                    waiting_by_queue: (0..stats_queues).map(|_| Gauge::default()).collect(),
                    room_waits: (0..=stats_queues).map(|_| RoomWaits::default()).collect(),
                    pinned_cpu: Gauge::at(-1),
                    table_thread: Gauge::at(-1),
                }
            }

            /// Gives every counter a different value, from `first` upwards.
            #[cfg(test)]
            pub(super) fn fill(&self, first: u32) {
                let mut next = first..;
                $(self.$gauge.set(next.next().map_or(0, i64::from));)+
                $(self.$counter.add(next.next().map_or(0, u64::from));)+
                $(
                    for &label in <$label as super::Label>::ALL {
                        next.next();
                        for _ in first..next.start {
                            self.$labelled.increment(label);
                        }
                    }
                )+
                $(
                    for micros in first..next.next().unwrap_or(first) {
                        self.$histogram.record(std::time::Duration::from_micros(micros.into()));
                    }
                )+
                for gauge in &self.waiting_by_queue {
                    gauge.set(next.next().map_or(0, i64::from));
                }
            }

            /// All values now; any thread.
            pub fn read(&self) -> ShardFigures {
                ShardFigures {
                    $($gauge: self.$gauge.get(),)+
                    $($counter: self.$counter.get(),)+
                    $($labelled: self.$labelled.read(),)+
                    $($histogram: self.$histogram.read(),)+
                    waiting_by_queue: self.waiting_by_queue.iter().map(Gauge::get).collect(),
                }
            }
        }

        /// The values of a [`ShardCounters`] at one time, or the sum over several shards.
        #[derive(Clone, Debug, Default, Serialize)]
        pub struct ShardFigures {
            $($(#[doc = $gauge_doc])+ pub $gauge: i64,)+
            $($(#[doc = $counter_doc])+ pub $counter: u64,)+
            $($(#[doc = $label_doc])+ pub $labelled: LabelledFigures<$label>,)+
            $($(#[doc = $histogram_doc])+ #[serde(skip)] pub $histogram: HistogramFigures,)+
            /// Sessions waiting in each queue of `--stats-queue`, in its order.
            #[serde(skip)]
            pub waiting_by_queue: Vec<i64>,
        }

        impl ShardFigures {
            /// The serialised fields with their documentation, for tuning/REFERENCE.md.
            pub(super) const FIELDS: &'static [(&'static str, &'static str)] = &[
                $((stringify!($gauge), concat!($($gauge_doc),+)),)+
                $((stringify!($counter), concat!($($counter_doc),+)),)+
                $((stringify!($labelled), concat!($($label_doc),+)),)+
            ];

            /// Adds another shard's values.
            pub fn merge(&mut self, other: &Self) {
                $(self.$gauge += other.$gauge;)+
                $(self.$counter = self.$counter.wrapping_add(other.$counter);)+
                $(self.$labelled.merge(&other.$labelled);)+
                $(self.$histogram.merge(&other.$histogram);)+
                if self.waiting_by_queue.len() < other.waiting_by_queue.len() {
                    self.waiting_by_queue.resize(other.waiting_by_queue.len(), 0);
                }
                for (mine, more) in self.waiting_by_queue.iter_mut().zip(&other.waiting_by_queue) {
                    *mine += more;
                }
            }
        }
    };
}

shard_counters! {
    gauges {
        /// Connections in the shard's slab, HTTP and WebSocket.
        connections,
        /// WebSocket sessions that are open.
        sessions,
        /// Sessions that wait for a partner.
        waiting,
        /// Rooms of two.
        rooms,
        /// Bytes for clients that are queued in the server because the kernel has not taken them yet.
        unsent_bytes,
        /// Bytes of messages and request heads that have arrived only in part.
        held_bytes,
        /// 1 while accepting is paused because file descriptors have run out, 0 otherwise.
        accept_paused,
        /// Sessions sent to another shard that has not acknowledged them yet.
        migrations_in_flight,
    }
    counters {
        /// Connections accepted.
        accepted,
        /// Sessions opened: upgrades that were granted.
        sessions_opened,
        /// Messages received, including those that were refused.
        messages_received,
        /// Messages relayed to the other member of a room.
        messages_relayed,
        /// Payload bytes of the relayed messages, without frame headers.
        bytes_relayed,
        /// Bytes that recv(2) returned.
        wire_bytes_received,
        /// Bytes that send(2) accepted.
        wire_bytes_sent,
        /// Rooms created on this shard.
        matches,
        /// Pairings that created no room because one of the two sessions had ended, had stopped
        /// waiting or was silent.
        matches_failed,
        /// Times that a waiting session was withheld from matching because its client had been
        /// silent for the liveness window.
        match_requests_withheld,
        /// Ping frames sent.
        pings_sent,
        /// Of these, those to find clients that are gone while connections are refused.
        probes_sent,
        /// Sessions that migrated to another shard.
        migrated_out,
        /// Sessions that migrated here from another shard.
        migrated_in,
        /// Migrations to this shard, decided by the matcher, that have ended: completed or failed.
        migrations_in_settled,
        /// Migrations from this shard, decided by the matcher, that have ended: completed or failed.
        migrations_out_settled,
        /// Migrations to this shard that it rejected for lack of descriptors or memory.
        migrations_rejected,
        /// HTTP requests answered, including upgrades and refusals.
        http_requests,
        /// Messages dropped because they exceeded the message rate or the rate of state changes.
        messages_dropped,
        /// Failed calls of accept(2), without those that found no pending connection.
        accept_errors,
        /// Connections that the server reset because their client had not closed them within the
        /// close timeout. Each also counts under the reason for which it was closed.
        close_timeouts,
        /// Connections that the server reset when it closed them, because their client had not
        /// acknowledged what it was sent. Each also counts under the reason for which it was closed.
        unacknowledged_resets,
        /// Iterations of the event loop.
        iterations,
        /// CPU time that the shard's thread has used, in nanoseconds. Updated about ten times a
        /// second while the shard has connections.
        cpu_nanos,
    }
    labelled {
        /// Connections that ended, by reason.
        closed: EndReason,
        /// HTTP requests refused, by reason.
        rejected: RejectReason,
        /// Messages refused, by error code.
        errors: ErrorCode,
    }
    histograms {
        /// Time from `find_match` to `match_found`, for each of the two users.
        match_wait,
        /// Time from the return of the poll that reported a relayed message to the return of the
        /// send(2) that relayed it.
        relay_time,
        /// Time from the return of one poll to the start of the next.
        iteration_time,
    }
}

/// The counters of the matcher. Only the matcher's thread writes them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct MatcherCounters {
    /// Commands received.
    pub commands: Counter,
    /// Tickets in all queues.
    pub tickets_waiting: Gauge,
    /// Queues with at least one ticket.
    pub queues: Gauge,
    /// Pairings made; some create no room (see [`ShardCounters::matches_failed`]).
    pub matches: Counter,
    /// CPU time that its thread has used, in nanoseconds.
    pub cpu_nanos: Counter,
    /// Time from the return of one poll to the start of the next.
    pub iteration_time: Histogram,
}
