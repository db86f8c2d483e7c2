//! Values that need two readings (rates) or system calls (memory, descriptors, CPU time). The main
//! thread takes them once a second and stores them where any thread can read them.

use super::counter::{FloatGauge, Gauge};
use super::counters::ShardFigures;
use super::expected_wait::{self, ExpectedWaits, WaitEstimator};
use super::{Telemetry, known, rounded};
use crate::sys::descriptor_tables;
use crate::sys::process::{ProcessProbe, ProcessUsage};
use crate::timestamp::Timestamp;
use std::time::Duration;

/// Two samples that are closer than this give no rate.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// Declares [`SampledRates`] and how they are computed from two totals.
macro_rules! rates {
    ($($rate:ident,)+) => {
        /// Rates per second over the time between the last two samples (about a second). Each is
        /// the rate of the counter of the same name in [`super::ShardCounters`], summed over the
        /// shards.
        #[derive(Debug, Default)]
        pub struct SampledRates {
            $(
                #[doc = concat!("`", stringify!($rate), "` per second.")]
                pub $rate: FloatGauge,
            )+
        }

        impl SampledRates {
            /// The names of all rates.
            pub(super) const NAMES: &'static [&'static str] = &[$(stringify!($rate),)+];

            fn set(&self, before: &ShardFigures, after: &ShardFigures, seconds: f64) {
                $(
                    let more = after.$rate.saturating_sub(before.$rate);
                    self.$rate.set(rounded(more as f64 / seconds, 1));
                )+
            }

            /// All rates with their names.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
                [$((stringify!($rate), self.$rate.get()),)+].into_iter()
            }
        }
    };
}

rates! {
    accepted,
    sessions_opened,
    messages_received,
    messages_relayed,
    bytes_relayed,
    wire_bytes_received,
    wire_bytes_sent,
    matches,
    http_requests,
}

/// The last sample. Only a [`Sampler`] writes it.
#[derive(Debug)]
pub struct ProcessSample {
    /// When it was taken, in nanoseconds since the clock's origin; -1 before the first.
    taken_nanos: Gauge,
    /// Rates per second.
    pub per_second: SampledRates,
    /// CPU use of the process, in per cent of one CPU.
    pub cpu_percent: FloatGauge,
    /// CPU use of each shard's thread, in per cent of one CPU.
    pub shard_cpu_percent: Vec<FloatGauge>,
    /// How long a user has to wait, by queue.
    pub expected_waits: ExpectedWaits,
    /// Open descriptors in the private table of each shard; -1 for a shard without one.
    shard_descriptors: Vec<Gauge>,
    cpu_user_nanos: Gauge,
    cpu_system_nanos: Gauge,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    threads: Gauge,
    descriptors: Gauge,
}

impl ProcessSample {
    /// For `queues` queues with an expected wait.
    pub(super) fn new(shards: usize, queues: usize) -> Self {
        let unknown = || Gauge::at(-1);
        ProcessSample {
            taken_nanos: unknown(),
            per_second: SampledRates::default(),
            cpu_percent: FloatGauge::default(),
            shard_cpu_percent: (0..shards).map(|_| FloatGauge::default()).collect(),
            expected_waits: ExpectedWaits::unknown(queues),
            shard_descriptors: (0..shards).map(|_| unknown()).collect(),
            cpu_user_nanos: Gauge::default(),
            cpu_system_nanos: Gauge::default(),
            resident_bytes: unknown(),
            virtual_bytes: unknown(),
            threads: unknown(),
            descriptors: unknown(),
        }
    }

    /// Age of the sample; `None` before the first.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        Some(now.since(Timestamp::from_nanos(known(&self.taken_nanos)?)))
    }

    /// Open descriptors in the private table of a shard, if it has one.
    pub fn descriptors_of_shard(&self, shard: usize) -> Option<u64> {
        known(self.shard_descriptors.get(shard)?)
    }

    /// Open descriptors in the fullest descriptor table.
    pub fn fullest_table(&self) -> Option<u64> {
        let shards = self.shard_descriptors.iter().filter_map(known);
        // The rest is in the table that the other threads share.
        let others = known(&self.descriptors)?.saturating_sub(shards.clone().sum());
        Some(shards.fold(others, u64::max))
    }

    /// What the kernel reported about the process.
    pub fn process(&self) -> ProcessUsage {
        let time = |gauge: &Gauge| Duration::from_nanos(known(gauge).unwrap_or(0));
        ProcessUsage {
            cpu_user: time(&self.cpu_user_nanos),
            cpu_system: time(&self.cpu_system_nanos),
            resident_bytes: known(&self.resident_bytes),
            virtual_bytes: known(&self.virtual_bytes),
            threads: known(&self.threads),
            descriptors: known(&self.descriptors),
        }
    }

    fn set_process(&self, usage: &ProcessUsage) {
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let some = |value: Option<u64>| value.and_then(|v| i64::try_from(v).ok()).unwrap_or(-1);
        self.cpu_user_nanos.set(nanos(usage.cpu_user));
        self.cpu_system_nanos.set(nanos(usage.cpu_system));
        self.resident_bytes.set(some(usage.resident_bytes));
        self.virtual_bytes.set(some(usage.virtual_bytes));
        self.threads.set(some(usage.threads));
        self.descriptors.set(some(usage.descriptors));
    }
}

/// Takes samples. The main thread owns it.
#[derive(Debug)]
pub struct Sampler {
    probe: ProcessProbe,
    /// The sample before, for rates.
    last: Option<SampleBase>,
    wait_estimators: Vec<WaitEstimator>,
}

/// The totals at the time of a sample.
#[derive(Debug)]
struct SampleBase {
    at: Timestamp,
    totals: ShardFigures,
    process_cpu: Duration,
    shard_cpu_nanos: Vec<u64>,
}

impl Sampler {
    /// Opens the files that it reads.
    pub fn new() -> Self {
        Sampler { probe: ProcessProbe::open(), last: None, wait_estimators: Vec::new() }
    }

    /// Takes a sample and stores it in `telemetry`. To be called about once a second; the first
    /// call cannot compute rates.
    pub fn take(&mut self, telemetry: &Telemetry, now: Timestamp) {
        let mut process = self.probe.read();
        process.descriptors =
            process.descriptors.map(|main| main + count_private_tables(telemetry));
        let (shards, totals) = telemetry.figures();
        let base = SampleBase {
            at: now,
            totals,
            process_cpu: process.cpu_user + process.cpu_system,
            shard_cpu_nanos: shards.iter().map(|shard| shard.cpu_nanos).collect(),
        };
        expected_wait::update_all(&mut self.wait_estimators, telemetry, now);
        let sample = &telemetry.sample;
        sample.set_process(&process);
        sample.taken_nanos.set(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
        if let Some(last) = &self.last {
            let passed = now.since(last.at);
            if passed < SHORTEST_INTERVAL {
                return;
            }
            store_rates(sample, last, &base, passed.as_secs_f64());
        }
        self.last = Some(base);
    }
}

/// Counts the open descriptors in every shard's private table; returns their sum.
fn count_private_tables(telemetry: &Telemetry) -> u64 {
    let gauges = telemetry.shards.iter().zip(&telemetry.sample.shard_descriptors);
    let counted = gauges.map(|(shard, gauge)| {
        let thread = i32::try_from(shard.table_thread.get()).ok().filter(|thread| *thread > 0);
        let count = thread.and_then(|thread| descriptor_tables::open_count(thread).ok());
        gauge.set(count.and_then(|count| i64::try_from(count).ok()).unwrap_or(-1));
        count.unwrap_or(0)
    });
    counted.sum()
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler::new()
    }
}

fn store_rates(sample: &ProcessSample, last: &SampleBase, base: &SampleBase, seconds: f64) {
    let percent = |cpu: f64| rounded(100.0 * cpu / seconds, 1);
    sample.per_second.set(&last.totals, &base.totals, seconds);
    sample
        .cpu_percent
        .set(percent(base.process_cpu.saturating_sub(last.process_cpu).as_secs_f64()));
    let before_and_after = last.shard_cpu_nanos.iter().zip(&base.shard_cpu_nanos);
    for (gauge, (before, after)) in sample.shard_cpu_percent.iter().zip(before_and_after) {
        gauge.set(percent(after.saturating_sub(*before) as f64 / 1e9));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_rates_over_the_time_between_two_samples() {
        let telemetry = super::super::example();
        let start = Timestamp::from_nanos(1);
        let mut sampler = Sampler::new();
        assert_eq!(telemetry.sample.age(start), None);
        sampler.take(&telemetry, start);
        assert_eq!(telemetry.sample.per_second.accepted.get(), 0.0, "one sample gives no rate");
        telemetry.shards[0].accepted.add(30);
        telemetry.shards[1].accepted.add(20);
        telemetry.shards[1].cpu_nanos.add(1_000_000_000);
        sampler.take(&telemetry, start + Duration::from_secs(2));
        assert_eq!(telemetry.sample.per_second.accepted.get(), 25.0);
        assert_eq!(telemetry.sample.per_second.matches.get(), 0.0);
        assert_eq!(telemetry.sample.shard_cpu_percent[0].get(), 0.0);
        assert_eq!(telemetry.sample.shard_cpu_percent[1].get(), 50.0);
        let later = start + Duration::from_secs(5);
        assert_eq!(telemetry.sample.age(later), Some(Duration::from_secs(3)));
        assert!(telemetry.sample.process().resident_bytes.unwrap() > 0);
    }

    #[test]
    fn keeps_the_rates_when_two_samples_are_too_close() {
        let telemetry = super::super::example();
        let mut sampler = Sampler::new();
        sampler.take(&telemetry, Timestamp::ZERO);
        telemetry.shards[0].matches.add(4);
        let second = Timestamp::ZERO + Duration::from_secs(1);
        sampler.take(&telemetry, second);
        sampler.take(&telemetry, second);
        assert_eq!(telemetry.sample.per_second.matches.get(), 4.0);
    }
}
