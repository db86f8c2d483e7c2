//! Which files the repository holds: sources, and nothing that a program has left behind.

use super::tree::root;
use std::process::Command;

/// The top level, beside files and folders whose name begins with a dot.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "benches",
    "scripts",
    "src",
    "tests",
    "tuning",
];

/// Beginnings and ends of the names of files that profilers, debuggers, package managers and
/// crashes write.
const WRITTEN_BY_PROGRAMS: &[(&str, &str)] = &[
    ("", ".log"),
    ("", ".cpuprofile"),
    ("", ".heapprofile"),
    ("", ".heapsnapshot"),
    ("", ".profraw"),
    ("", ".profdata"),
    ("", ".tmp"),
    ("", ".orig"),
    ("", ".rej"),
    ("", ".swp"),
    ("", ".tgz"),
    ("perf.data", ""),
    ("callgrind.out", ""),
    ("cachegrind.out", ""),
    ("massif.out", ""),
    ("core.", ""),
    ("v8.", ""),
];

/// The paths of all files that git tracks; none outside a checkout, as in a source archive.
fn tracked() -> Vec<String> {
    let output = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output();
    let Ok(output) = output else { return Vec::new() };
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// The paths that do not belong into the repository.
fn foreign<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let is_foreign = |path: &&str| {
        let top = path.split('/').next().unwrap_or(path);
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_written = |(start, end): &(&str, &str)| {
            name.starts_with(start) && name.ends_with(end) && !name.ends_with(".rs")
        };
        let is_known = top.starts_with('.') || TOP_LEVEL.contains(&top);
        !is_known || WRITTEN_BY_PROGRAMS.iter().any(is_written)
    };
    paths.into_iter().filter(is_foreign).collect()
}

#[test]
fn the_repository_holds_no_files_that_programs_wrote() {
    let paths = tracked();
    let found = foreign(paths.iter().map(String::as_str));
    assert!(found.is_empty(), "remove them, or add them to .gitignore:\n{}", found.join("\n"));
}

#[test]
fn files_that_programs_wrote_are_recognised() {
    let left_behind = [
        "isolate-0x55d-12-v8.log",
        "tests/browser/isolate-0x55d-12-v8.log",
        "npm-debug.log",
        "perf.data",
        "benches/perf.data.old",
        "callgrind.out.12",
        "core.4711",
        "notes.txt",
        "target/debug/switchboard",
    ];
    assert_eq!(foreign(left_behind), left_behind);
    let sources = ["Cargo.lock", ".gitignore", ".ci/run", "src/shard/core.rs", "tests/guards.txt"];
    assert_eq!(foreign(sources), [""; 0]);
}
