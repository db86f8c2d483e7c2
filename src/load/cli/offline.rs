//! The commands that make a report of what earlier tests left: no load is generated.

use super::arguments::LoadArguments;
use super::execution::{Comparing, prepare_directory, write_report};
use super::verdict::conclude;
use super::{CliError, LoadExitStatus, print, usage_error};
use crate::load::merge::{ReportPart, merge};
use crate::load::remake::{RemadeReport, remake};
use crate::load::report;
use crate::load::report::model::LoadReport;
use crate::load::target::PerformanceTarget;
use std::path::{Path, PathBuf};

/// Makes the report of the test in `directory` again, in `out` or in the same directory.
pub(super) fn remake_report(
    arguments: &LoadArguments,
    directory: &Path,
    out: Option<&Path>,
) -> Result<LoadExitStatus, CliError> {
    let comparing = Comparing::read(arguments)?;
    let RemadeReport { report, required, ends_early } = remake(directory).map_err(usage_error)?;
    finish(report, &required, ends_early, &comparing, out.unwrap_or(directory))
}

/// Merges the reports in `directories` into one in `out`.
pub(super) fn merge_reports(
    arguments: &LoadArguments,
    directories: &[PathBuf],
    out: &Path,
) -> Result<LoadExitStatus, CliError> {
    let comparing = Comparing::read(arguments)?;
    let read = |directory: &PathBuf| {
        let report = report::read(&directory.join(report::FILE_NAME))?;
        Ok(ReportPart { name: directory.display().to_string(), report })
    };
    let parts: Result<Vec<ReportPart>, String> = directories.iter().map(read).collect();
    let merged = parts.and_then(|parts| merge(&parts)).map_err(usage_error)?;
    finish(merged, &[], false, &comparing, out)
}

/// Judges a report as a whole and writes it.
fn finish(
    mut report: LoadReport,
    required: &[PerformanceTarget],
    ends_early: bool,
    comparing: &Comparing,
    out: &Path,
) -> Result<LoadExitStatus, CliError> {
    let directory = prepare_directory(out)?;
    let status = conclude(&mut report, required, ends_early);
    Ok(write_report(&directory, &mut report, comparing, status))
}

/// Prints the differences between the last of these reports and the earlier ones. Each is the file or its
/// directory.
pub(super) fn compare_reports(
    arguments: &LoadArguments,
    reports: &[PathBuf],
) -> Result<LoadExitStatus, CliError> {
    let file = |path: &PathBuf| match path.is_dir() {
        true => path.join(report::FILE_NAME),
        false => path.clone(),
    };
    let read: Result<Vec<LoadReport>, String> =
        reports.iter().map(|path| report::read(&file(path))).collect();
    let mut earlier = read.map_err(usage_error)?;
    let Some(report) = earlier.pop() else { return Ok(LoadExitStatus::Usage) };
    let comparison = report::compare(&earlier, &report);
    print(report::comparison_text(&comparison).trim_start());
    let limit = arguments.fail_on_regression.unwrap_or(f64::INFINITY);
    let regressions = comparison.regressions(limit);
    regressions.iter().for_each(|line| print(&format!("{line}\n")));
    Ok(if regressions.is_empty() { LoadExitStatus::Passed } else { LoadExitStatus::Regressed })
}
