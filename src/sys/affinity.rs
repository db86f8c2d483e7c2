//! Which CPUs the process may use, and keeping a thread on one of them.

use std::fmt;

/// CPUs that this process may run on, in the order of their numbers (sched_getaffinity(2)).
/// Ask on the main thread, before any thread is pinned: a pinned thread sees only its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedCpus(Vec<usize>);

/// Why a thread is not pinned; it runs wherever the scheduler puts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinError {
    /// The system does not say which CPUs may be used.
    Unknown,
    /// The system refused this CPU.
    Refused {
        /// Its number.
        cpu: usize,
    },
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinError::Unknown => f.write_str("the system does not say which CPUs may be used"),
            PinError::Refused { cpu } => write!(f, "the system refused to pin to CPU {cpu}"),
        }
    }
}

impl std::error::Error for PinError {}

impl AllowedCpus {
    /// Those of the calling thread. Empty if the system does not tell.
    pub fn here() -> Self {
        let mut cpus: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        cpus.sort_unstable();
        AllowedCpus(cpus)
    }

    /// Their numbers, ascending.
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }

    /// How many shards these CPUs carry by default: one each, but no more than a CPU quota of
    /// the process's control group allows; at least one.
    pub fn default_shards(&self) -> usize {
        let parallel = std::thread::available_parallelism().map_or(1, usize::from);
        if self.0.is_empty() { parallel } else { self.0.len().min(parallel) }
    }

    /// Pins the calling thread to the CPU for its `index`, modulo the number of CPUs, and
    /// returns that CPU's number.
    ///
    /// # Errors
    /// See [`PinError`]; the thread then stays as it was.
    pub fn pin_current_thread(&self, index: usize) -> Result<usize, PinError> {
        if self.0.is_empty() {
            return Err(PinError::Unknown);
        }
        let cpu = self.0[index % self.0.len()];
        if core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
            Ok(cpu)
        } else {
            Err(PinError::Refused { cpu })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_cpu_and_indices_wrap() {
        let cpus = AllowedCpus::here();
        assert!(cpus.numbers().is_sorted() && !cpus.numbers().is_empty());
        for index in 0..cpus.numbers().len() * 2 {
            let all = cpus.clone();
            let (cpu, seen) = std::thread::spawn(move || {
                let cpu = all.pin_current_thread(index).unwrap();
                (cpu, AllowedCpus::here())
            })
            .join()
            .unwrap();
            assert_eq!(cpu, cpus.numbers()[index % cpus.numbers().len()]);
            assert_eq!(seen.numbers(), [cpu]);
        }
        assert_eq!(AllowedCpus::here(), cpus, "the caller itself is not pinned");
        assert_eq!(AllowedCpus(Vec::new()).pin_current_thread(0), Err(PinError::Unknown));
    }
}
