//! What else this machine does while it generates load: CPU time of other processes, CPU time that
//! a hypervisor took away, and how long tasks waited for a CPU. Read once an interval by the main
//! thread.

use serde::{Deserialize, Serialize};
use std::fs;
use std::time::Instant;

/// CPU time in /proc is counted in ticks (USER_HZ, proc(5)); there are 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The load of the machine during an interval. A value that the kernel does not report is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineSample {
    /// CPU of all processes but the generator and a server on this machine, in percent of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others_cpu_percent: Option<f64>,
    /// CPU time that the hypervisor gave to others, in percent of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steal_percent: Option<f64>,
    /// Share of the time in which at least one task waited for a CPU, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_pressure_percent: Option<f64>,
}

impl MachineSample {
    /// The higher of both loads, value by value: the busiest machine explains a late start.
    pub fn busier(&self, other: &MachineSample) -> MachineSample {
        let higher = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
        MachineSample {
            others_cpu_percent: higher(self.others_cpu_percent, other.others_cpu_percent),
            steal_percent: higher(self.steal_percent, other.steal_percent),
            cpu_pressure_percent: higher(self.cpu_pressure_percent, other.cpu_pressure_percent),
        }
    }
}

/// Totals since boot, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct MachineTotals {
    busy_s: Option<f64>,
    steal_s: Option<f64>,
    pressure_s: Option<f64>,
}

/// Measures the load of the machine from one call to the next.
#[derive(Debug)]
pub struct MachineProbe {
    read_at: Instant,
    totals: MachineTotals,
    known_cpu_s: f64,
}

impl MachineProbe {
    /// Begins with the totals now; `known_cpu_s` is as in [`MachineProbe::next`].
    pub fn start(known_cpu_s: f64) -> Self {
        MachineProbe { read_at: Instant::now(), totals: read_totals(), known_cpu_s }
    }

    /// The load since the last call. `known_cpu_s` is the CPU time so far of the processes that are
    /// not among the others: the generator, and a server on this machine.
    pub fn next(&mut self, known_cpu_s: f64) -> MachineSample {
        let (totals, now) = (read_totals(), Instant::now());
        let elapsed_s = now.duration_since(self.read_at).as_secs_f64().max(1e-3);
        let known_s = (known_cpu_s - self.known_cpu_s).max(0.0);
        let sample = load_between(&self.totals, &totals, known_s, elapsed_s);
        *self = MachineProbe { read_at: now, totals, known_cpu_s };
        sample
    }
}

fn load_between(
    before: &MachineTotals,
    after: &MachineTotals,
    known_s: f64,
    elapsed_s: f64,
) -> MachineSample {
    let percent = |before: Option<f64>, after: Option<f64>, known_s: f64| {
        Some(100.0 * (after? - before? - known_s).max(0.0) / elapsed_s)
    };
    MachineSample {
        others_cpu_percent: percent(before.busy_s, after.busy_s, known_s),
        steal_percent: percent(before.steal_s, after.steal_s, 0.0),
        cpu_pressure_percent: percent(before.pressure_s, after.pressure_s, 0.0)
            .map(|percent| percent.min(100.0)),
    }
}

fn read_totals() -> MachineTotals {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let pressure = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let (busy_s, steal_s) = cpu_totals(&stat).unzip();
    MachineTotals { busy_s, steal_s, pressure_s: pressure_total(&pressure) }
}

/// Busy and stolen CPU seconds of all CPUs, from the first line of /proc/stat (proc_stat(5)): user,
/// nice, system, idle, iowait, irq, softirq, steal. The times of guests are part of user and nice.
fn cpu_totals(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
    let busy: f64 = [0, 1, 2, 5, 6].iter().filter_map(|nth| ticks.get(*nth)).sum();
    Some((busy / TICKS_PER_SECOND, ticks.get(7).copied().unwrap_or(0.0) / TICKS_PER_SECOND))
}

/// Seconds in which some task waited for a CPU (Documentation/accounting/psi.rst).
fn pressure_total(pressure: &str) -> Option<f64> {
    let line = pressure.lines().find(|line| line.starts_with("some "))?;
    let total = line.split_ascii_whitespace().find_map(|field| field.strip_prefix("total="))?;
    Some(total.parse::<f64>().ok()? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_of_others_is_the_busy_time_without_the_known_processes() {
        let stat = |user: u64| format!("cpu  {user} 50 100 9000 70 20 30 40 5 5\ncpu0 1 2 3\n");
        assert_eq!(cpu_totals(&stat(800)), Some((10.0, 0.4)));
        let totals = |user, pressure_s| {
            let (busy_s, steal_s) = cpu_totals(&stat(user)).unzip();
            MachineTotals { busy_s, steal_s, pressure_s }
        };
        let (before, after) = (totals(800, Some(1.0)), totals(1100, Some(2.0)));
        let load = load_between(&before, &after, 1.0, 2.0);
        assert_eq!(load.others_cpu_percent, Some(100.0));
        assert_eq!((load.steal_percent, load.cpu_pressure_percent), (Some(0.0), Some(50.0)));
        let unknown = MachineTotals { busy_s: None, steal_s: None, pressure_s: None };
        assert_eq!(load_between(&before, &unknown, 1.0, 2.0), MachineSample::default());
    }

    #[test]
    fn the_busier_of_two_machines_is_found_value_by_value() {
        let sample = |others, steal| MachineSample {
            others_cpu_percent: Some(others),
            steal_percent: steal,
            cpu_pressure_percent: None,
        };
        assert_eq!(sample(1.0, Some(4.0)).busier(&sample(2.0, None)), sample(2.0, Some(4.0)));
    }

    #[test]
    fn reads_the_time_that_tasks_waited_for_a_cpu() {
        let text = "some avg10=98.61 avg60=96.63 avg300=58.75 total=282973707\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(pressure_total(text), Some(282.973_707));
        assert_eq!(pressure_total(""), None);
    }

    #[test]
    fn measures_this_machine() {
        let mut probe = MachineProbe::start(0.0);
        let others = probe.next(0.0).others_cpu_percent.unwrap();
        assert!(others >= 0.0 && others.is_finite());
    }
}
