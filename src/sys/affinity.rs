//! The CPUs that the process may use, and pinning a thread to one of them. Pinning is called by the
//! thread that is pinned.

use std::fmt;

/// CPUs that this process may run on, in ascending order (sched_getaffinity(2)). To be read on the
/// main thread before any thread is pinned: a pinned thread sees only its own CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedCpus(Vec<usize>);

/// Why a thread could not be pinned. It runs on any CPU that the scheduler chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinError {
    /// The kernel does not report which CPUs may be used.
    Unknown,
    /// The kernel refused this CPU.
    Refused {
        /// Its number.
        cpu: usize,
    },
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinError::Unknown => f.write_str("the kernel does not report which CPUs may be used"),
            PinError::Refused { cpu } => write!(f, "the kernel refused CPU {cpu}"),
        }
    }
}

impl std::error::Error for PinError {}

impl AllowedCpus {
    /// The CPUs of the calling thread. Empty if the kernel does not report them.
    pub fn of_current_thread() -> Self {
        let mut cpus: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        cpus.sort_unstable();
        AllowedCpus(cpus)
    }

    /// Numbers of the CPUs, ascending.
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }

    /// Default number of shards: one for each CPU, limited by the CPU quota of the control group;
    /// at least one.
    pub fn default_shards(&self) -> usize {
        let parallel = std::thread::available_parallelism().map_or(1, usize::from);
        if self.0.is_empty() { parallel } else { self.0.len().min(parallel) }
    }

    /// Pins the calling thread to the CPU at `index` modulo the number of CPUs, and returns the
    /// CPU's number.
    ///
    /// # Errors
    /// See [`PinError`]. The affinity of the thread is then unchanged.
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
    fn pins_a_thread_to_one_cpu_and_wraps_the_index() {
        let cpus = AllowedCpus::of_current_thread();
        assert!(cpus.numbers().is_sorted() && !cpus.numbers().is_empty());
        for index in 0..cpus.numbers().len() * 2 {
            let all = cpus.clone();
            let (cpu, seen) = std::thread::spawn(move || {
                let cpu = all.pin_current_thread(index).unwrap();
                (cpu, AllowedCpus::of_current_thread())
            })
            .join()
            .unwrap();
            assert_eq!(cpu, cpus.numbers()[index % cpus.numbers().len()]);
            assert_eq!(seen.numbers(), [cpu]);
        }
        assert_eq!(AllowedCpus::of_current_thread(), cpus, "the calling thread is not pinned");
        assert_eq!(AllowedCpus(Vec::new()).pin_current_thread(0), Err(PinError::Unknown));
    }
}
