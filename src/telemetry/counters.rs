//! What each thread counts. A set of counters belongs to the thread that writes it (see
//! [`super::counter`]) and has cache lines of its own.

use super::counter::{Counter, Gauge, Labelled, LabelledFigures};
use super::histogram::{Histogram, HistogramFigures};
use super::labels::{EndReason, RejectReason};
use crate::wire::message::ErrorCode;
use serde::Serialize;

/// Declares [`ShardCounters`] and [`ShardFigures`], its values of one moment, from one list, so
/// that neither can have a figure that the other lacks.
macro_rules! shard_counters {
    (
        gauges { $($(#[doc = $gauge_doc:literal])+ $gauge:ident,)+ }
        counters { $($(#[doc = $counter_doc:literal])+ $counter:ident,)+ }
        labelled { $($(#[doc = $label_doc:literal])+ $labelled:ident: $label:ty,)+ }
        histograms { $($(#[doc = $histogram_doc:literal])+ $histogram:ident,)+ }
    ) => {
        /// What one shard counts. Only that shard's thread writes it.
        #[derive(Debug)]
        #[repr(align(128))]
        pub struct ShardCounters {
            $($(#[doc = $gauge_doc])+ pub $gauge: Gauge,)+
            $($(#[doc = $counter_doc])+ pub $counter: Counter,)+
            $($(#[doc = $label_doc])+ pub $labelled: Labelled<$label>,)+
            $($(#[doc = $histogram_doc])+ pub $histogram: Histogram,)+
            /// Sessions of this shard waiting in each queue of `--stats-queue`, in its order.
            pub waiting_by_queue: Vec<Gauge>,
            /// The CPU this shard is pinned to; -1 if it is not.
            pub pinned_cpu: Gauge,
            /// The number of this shard's thread, if the thread has a descriptor table of its
            /// own; else -1.
            pub table_thread: Gauge,
        }

        impl ShardCounters {
            /// All at zero, with room for `stats_queues` queues.
            pub fn new(stats_queues: usize) -> Self {
                ShardCounters {
                    $($gauge: Gauge::default(),)+
                    $($counter: Counter::default(),)+
                    $($labelled: Labelled::default(),)+
                    $($histogram: Histogram::default(),)+
                    waiting_by_queue: (0..stats_queues).map(|_| Gauge::default()).collect(),
                    pinned_cpu: Gauge::at(-1),
                    table_thread: Gauge::at(-1),
                }
            }

            /// Gives every figure a value of its own, from `first` upwards.
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

            /// All values of this moment; any thread.
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

        /// What a [`ShardCounters`] held at one moment, or the sum over several shards.
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
            /// Adds another shard's figures.
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
        /// Connections that are upgraded and whose session lives.
        sessions,
        /// Sessions that wait for a partner.
        waiting,
        /// Rooms of two.
        rooms,
        /// Bytes written for clients that the kernel has not taken yet.
        unsent_bytes,
        /// Bytes of messages and request heads that have only partly arrived.
        held_bytes,
        /// 1 while accepting pauses because descriptors have run out, else 0.
        accept_paused,
        /// Sessions sent to another shard that has not acknowledged them yet.
        migrations_in_flight,
    }
    counters {
        /// Connections accepted.
        accepted,
        /// Sessions opened: upgrades that were granted.
        sessions_opened,
        /// Messages received, those that were refused included.
        messages_received,
        /// Messages passed on to the other member of a room.
        messages_relayed,
        /// Their payload bytes, frame headers not counted.
        bytes_relayed,
        /// Bytes that recv returned.
        wire_bytes_received,
        /// Bytes that send took.
        wire_bytes_sent,
        /// Rooms made on this shard.
        matches,
        /// Pairings that came to nothing because one of the two was gone.
        matches_failed,
        /// Sessions moved to another shard.
        migrated_out,
        /// Sessions taken over from another shard.
        migrated_in,
        /// Moves decided by the matcher that have brought a session here, or failed.
        migrations_in_settled,
        /// Moves decided by the matcher that have taken a session from here, or failed.
        migrations_out_settled,
        /// Sessions that came from another shard and could not be taken in here.
        migrations_rejected,
        /// HTTP requests answered, upgrades and refusals included.
        http_requests,
        /// Messages dropped because they were over the message rate.
        messages_dropped,
        /// Failed calls of accept, those that found no connection waiting not counted.
        accept_errors,
        /// Connections that were cut because their client had not ended them when the close
        /// timeout was over. Each counts under the reason for which it was closed, too.
        close_timeouts,
        /// Turns of the loop.
        iterations,
        /// CPU time this shard's thread has used, in nanoseconds. Its driver raises it about
        /// ten times a second while it has connections (see [`crate::sys::clock::thread_cpu`]).
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
        /// From `find_match` to `match_found`, for each of the two.
        match_wait,
        /// From the return of the poll that reported a relayed message to the return of the
        /// send that passed it on.
        relay_time,
        /// From the return of one poll to the start of the next.
        iteration_time,
    }
}

/// What the matcher counts. Only the matcher's thread writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct MatcherCounters {
    /// Letters received.
    pub commands: Counter,
    /// Tickets in all queues.
    pub tickets_waiting: Gauge,
    /// Queues with at least one ticket.
    pub queues: Gauge,
    /// Pairings made; some come to nothing (see [`ShardCounters::matches_failed`]).
    pub matches: Counter,
    /// CPU time its thread has used, in nanoseconds.
    pub cpu_nanos: Counter,
    /// From the return of one poll to the start of the next.
    pub iteration_time: Histogram,
}
