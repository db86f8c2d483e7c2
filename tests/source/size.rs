//! Files and functions are short enough to be read in one go.

use super::tree::{root, sources};

/// Lines of a file of `src`.
const FILE_LINES: usize = 500;
/// Lines of a function, its signature and braces included.
const FUNCTION_LINES: usize = 70;
/// Bytes of README.md, the front door.
const README_BYTES: u64 = 12 * 1024;

#[test]
fn files_have_at_most_500_lines() {
    let lines = |text: &str| text.lines().count();
    let long: Vec<String> = sources()
        .iter()
        .filter(|file| lines(&file.text) > FILE_LINES)
        .map(|file| format!("{}: {} lines", file.path, lines(&file.text)))
        .collect();
    assert!(long.is_empty(), "files over {FILE_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn functions_have_at_most_70_lines() {
    let mut long = Vec::new();
    for file in sources() {
        for function in file.functions() {
            let lines = function.last_line - function.first_line + 1;
            if lines > FUNCTION_LINES {
                long.push(format!(
                    "{}:{}: {} has {lines} lines",
                    file.path, function.first_line, function.name
                ));
            }
        }
    }
    assert!(long.is_empty(), "functions over {FUNCTION_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn the_readme_has_at_most_12_kib() {
    let bytes = std::fs::metadata(root().join("README.md")).unwrap().len();
    assert!(bytes <= README_BYTES, "README.md has {bytes} bytes");
}
