//! `src/ARCHITECTURE.md` names files and types that exist.

use super::layers::LAYERS;
use super::tree::{root, sources};
use std::collections::BTreeSet;
use std::fs;

const DOCUMENT: &str = "src/ARCHITECTURE.md";

/// The texts in backquotes, outside code blocks.
fn quoted(text: &str) -> Vec<&str> {
    let prose = text.split("\n```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

fn is_path(name: &str) -> bool {
    let is_file = [".rs", ".md"].iter().any(|ending| name.ends_with(ending));
    is_file || (name.ends_with('/') && !name.starts_with('/'))
}

/// Whether a name is written like a type: `ConnectionTable`, and not `SIGTERM` or `recv`.
fn is_type(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
        && name.chars().any(|c| c.is_ascii_lowercase())
}

#[test]
fn files_that_the_architecture_names_exist() {
    let text = fs::read_to_string(root().join(DOCUMENT)).unwrap();
    let paths: BTreeSet<&str> = quoted(&text).into_iter().filter(|name| is_path(name)).collect();
    assert!(paths.len() > 40, "{paths:?}");
    let exists = |path: &str| root().join("src").join(path).exists() || root().join(path).exists();
    let missing: Vec<_> = paths.into_iter().filter(|path| !exists(path)).collect();
    assert!(missing.is_empty(), "{DOCUMENT} names {missing:?}");
}

#[test]
fn types_that_the_architecture_names_exist() {
    let text = fs::read_to_string(root().join(DOCUMENT)).unwrap();
    let known: BTreeSet<String> =
        sources().iter().flat_map(|file| file.types()).map(|found| found.name).collect();
    // Variants of the commands, types of std, and macros' output.
    let other = ["Reload", "StartDrain", "Stop", "Rc", "RefCell"];
    let named: BTreeSet<&str> = quoted(&text).into_iter().filter(|name| is_type(name)).collect();
    assert!(named.len() > 30, "{named:?}");
    let missing: Vec<_> =
        named.into_iter().filter(|name| !known.contains(*name) && !other.contains(name)).collect();
    assert!(missing.is_empty(), "{DOCUMENT} names {missing:?}");
}

/// The first two columns of the table under `## Limits`: each limit and its flags.
fn limits(document: &str) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let (_, section) = text.split_once("\n## Limits\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let columns = |row: &str| {
        let mut cells = row.split(" | ").map(|cell| cell.trim_start_matches("| ").to_owned());
        (cells.next().unwrap(), cells.next().unwrap())
    };
    rows.map(columns).collect()
}

#[test]
fn the_architecture_and_the_test_overview_name_the_same_limits_and_flags() {
    let (named, tested) = (limits(DOCUMENT), limits("tests/README.md"));
    assert!(named.len() > 30, "{named:?}");
    let differences: Vec<_> = named.symmetric_difference(&tested).collect();
    assert!(differences.is_empty(), "named in one document only: {differences:#?}");
}

#[test]
fn the_layer_list_of_the_architecture_equals_the_checked_one() {
    let text = fs::read_to_string(root().join(DOCUMENT)).unwrap();
    let (_, list) = text.split_once("```text\nlimits ").unwrap();
    let (list, _) = list.split_once("```").unwrap();
    let layers: Vec<&str> = ["limits"].into_iter().chain(list.split_whitespace()).collect();
    assert_eq!(layers, LAYERS);
}
