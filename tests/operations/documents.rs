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
