//! `tuning/REFERENCE.md` agrees with the code: its tables are generated, and its table of log lines
//! has every line that the server can write.
//!
//! `UPDATE_REFERENCE=1 cargo test --test operations reference` regenerates the tables.

use crate::documents::read;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const REFERENCE: &str = "tuning/REFERENCE.md";

/// Checks that the text between the marks called `name` is `table`. With `UPDATE_REFERENCE` set it
/// writes the table there instead.
fn check_table(name: &str, table: &str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let reference = read(REFERENCE);
    let start = reference.find(&begin).expect("a mark before the table") + begin.len();
    let stop = start + reference[start..].find(&end).expect("a mark behind the table");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        let updated =
            format!("{}{}\n{}", &reference[..start], table.trim_end(), &reference[stop..]);
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(REFERENCE), updated).unwrap();
        return;
    }
    assert_eq!(
        reference[start..stop].trim_end(),
        table.trim_end(),
        "{REFERENCE}: the table of {name} is out of date; run this test with UPDATE_REFERENCE=1"
    );
}

/// One test for all tables: with `UPDATE_REFERENCE` they all write to the same file.
#[test]
fn generated_tables_are_up_to_date() {
    check_table("flags", &switchboard::config::flags_table());
    check_table("metrics", &switchboard::telemetry::metrics_table());
    check_table("reasons", &switchboard::telemetry::reasons_tables());
    check_table("stats", &switchboard::telemetry::stats_tables());
}

/// The level and the text of every log line in the sources of the server.
fn lines_in_sources() -> BTreeSet<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut lines: BTreeSet<_> = switchboard::telemetry::notices::notice_lines()
        .into_iter()
        .map(|(level, text)| (level.to_owned(), text.to_owned()))
        .collect();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(path).unwrap();
                let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
                lines.extend(code.split("tracing::").skip(1).filter_map(line_of_call));
            }
        }
    }
    lines
}

/// The level and the first string literal of the source text behind `tracing::`, if it is a call of
/// a log macro. Notices are listed by themselves.
fn line_of_call(source: &str) -> Option<(String, String)> {
    let (level, arguments) = source.split_once("!(")?;
    if !["error", "warn", "info", "debug", "trace"].contains(&level) {
        return None;
    }
    let (_, literal) = arguments.split_once('"')?;
    let (text, _) = literal.split_once('"')?;
    // A backslash at the end of a line joins it with the next one.
    let text: Vec<&str> = text.split("\\\n").map(str::trim_start).collect();
    (text != ["{text}"]).then(|| (level.to_uppercase(), text.concat()))
}

#[test]
fn every_log_line_is_in_the_table_of_log_lines() {
    let reference = read(REFERENCE);
    let (_, table) = reference.split_once("| line | level | meaning |").expect("a table of lines");
    let rows = table.lines().skip(2).take_while(|row| row.starts_with("| `"));
    let listed: Vec<(String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            assert!(cells.len() == 4 && cells[2..].iter().all(|cell| !cell.is_empty()), "{row}");
            (cells[1].to_owned(), cells[0].trim_matches('`').to_owned())
        })
        .collect();
    let known: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(known.len(), listed.len(), "a line is listed twice");
    let written = lines_in_sources();
    let missing: Vec<_> = written.difference(&known).collect();
    let stale: Vec<_> = known.difference(&written).collect();
    assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:#?}, stale: {stale:#?}");
}
