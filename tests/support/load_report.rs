//! Reads the reports of the load tester. Each is checked against the schema that the load tester
//! prints, so that a report never has a member or a value that its schema does not allow.
//!
//! No other file of the tests names the report's file; `tests/source/reports.rs` checks that.

use jsonschema::Validator;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The file of a report with all figures.
pub(crate) fn report_file(directory: &Path) -> PathBuf {
    directory.join("report.json")
}

/// Reads the report in `directory`, and checks it and its interval log against the schema.
#[track_caller]
pub(crate) fn read_report(directory: &Path) -> Value {
    let report = parse_report(&std::fs::read(report_file(directory)).unwrap_or_else(|error| {
        panic!("{}: {error}", report_file(directory).display());
    }));
    let log = directory.join("intervals.jsonl");
    // A test of a full disk makes the log a link to a device.
    if log.symlink_metadata().is_ok_and(|log| log.is_file()) {
        std::fs::read_to_string(log).unwrap().lines().for_each(check_log_line);
    }
    report
}

/// Parses the text of a report and checks it against the schema.
#[track_caller]
pub(crate) fn parse_report(text: &[u8]) -> Value {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let report = serde_json::from_slice(text).unwrap();
    check(VALIDATOR.get_or_init(|| validator(schema())), &report);
    report
}

/// Checks a line of the interval log against the schema.
#[track_caller]
pub(crate) fn check_log_line(line: &str) {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let of_line = || {
        let mut schema = schema();
        // The first line contains a report, and refers to it as the root.
        schema["$id"] = json!("urn:report");
        let definitions = json!({ "report": schema });
        validator(json!({ "$ref": "urn:report#/$defs/log_line", "$defs": definitions }))
    };
    check(VALIDATOR.get_or_init(of_line), &serde_json::from_str(line).unwrap());
}

/// The schema as `--schema` prints it.
fn schema() -> Value {
    let program = env!("CARGO_BIN_EXE_switchboard-load");
    let printed = Command::new(program).arg("--schema").output().unwrap();
    serde_json::from_slice(&printed.stdout).unwrap()
}

fn validator(schema: Value) -> Validator {
    jsonschema::draft202012::new(&schema).unwrap()
}

#[track_caller]
fn check(validator: &Validator, value: &Value) {
    let error = |error: jsonschema::ValidationError<'_>| {
        format!("{}: {error}", error.instance_path().as_str())
    };
    let errors: Vec<String> = validator.iter_errors(value).map(error).collect();
    assert!(errors.is_empty(), "the report breaks its schema:\n{}", errors.join("\n"));
}
