//! The report of a test: `report.html`, `report.json`, `junit.xml`, `summary.md` and the text on
//! the console. Only [`write()`] and [`read()`] access files.

pub mod breaking_point;
mod cause_advice;
mod charts;
mod compare;
mod generator_table;
mod html;
mod junit;
mod latency_table;
mod limiting_factor;
pub mod model;
mod path_table;
pub mod recommendations;
mod summary;
mod tables;
mod text;
mod timeline;

pub use compare::{ReportComparison, compare};
pub use text::{comparison as comparison_text, console};

use crate::load::encoded_histogram::{decode, percentile_distribution};
use model::LoadReport;
use std::io;
use std::path::Path;

/// The JSON Schema of `report.json`.
pub const SCHEMA_TEXT: &str = include_str!("report.schema.json");

/// Name of the file with all figures.
pub const FILE_NAME: &str = "report.json";

/// Writes all files of the report to `directory`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    directory: &Path,
    report: &LoadReport,
    comparison: Option<&ReportComparison>,
) -> io::Result<()> {
    let json = serde_json::to_vec_pretty(report).map_err(io::Error::other)?;
    std::fs::write(directory.join(FILE_NAME), json)?;
    std::fs::write(directory.join("report.html"), html::page(report, comparison))?;
    std::fs::write(directory.join("junit.xml"), junit::junit(report))?;
    std::fs::write(directory.join("summary.md"), summary::summary(report, comparison))?;
    write_distributions(&directory.join(DISTRIBUTIONS), report)
}

/// Name of the folder, inside a report's folder, that holds the latency distributions.
const DISTRIBUTIONS: &str = "histograms";

/// Writes a file for each latency of each run, trials of a search excepted, as HdrHistogram's tools read
/// them. Files of an earlier report are removed.
fn write_distributions(directory: &Path, report: &LoadReport) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => std::fs::create_dir_all(directory)?,
    }
    for run in report.runs.iter().filter(|run| !run.trial) {
        for (latency, text) in &run.histograms {
            let histogram = decode(text).map_err(io::Error::other)?;
            let file = format!("{}.{latency}.hgrm", file_name(&run.name));
            std::fs::write(directory.join(file), percentile_distribution(&histogram))?;
        }
    }
    Ok(())
}

/// The name of a run as part of a file name: `load: 500 users` becomes `load-500-users`.
fn file_name(run: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric();
    run.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// Reads a `report.json` for a comparison.
///
/// # Errors
/// The reason in one line, if the file cannot be used.
pub fn read(path: &Path) -> Result<LoadReport, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let report: LoadReport = serde_json::from_slice(&text)
        .map_err(|error| format!("{} is not a report: {error}", path.display()))?;
    if report.schema != model::SCHEMA {
        return Err(format!(
            "{} has schema version {}, but this program reads version {}",
            path.display(),
            report.schema,
            model::SCHEMA
        ));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::model::{self, BreakingPoint, FaultReport, Recommendation};
    use super::*;
    use crate::load::interval_log::{GeneratorSample, IntervalRow, ServerSample};
    use crate::load::machine_load::MachineSample;
    use crate::load::measure::{FaultCauses, FaultStats, HttpPathSample, LatencySummary};
    use crate::load::run_batches::RunBatch;
    use crate::load::target::{TargetOutcome, TargetVerdict};
    use crate::load::trend;
    use serde_json::Value;

    fn causes() -> FaultCauses {
        let mut causes = FaultCauses::default();
        causes.add("1009", 1);
        causes
    }

    /// A report in which every optional member is present.
    fn full_report() -> LoadReport {
        let mut run = model::example_run();
        run.figures.insert("sent".to_owned(), 1.0);
        run.times.insert("relay".to_owned(), LatencySummary::default());
        let point = model::DistributionPoint { percent: 50.0, at_most_ms: 1.0 };
        run.distributions.insert("relay".to_owned(), vec![point]);
        run.targets.push(TargetVerdict {
            target: "x".to_owned(),
            figure: "x".to_owned(),
            bound: 1.0,
            value: Some(1.0),
            reached: TargetOutcome::Met,
            note: String::new(),
        });
        run.faults.push(FaultReport {
            kind: "lost".to_owned(),
            meaning: "m".to_owned(),
            count: 1,
            first_s: 0.0,
            last_s: 0.0,
            is_server_fault: true,
            causes: causes(),
        });
        let rising: Vec<_> = (0..10).map(|i| (f64::from(i), f64::from(i))).collect();
        run.trends.push(model::TrendReport {
            figure: "memory".to_owned(),
            unit: "bytes".to_owned(),
            trend: trend::analyze(&rising).unwrap(),
            is_growing: true,
            verdict: "rises".to_owned(),
        });
        let mut row = IntervalRow {
            server: ServerSample {
                cpu_s: Some(1.0),
                cpu_percent: Some(1.0),
                busiest_shard_percent: Some(1.0),
                memory_bytes: Some(1),
                descriptors: Some(1),
                connections: Some(1),
                waiting: Some(1),
                rooms: Some(1),
                relayed: Some(1),
                bytes_in: Some(1),
                bytes_out: Some(1),
                threads: Some(1),
                shard_cpu_percent: vec![1.0],
                latency_ms: [("relay_p99".to_owned(), 1.0)].into(),
                counters: [("closed_silent".to_owned(), 1)].into(),
                draining: Some(true),
            },
            generator: GeneratorSample {
                machine: MachineSample {
                    others_cpu_percent: Some(1.0),
                    steal_percent: Some(1.0),
                    cpu_pressure_percent: Some(1.0),
                },
                ..GeneratorSample::default()
            },
            ..IntervalRow::default()
        };
        let stats = FaultStats { causes: causes(), ..FaultStats::default() };
        row.faults.insert("closed_by_server".to_owned(), stats);
        row.histograms.insert("relay".to_owned(), "HIST".to_owned());
        run.intervals.push(row);
        run.histograms.insert("relay".to_owned(), "HIST".to_owned());
        let sample = HttpPathSample { histograms: run.histograms.clone(), ..Default::default() };
        run.intervals[0].http_paths.insert("/health".to_owned(), sample.clone());
        run.http_paths.insert("/health".to_owned(), sample);
        let histograms = run.histograms.clone();
        run.batches.push(RunBatch { histograms, ..RunBatch::default() });
        let breaking_point = BreakingPoint {
            raised: "messages".to_owned(),
            holds: Some(1.0),
            breaks: Some(2.0),
            cause: String::new(),
            evidence: String::new(),
            void: false,
            trials: vec![("step up".to_owned(), 1.0, "held".to_owned()).into()],
        };
        let recommendation = Recommendation { action: "a".to_owned(), evidence: "e".to_owned() };
        LoadReport {
            runs: vec![run],
            breaking_point: Some(breaking_point),
            unjudged_requirements: vec!["x < 1".to_owned()],
            regressions: vec!["relay".to_owned()],
            server: [("version".to_owned(), "1".to_owned())].into(),
            recommendations: vec![recommendation],
            ..model::example_report()
        }
    }

    #[test]
    fn a_report_matches_its_schema_and_reads_back() {
        let report = full_report();
        let text = serde_json::to_string(&report).unwrap();
        let schema = serde_json::from_str(SCHEMA_TEXT).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        assert_eq!(serde_json::from_str::<LoadReport>(&text).unwrap(), report);
    }

    #[test]
    fn the_name_of_a_run_becomes_part_of_a_file_name() {
        assert_eq!(file_name("load: 500 users"), "load-500-users");
        assert_eq!(file_name("../x"), "x");
    }
}
