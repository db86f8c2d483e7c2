//! What is left when a run is over: `report.html`, `report.json`, `junit.xml`, `summary.md`.

pub mod cause;
mod charts;
mod compare;
mod html;
pub mod model;
mod tables;
mod text;
mod timeline;

use model::Report;
use std::io;
use std::path::Path;

/// The JSON Schema of `report.json`.
pub const SCHEMA_TEXT: &str = include_str!("report.schema.json");

/// Writes the whole report directory.
///
/// # Errors
/// When a file cannot be written.
pub fn write(directory: &Path, report: &Report, earlier: Option<&Report>) -> io::Result<()> {
    let json = serde_json::to_vec_pretty(report).map_err(io::Error::other)?;
    std::fs::write(directory.join("report.json"), json)?;
    std::fs::write(directory.join("report.html"), html::page(report, earlier))?;
    std::fs::write(directory.join("junit.xml"), text::junit(report))?;
    std::fs::write(directory.join("summary.md"), text::summary(report, earlier))
}

/// Reads an earlier `report.json`.
///
/// # Errors
/// One line about why it cannot be compared with.
pub fn read(path: &Path) -> Result<Report, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let report: Report = serde_json::from_slice(&text)
        .map_err(|error| format!("{} is not a report: {error}", path.display()))?;
    if report.schema != model::SCHEMA {
        return Err(format!(
            "{} has schema {}, not {}",
            path.display(),
            report.schema,
            model::SCHEMA
        ));
    }
    Ok(report)
}

pub use text::console;
