//! Joins the intervals of several agents: one interval of all of them as soon as the last of them has
//! sent its own. Counters and histograms are added, gauges are added, maxima are the largest. Pure.

use super::protocol::AgentInterval;
use crate::load::engine::LoadGauges;
use crate::load::generators::MergedInterval;
use crate::load::interval_log::{GeneratorSample, IntervalRow};
use std::collections::VecDeque;
use std::time::Duration;

/// What has arrived of one agent.
#[derive(Debug, Default)]
struct AgentQueue {
    /// Intervals that wait for those of the other agents; in encoded form, because a decoded
    /// histogram takes a hundred times the memory.
    waiting: VecDeque<AgentInterval>,
    /// Number of intervals that have arrived.
    arrived: u64,
    /// The last interval has arrived, or none will.
    ended: bool,
}

/// The intervals of one run.
#[derive(Debug)]
pub struct IntervalMerge {
    agents: Vec<AgentQueue>,
}

impl IntervalMerge {
    /// Before the first interval of `agents` agents.
    pub fn new(agents: usize) -> Self {
        IntervalMerge { agents: (0..agents).map(|_| AgentQueue::default()).collect() }
    }

    /// Adds an interval of an agent. One that arrives after the agent's last is left out.
    pub fn push(&mut self, agent: usize, interval: AgentInterval) {
        let queue = &mut self.agents[agent];
        if queue.ended {
            return;
        }
        queue.arrived += 1;
        queue.ended = interval.last;
        queue.waiting.push_back(interval);
    }

    /// No more intervals of this agent will arrive.
    pub fn end(&mut self, agent: usize) {
        self.agents[agent].ended = true;
    }

    /// Whether an agent has ended.
    pub fn has_ended(&self, agent: usize) -> bool {
        self.agents[agent].ended
    }

    /// Whether all agents have ended and all of their intervals were taken.
    pub fn is_done(&self) -> bool {
        self.agents.iter().all(|queue| queue.ended && queue.waiting.is_empty())
    }

    /// The agent of which the fewest intervals have arrived, among those that have not ended, and the
    /// time from the start of the run at which its next interval ends.
    pub fn slowest(&self, interval: Duration) -> Option<(usize, Duration)> {
        let running = self.agents.iter().enumerate().filter(|(_, queue)| !queue.ended);
        let (agent, queue) = running.min_by_key(|(_, queue)| queue.arrived)?;
        let intervals = u32::try_from(queue.arrived + 1).unwrap_or(u32::MAX);
        Some((agent, interval.saturating_mul(intervals)))
    }

    /// Takes the next interval of all agents into `merged`, which is empty. Returns `false` if one
    /// that has not ended has not sent it yet.
    pub fn take_next(&mut self, merged: &mut MergedInterval) -> bool {
        let is_complete = self.agents.iter().all(|queue| queue.ended || !queue.waiting.is_empty());
        if !is_complete || self.is_done() {
            return false;
        }
        let mut sum = GeneratorSample::default();
        for queue in &mut self.agents {
            if let Some(interval) = queue.waiting.pop_front() {
                add(&interval.row, merged, &mut sum);
            }
        }
        merged.generator = Some(sum);
        true
    }
}

/// Adds one agent's interval.
fn add(row: &IntervalRow, merged: &mut MergedInterval, sum: &mut GeneratorSample) {
    row.restore(&mut merged.recorder);
    merged.gauges.add(&LoadGauges {
        connecting: row.connecting,
        users: row.users,
        waiting: row.waiting,
        waiting_peak: row.waiting_peak,
        in_rooms: row.in_rooms,
        http_connections: 0,
    });
    let own = &row.generator;
    sum.cpu_percent += own.cpu_percent;
    sum.longest_iteration_ms = sum.longest_iteration_ms.max(own.longest_iteration_ms);
    sum.machine = sum.machine.busier(&own.machine);
    let memory = sum.memory_bytes.unwrap_or(0) + own.memory_bytes.unwrap_or(0);
    sum.memory_bytes = Some(memory).filter(|bytes| *bytes > 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::measure::{CountMetric, LatencySummary, LoadFault, Recorder, TimeMetric};
    use crate::timestamp::Timestamp;
    use proptest::prelude::*;

    /// The interval of an agent that received a message after each of these times.
    fn interval(micros: &[u64], last: bool) -> AgentInterval {
        let recorder = recorded(micros);
        let users = micros.len() as u64;
        let gauges = LoadGauges { users, waiting_peak: 1, ..LoadGauges::default() };
        let mut row = IntervalRow {
            generator: GeneratorSample {
                cpu_percent: 10.0,
                longest_iteration_ms: users as f64,
                memory_bytes: Some(100),
                ..GeneratorSample::default()
            },
            ..IntervalRow::default()
        };
        row.record(&recorder, &gauges);
        let sent = AgentInterval { run: 0, row, descriptors: None, last };
        // As it arrives.
        serde_json::from_str(&serde_json::to_string(&sent).unwrap()).unwrap()
    }

    fn recorded(micros: &[u64]) -> Recorder {
        let mut recorder = Recorder::default();
        for micros in micros {
            recorder.count(CountMetric::Received);
            recorder.record_time(TimeMetric::Relay, Duration::from_micros(*micros));
            recorder.record_fault(LoadFault::Refused, Timestamp::from_nanos(*micros));
        }
        recorder
    }

    fn take(merge: &mut IntervalMerge) -> Option<MergedInterval> {
        let mut merged = MergedInterval::default();
        merge.take_next(&mut merged).then_some(merged)
    }

    proptest! {
        #[test]
        fn merged_percentiles_equal_those_of_one_histogram_with_the_same_values(
            parts in prop::collection::vec(prop::collection::vec(1u64..130_000_000, 0..60), 1..5)
        ) {
            let mut merge = IntervalMerge::new(parts.len());
            for (agent, micros) in parts.iter().enumerate() {
                merge.push(agent, interval(micros, true));
            }
            let merged = take(&mut merge).unwrap();
            let whole = recorded(&parts.concat());
            let relay = |recorder: &Recorder| recorder.histogram(TimeMetric::Relay).clone();
            let (of_parts, of_all) = (relay(&merged.recorder), relay(&whole));
            prop_assert_eq!(&of_parts, &of_all);
            prop_assert_eq!(LatencySummary::of(&of_parts), LatencySummary::of(&of_all));
            let received = merged.recorder.get(CountMetric::Received);
            prop_assert_eq!(received, whole.get(CountMetric::Received));
            let faults = merged.recorder.fault_stats(LoadFault::Refused);
            prop_assert_eq!(faults, whole.fault_stats(LoadFault::Refused));
            prop_assert!(merge.is_done());
        }
    }

    #[test]
    fn an_interval_is_complete_when_every_agent_has_sent_it() {
        let mut merge = IntervalMerge::new(2);
        merge.push(0, interval(&[5, 6], false));
        merge.push(0, interval(&[7], false));
        assert!(take(&mut merge).is_none());
        merge.push(1, interval(&[8, 9, 10], false));
        let first = take(&mut merge).unwrap();
        assert_eq!(first.recorder.get(CountMetric::Received), 5);
        assert_eq!((first.gauges.users, first.gauges.waiting_peak), (5, 2));
        let sample = first.generator.unwrap();
        assert_eq!((sample.cpu_percent, sample.longest_iteration_ms), (20.0, 3.0));
        assert_eq!(sample.memory_bytes, Some(200));
        assert!(take(&mut merge).is_none(), "the second one of agent 1 is missing");
        merge.push(1, interval(&[11], true));
        assert_eq!(take(&mut merge).unwrap().recorder.get(CountMetric::Received), 2);
        assert!(!merge.is_done() && take(&mut merge).is_none());
        merge.push(0, interval(&[12], true));
        assert_eq!(take(&mut merge).unwrap().recorder.get(CountMetric::Received), 1);
        assert!(merge.is_done() && take(&mut merge).is_none());
    }

    #[test]
    fn what_a_lost_agent_has_sent_is_kept_and_no_longer_waited_for() {
        let mut merge = IntervalMerge::new(2);
        merge.push(0, interval(&[5], false));
        merge.push(0, interval(&[6], false));
        merge.push(1, interval(&[7], false));
        merge.end(1);
        assert_eq!(take(&mut merge).unwrap().recorder.get(CountMetric::Received), 2);
        assert_eq!(take(&mut merge).unwrap().recorder.get(CountMetric::Received), 1);
        merge.push(1, interval(&[8], false));
        assert!(take(&mut merge).is_none(), "nothing of an agent counts after it was lost");
        merge.end(0);
        assert!(merge.is_done());
    }

    #[test]
    fn the_slowest_agent_is_the_one_with_the_fewest_intervals() {
        let second = Duration::from_secs(1);
        let mut merge = IntervalMerge::new(3);
        assert_eq!(merge.slowest(second), Some((0, second)));
        merge.push(0, interval(&[], false));
        merge.push(0, interval(&[], false));
        merge.push(1, interval(&[], true));
        merge.push(2, interval(&[], false));
        assert_eq!(merge.slowest(second), Some((2, second * 2)), "agent 1 has ended");
        merge.end(0);
        merge.end(2);
        assert_eq!(merge.slowest(second), None);
    }
}
