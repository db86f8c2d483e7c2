//! How one run is named and judged. Pure value.

use crate::load::target::PerformanceTarget;
use serde::{Deserialize, Serialize};

/// How a run is named and judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSpec {
    /// Its name, unique in the report.
    pub name: String,
    /// What it does, in a sentence.
    pub about: String,
    /// Planned number of simultaneous users.
    pub users_planned: u64,
    /// Share of late starts above which the run is void, in percent.
    pub late_percent: f64,
    /// Whether the run is a trial of a search.
    pub trial: bool,
    /// Targets in addition to those of every run.
    pub targets: Vec<PerformanceTarget>,
    /// Limits of the trend tests, if any: growth that counts as a leak, and the
    /// confidence required, both in percent.
    pub growth_limits: Option<(f64, f64)>,
}
