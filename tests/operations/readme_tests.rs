//! tests/README.md names tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The test paths in `text`: words in backticks whose first segment is a test binary.
fn test_paths(text: &str) -> Vec<&str> {
    let words = text.split('`').skip(1).step_by(2);
    words
        .filter(|word| {
            let (binary, rest) = word.split_once("::").unwrap_or_default();
            !rest.is_empty() && root().join(binary).join("main.rs").exists()
        })
        .collect()
}

/// Whether `path`, a binary with modules and a name, is a test in the sources.
fn exists(path: &str) -> bool {
    let mut segments: Vec<&str> = path.split("::").collect();
    let name = segments.pop().unwrap_or_default();
    let file = if segments.len() == 1 {
        root().join(segments[0]).join("main.rs")
    } else {
        let module = root().join(segments.join("/"));
        let folder = module.join("mod.rs");
        if folder.exists() { folder } else { module.with_extension("rs") }
    };
    let Ok(source) = fs::read_to_string(file) else { return false };
    // A function, or an entry of the table that the floods' tests are made from.
    let mut lines = source.lines().map(str::trim_start);
    lines.any(|line| {
        let declared = line.strip_prefix("fn ").unwrap_or(line);
        declared
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with("()") || rest.starts_with(": "))
    })
}

#[test]
fn every_test_named_in_the_readme_exists() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let paths = test_paths(&readme);
    assert!(paths.len() > 70, "only {} tests are named", paths.len());
    let missing: Vec<&str> = paths.into_iter().filter(|path| !exists(path)).collect();
    assert!(missing.is_empty(), "tests/README.md names tests that do not exist: {missing:#?}");
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    assert!(exists("operations::readme_tests::a_test_that_does_not_exist_is_noticed"));
    assert!(!exists("operations::readme_tests::a_test_that_does_not_exist"));
    assert!(!exists("operations::no_module::a_test_that_does_not_exist_is_noticed"));
}
