//! The documents agree with the repository.

use std::fs;
use std::path::Path;

pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
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
