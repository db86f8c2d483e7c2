//! The differences between two reports. Pure.

use super::model::Report;

/// One figure in two reports.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    pub(super) run: String,
    pub(super) figure: String,
    pub(super) before: f64,
    pub(super) after: f64,
    /// By how many percent it changed; `None` from zero.
    pub(super) percent: Option<f64>,
    /// Whether the change is for the better, where that can be said.
    pub(super) better: Option<bool>,
}

/// The figures that are compared, and whether less is better.
const COMPARED: &[(&str, bool)] = &[
    ("success_percent", false),
    ("connect_p99_ms", true),
    ("match_p50_ms", true),
    ("match_p99_ms", true),
    ("relay_p50_ms", true),
    ("relay_p99_ms", true),
    ("relay_p999_ms", true),
    ("relay_max_ms", true),
    ("http_p99_ms", true),
    ("messages_per_s", false),
    ("server_cpu_us_per_message", true),
    ("server_connect_cpu_us", true),
    ("server_memory_mb", true),
    ("server_memory_per_user_kb", true),
    ("generator_cpu_us_per_message", true),
];

/// A change below this share is noise, and neither better nor worse.
const NOISE_PERCENT: f64 = 5.0;

/// Compares the runs that have the same name in both.
pub(super) fn differences(earlier: &Report, report: &Report) -> Vec<Difference> {
    let mut all = Vec::new();
    for run in report.runs.iter().filter(|run| !run.trial) {
        let Some(old) = earlier.runs.iter().find(|old| old.name == run.name) else { continue };
        for (figure, less_is_better) in COMPARED {
            let (Some(&before), Some(&after)) =
                (old.figures.get(*figure), run.figures.get(*figure))
            else {
                continue;
            };
            let percent = (before != 0.0).then(|| 100.0 * (after - before) / before);
            // A share of success moves by hundredths; there every change counts.
            let noise = if figure.ends_with("_percent") { 0.0 } else { NOISE_PERCENT };
            let matters = percent.is_none_or(|percent| percent.abs() > noise) && after != before;
            all.push(Difference {
                run: run.name.clone(),
                figure: (*figure).to_owned(),
                before,
                after,
                percent,
                better: matters.then_some((after < before) == *less_is_better),
            });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::model::{example_report, example_run};
    use super::*;

    fn report(figures: &[(&str, f64)]) -> Report {
        let mut run = example_run();
        run.figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Report { runs: vec![run], ..example_report() }
    }

    #[test]
    fn better_and_worse_know_which_way_is_up() {
        let before = report(&[("relay_p99_ms", 10.0), ("messages_per_s", 100.0), ("lost", 0.0)]);
        let after = report(&[("relay_p99_ms", 5.0), ("messages_per_s", 50.0), ("lost", 9.0)]);
        let found = differences(&before, &after);
        let verdicts: Vec<_> =
            found.iter().map(|d| (d.figure.as_str(), d.percent, d.better)).collect();
        assert_eq!(
            verdicts,
            [
                ("relay_p99_ms", Some(-50.0), Some(true)),
                ("messages_per_s", Some(-50.0), Some(false)),
            ]
        );
    }

    #[test]
    fn noise_is_neither() {
        let found =
            differences(&report(&[("relay_p99_ms", 10.0)]), &report(&[("relay_p99_ms", 10.3)]));
        assert_eq!(found[0].better, None);
    }
}
