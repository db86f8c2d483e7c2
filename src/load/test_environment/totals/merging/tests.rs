//! Sums over the runs of two generators, field by field.

use super::*;
use crate::load::interval_log::GeneratorSample;
use crate::load::message_header::MessageSizes;
use crate::load::report::model::{FaultReport, example_run};

const TIMINGS: [PartTiming; 2] = [PartTiming::SameTime, PartTiming::OneAfterTheOther];

/// Totals of these runs, which took 10 s each.
fn totals(runs: &[RunReport], timing: PartTiming) -> RunTotals {
    let mut totals = RunTotals::default();
    runs.iter().for_each(|run| totals.add_run(run, timing).unwrap());
    totals
}

fn with_figures(figures: &[(&str, f64)]) -> RunReport {
    let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    RunReport { figures, ..example_run() }
}

const FIRST: RunMeasurements = RunMeasurements {
    users_peak: 5,
    users_peak_at_s: 3.0,
    waiting_peak: 2,
    measured_s: 8.0,
    messages_planned: true,
    message_sizes: MessageSizes { plain: 200, offer: 1000 },
    measured_received: 100,
    server_cpu_s: Some(4.0),
    generator_cpu_s: 1.0,
    server_memory_peak_bytes: Some(700),
    server_memory_before_bytes: Some(400),
    server_cpu_peak_percent: Some(50.0),
    server_busiest_shard_s: Some((3.0, 4.0)),
    server_descriptors_peak: Some(40),
    others_cpu_s: Some(1.0),
    steal_s: Some(0.5),
    cpu_pressure_s: Some(0.25),
    longest_iteration_ms: 3.0,
    generator_memory_bytes: Some(80),
};
const SECOND: RunMeasurements = RunMeasurements {
    users_peak: 7,
    users_peak_at_s: 6.0,
    waiting_peak: 4,
    measured_s: 6.0,
    messages_planned: false,
    message_sizes: MessageSizes { plain: 100, offer: 2000 },
    measured_received: 30,
    server_cpu_s: Some(3.0),
    generator_cpu_s: 2.0,
    server_memory_peak_bytes: Some(600),
    server_memory_before_bytes: Some(300),
    server_cpu_peak_percent: Some(60.0),
    server_busiest_shard_s: Some((4.0, 6.0)),
    server_descriptors_peak: Some(50),
    others_cpu_s: Some(2.0),
    steal_s: Some(1.0),
    cpu_pressure_s: Some(0.75),
    longest_iteration_ms: 2.0,
    generator_memory_bytes: Some(90),
};

/// What is measured of the server is the same for all generators; what is measured of them adds up.
#[test]
fn measurements_of_the_generators_add_up_and_those_of_one_server_do_not() {
    let runs = [FIRST, SECOND].map(|measurements| RunReport { measurements, ..example_run() });
    let [together, in_turn] = TIMINGS.map(|timing| totals(&runs, timing).measurements);
    let expected_together = RunMeasurements {
        users_peak: 12,
        users_peak_at_s: 6.0,
        waiting_peak: 6,
        measured_s: 8.0,
        messages_planned: true,
        message_sizes: MessageSizes { plain: 200, offer: 2000 },
        measured_received: 130,
        server_cpu_s: Some(4.0),
        generator_cpu_s: 3.0,
        server_memory_peak_bytes: Some(700),
        server_memory_before_bytes: Some(300),
        server_cpu_peak_percent: Some(60.0),
        server_busiest_shard_s: Some((3.0, 4.0)),
        server_descriptors_peak: Some(50),
        others_cpu_s: Some(2.0),
        steal_s: Some(1.0),
        cpu_pressure_s: Some(0.75),
        longest_iteration_ms: 3.0,
        generator_memory_bytes: Some(170),
    };
    assert_eq!(together, expected_together);
    let expected_in_turn = RunMeasurements {
        users_peak: 7,
        // The second run began after the 10 s of the first one.
        users_peak_at_s: 16.0,
        waiting_peak: 4,
        measured_s: 14.0,
        server_cpu_s: Some(7.0),
        server_busiest_shard_s: Some((7.0, 10.0)),
        others_cpu_s: Some(3.0),
        steal_s: Some(1.5),
        cpu_pressure_s: Some(1.0),
        generator_memory_bytes: Some(90),
        ..expected_together
    };
    assert_eq!(in_turn, expected_in_turn);
}

#[test]
fn counts_of_the_server_add_up_over_time_and_not_over_generators() {
    let of = |closed, drops| {
        with_figures(&[("server_closed_idle", closed), ("accept_queue_drops", drops)])
    };
    let counts = |timing| {
        let totals = totals(&[of(4.0, 5.0), of(3.0, 6.0)], timing);
        (totals.server_counters["closed_idle"], totals.accept_queue_drops)
    };
    assert_eq!(TIMINGS.map(counts), [(4, 6), (7, 11)]);
}

#[test]
fn a_run_that_was_stopped_makes_the_whole_a_stopped_one() {
    let stopped = RunReport { outcome: TestOutcome::Stopped, ..example_run() };
    for (runs, expected) in [
        ([example_run(), example_run()], false),
        ([stopped.clone(), example_run()], true),
        ([example_run(), stopped], true),
    ] {
        assert_eq!(TIMINGS.map(|timing| totals(&runs, timing).stopped), [expected; 2]);
    }
}

/// Of `lost` messages, which are those of the report, and `misrouted` ones.
fn with_faults(lost: u64, misrouted: u64) -> RunReport {
    let counts = [(LoadFault::Lost, lost), (LoadFault::Misrouted, misrouted)];
    let figures = counts.map(|(kind, count)| (kind.name(), count as f64));
    let fault = |(kind, count): (LoadFault, u64)| FaultReport {
        kind: kind.name().to_owned(),
        meaning: String::new(),
        count,
        first_s: 1.5,
        last_s: 2.5,
        is_server_fault: true,
        causes: FaultCauses::default(),
    };
    let faults = counts.into_iter().filter(|(_, count)| *count > 0).map(fault).collect();
    RunReport { faults, ..with_figures(&figures) }
}

/// Also if all that one part lost was misrouted, so that it has no row of lost messages.
#[test]
fn a_misrouted_message_is_not_counted_as_lost_and_hides_no_lost_one() {
    for (parts, lost, misrouted) in [
        ([(5, 3), (0, 0)], 5, 3),
        ([(5, 3), (4, 2)], 9, 5),
        ([(5, 0), (0, 3)], 5, 3),
        ([(0, 3), (5, 0)], 5, 3),
        ([(0, 3), (0, 2)], 0, 5),
    ] {
        let runs = parts.map(|(lost, misrouted)| with_faults(lost, misrouted));
        for timing in TIMINGS {
            let recorder = totals(&runs, timing).recorder;
            let found = (
                crate::load::figures::lost(&recorder),
                recorder.fault_stats(LoadFault::Misrouted).count,
            );
            assert_eq!(found, (lost, misrouted), "{parts:?}");
        }
    }
}

#[test]
fn the_faults_of_a_later_run_are_later_by_the_length_of_the_one_before() {
    let times = |timing| {
        let recorder = totals(&[with_faults(0, 0), with_faults(2, 0)], timing).recorder;
        let stats = recorder.fault_stats(LoadFault::Lost);
        (stats.first_ns, stats.last_ns)
    };
    let expected = [(1_500_000_000, 2_500_000_000), (11_500_000_000, 12_500_000_000)];
    assert_eq!(TIMINGS.map(times), expected);
}

/// The nearest rows add up; rates are those of the length of the first row.
#[test]
fn rows_of_the_same_time_add_up() {
    let run = |times: u64, at_s, length_s| {
        let stats = FaultStats { count: times, ..FaultStats::default() };
        let row = IntervalRow {
            at_s,
            length_s,
            connecting: times,
            users: 2 * times,
            waiting: 3 * times,
            waiting_peak: 4 * times,
            in_rooms: 5 * times,
            counts: [("sent".to_owned(), 6 * times)].into(),
            faults: [("lost".to_owned(), stats)].into(),
            generator: GeneratorSample {
                cpu_percent: times as f64,
                longest_iteration_ms: times as f64,
                memory_bytes: Some(times),
                ..GeneratorSample::default()
            },
            ..IntervalRow::default()
        };
        let later = IntervalRow { at_s: 9.0, length_s, ..IntervalRow::default() };
        RunReport { intervals: vec![row, later], ..example_run() }
    };
    let rows = totals(&[run(1, 1.0, 1.0), run(10, 1.2, 2.0)], PartTiming::SameTime).rows;
    let rows = rows.into_rows();
    let [row, later] = &rows[..] else { panic!("{rows:?}") };
    let sessions = [row.connecting, row.users, row.waiting, row.waiting_peak, row.in_rooms];
    assert_eq!(sessions, [11, 22, 33, 44, 55]);
    assert_eq!((row.at_s, row.counts["sent"], row.faults["lost"].count), (1.0, 36, 11));
    let generator = row.generator;
    assert_eq!((generator.cpu_percent, generator.longest_iteration_ms), (11.0, 10.0));
    assert_eq!((generator.memory_bytes, later.users), (Some(11), 0));
}
