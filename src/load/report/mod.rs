//! The report of a test: `report.html`, `report.json`, `junit.xml`, `summary.md` and the text on
//! the console. Only [`write()`] and [`read()`] access files.

pub mod breaking_point;
mod charts;
mod compare;
mod html;
mod junit;
mod limiting_factor;
pub mod model;
pub mod recommendations;
mod summary;
mod tables;
mod text;
mod timeline;

pub use text::console;

use model::LoadReport;
use std::io;
use std::path::Path;

/// The JSON Schema of `report.json`.
pub const SCHEMA_TEXT: &str = include_str!("report.schema.json");

/// Writes all files of the report to `directory`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    directory: &Path,
    report: &LoadReport,
    earlier: Option<&LoadReport>,
) -> io::Result<()> {
    let json = serde_json::to_vec_pretty(report).map_err(io::Error::other)?;
    std::fs::write(directory.join("report.json"), json)?;
    std::fs::write(directory.join("report.html"), html::page(report, earlier))?;
    std::fs::write(directory.join("junit.xml"), junit::junit(report))?;
    std::fs::write(directory.join("summary.md"), summary::summary(report, earlier))
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
    use crate::load::interval_log::{IntervalRow, ServerSample};
    use crate::load::measure::{FaultStats, LatencySummary};
    use crate::load::target::{TargetOutcome, TargetVerdict};
    use crate::load::trend;
    use serde_json::Value;

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
            },
            ..IntervalRow::default()
        };
        row.faults
            .insert("lost".to_owned(), FaultStats { status: Some(404), ..FaultStats::default() });
        row.buckets.insert("relay".to_owned(), vec![(1, 2)]);
        run.intervals.push(row);
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
            recommendations: vec![recommendation],
            ..model::example_report()
        }
    }

    /// Checks that the schema has every member of `value`, and `value` every required one.
    fn check_against_schema(value: &Value, schema: &Value, root: &Value, path: &str) {
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
            return check_against_schema(value, &root["$defs"][name], root, path);
        }
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let known = schema["properties"].get(name);
                    let other = schema.get("additionalProperties").filter(|s| s.is_object());
                    let of_member = known.or(other);
                    let path = format!("{path}.{name}");
                    let of_member =
                        of_member.unwrap_or_else(|| panic!("{path} is not in the schema"));
                    check_against_schema(value, of_member, root, &path);
                }
                for name in schema["required"].as_array().into_iter().flatten() {
                    assert!(members.contains_key(name.as_str().unwrap()), "{path} lacks {name}");
                }
            }
            Value::Array(items) => {
                if schema.get("prefixItems").is_none() {
                    items
                        .iter()
                        .for_each(|item| check_against_schema(item, &schema["items"], root, path));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let kind = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(n) if n.is_u64() => "integer",
                    Value::Number(_) => "number",
                    _ => "string",
                };
                let types = schema["type"].to_string();
                let fine = types.contains(kind) || kind == "integer" && types.contains("number");
                let listed = schema["enum"].as_array().is_some_and(|all| all.contains(value));
                let constant = schema.get("const") == Some(value);
                assert!(fine || listed || constant, "{path}: {value} is not {schema}");
            }
        }
    }

    #[test]
    fn a_report_matches_its_schema_and_reads_back() {
        let report = full_report();
        let text = serde_json::to_string(&report).unwrap();
        let schema: Value = serde_json::from_str(SCHEMA_TEXT).unwrap();
        check_against_schema(&serde_json::from_str(&text).unwrap(), &schema, &schema, "report");
        assert_eq!(serde_json::from_str::<LoadReport>(&text).unwrap(), report);
    }
}
