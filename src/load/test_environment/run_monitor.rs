//! Observes the server and the tester's own process during one run.

use super::crash_detector::CrashDetector;
use crate::load::engine::LoadGauges;
use crate::load::interval_log::{GeneratorSample, IntervalRow};
use crate::load::machine_load::MachineProbe;
use crate::load::measure::Recorder;
use crate::load::server_monitor::ServerMonitor;
use crate::load::server_process::{accept_queue_drops, process_cpu_s};
use crate::load::target_address::TargetAddress;
use crate::sys::process::ProcessProbe;
use std::time::{Duration, Instant};

/// What is observed during one run.
pub(super) struct RunMonitor {
    pub(super) server: ServerMonitor,
    /// The kernel's count of dropped connections before the run.
    pub(super) drops_before: Option<u64>,
    pub(super) crash_detector: CrashDetector,
    own_process: ProcessProbe,
    own_cpu: Duration,
    machine: MachineProbe,
    last_row_at: Instant,
}

impl RunMonitor {
    pub(super) fn start(
        stats: Option<TargetAddress>,
        server_pid: Option<u32>,
        interval: Duration,
    ) -> Self {
        let server = ServerMonitor::start(stats, server_pid, interval);
        let own_process = ProcessProbe::open();
        let figures = own_process.read();
        let own_cpu = figures.cpu_user + figures.cpu_system;
        RunMonitor {
            own_cpu,
            machine: MachineProbe::start(known_cpu_s(own_cpu, server.pid)),
            own_process,
            server,
            last_row_at: Instant::now(),
            drops_before: accept_queue_drops(),
            crash_detector: CrashDetector::default(),
        }
    }

    /// The row of the interval that has just ended.
    pub(super) fn next_row(
        &mut self,
        run: u32,
        recorder: &Recorder,
        gauges: &LoadGauges,
        longest_iteration: Duration,
    ) -> IntervalRow {
        let figures = self.own_process.read();
        let cpu = figures.cpu_user + figures.cpu_system;
        let length = self.last_row_at.elapsed();
        self.last_row_at = Instant::now();
        let used = cpu.saturating_sub(std::mem::replace(&mut self.own_cpu, cpu));
        let mut row = IntervalRow {
            run,
            length_s: length.as_secs_f64(),
            server: self.server.latest(),
            generator: GeneratorSample {
                cpu_percent: 100.0 * used.as_secs_f64() / length.as_secs_f64().max(1e-3),
                longest_iteration_ms: longest_iteration.as_secs_f64() * 1000.0,
                memory_bytes: figures.resident_bytes,
                machine: self.machine.next(known_cpu_s(cpu, self.server.pid)),
            },
            ..IntervalRow::default()
        };
        row.record(recorder, gauges);
        row
    }
}

/// CPU seconds of the processes that take part in the test on this machine.
fn known_cpu_s(own_cpu: Duration, server_pid: Option<u32>) -> f64 {
    own_cpu.as_secs_f64() + server_pid.and_then(process_cpu_s).unwrap_or(0.0)
}
