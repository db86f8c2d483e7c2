//! The README says what the program does: its tables are made from the code.
//!
//! `SWITCHBOARD_UPDATE_README=1 cargo test --test operations documents` writes them anew.

use std::fs;
use std::path::Path;

pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Checks that what stands between the marks called `name` is `table`, or makes it so.
fn holds(name: &str, table: &str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let readme = read("README.md");
    let start = readme.find(&begin).expect("the table has a mark before it") + begin.len();
    let stop = start + readme[start..].find(&end).expect("the table has a mark behind it");
    if std::env::var_os("SWITCHBOARD_UPDATE_README").is_some() {
        let updated = format!("{}{}\n{}", &readme[..start], table.trim_end(), &readme[stop..]);
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), updated).unwrap();
        return;
    }
    assert_eq!(
        readme[start..stop].trim_end(),
        table.trim_end(),
        "the README's table of {name} is out of date: run this test with SWITCHBOARD_UPDATE_README=1"
    );
}

#[test]
fn the_tables_are_those_of_the_program() {
    holds("flags", &switchboard::config::flags_table());
    holds("metrics", &switchboard::telemetry::metrics_table());
}

#[test]
fn every_dependency_has_a_comment_that_gives_its_reason() {
    let text = read("Cargo.toml");
    let manifest: toml::Table = text.parse().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for section in ["dependencies", "dev-dependencies"] {
        for name in manifest[section].as_table().unwrap().keys() {
            let at = lines.iter().position(|line| line.starts_with(&format!("{name} = "))).unwrap();
            let comment = lines[at - 1];
            assert!(comment.starts_with("# ") && comment.len() > 12, "no reason for {name}");
        }
    }
}

#[test]
fn every_log_line_that_is_explained_is_one() {
    let readme = read("README.md");
    let (_, table) = readme.split_once("| line | level | it means |\n").expect("a table of lines");
    let files = ["src/telemetry/notices.rs", "src/shard/accept.rs", "src/server/supervision.rs"];
    let source = files.map(read).concat();
    let mut found = 0;
    for row in table.lines().skip(1).take_while(|row| row.starts_with("| `")) {
        let line = row[3..].split('`').next().unwrap();
        let begins = line.strip_suffix('…').unwrap_or(line).trim_end();
        assert!(source.contains(&format!("\"{begins}")), "no line of the log begins {begins}");
        found += 1;
    }
    assert!(found > 5);
}

#[test]
fn every_folder_on_the_map_is_there() {
    let readme = read("README.md");
    let (_, map) = readme.split_once("## Layout").expect("a section called Layout");
    let (_, map) = map.split_once("```text\n").expect("a map");
    let (map, _) = map.split_once("```").expect("the map's end");
    let mut found = 0;
    for line in map.lines() {
        let path = line.split_whitespace().next().unwrap_or_default();
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(),
            "the map names {path}, which is not there"
        );
        found += 1;
    }
    assert!(found > 10);
}
