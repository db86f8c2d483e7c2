//! Files and functions are short enough to be read in one go.

use super::tree::{SourceFile, root, rust_files, sources};

/// Lines of a Rust file of `src` or `tests`.
const FILE_LINES: usize = 500;
/// Characters of a line that is a comment, indentation included; rustfmt does not break comments.
const COMMENT_COLUMNS: usize = 115;
/// Lines of a function, its signature and braces included.
const FUNCTION_LINES: usize = 70;
/// Maximum size of README.md.
const README_BYTES: u64 = 12 * 1024;

fn sources_and_tests() -> Vec<SourceFile> {
    let mut all = sources();
    all.extend(rust_files("tests"));
    all
}

#[test]
fn files_have_at_most_500_lines() {
    let lines = |text: &str| text.lines().count();
    let long: Vec<String> = sources_and_tests()
        .iter()
        .filter(|file| lines(&file.text) > FILE_LINES)
        .map(|file| format!("{}: {} lines", file.path, lines(&file.text)))
        .collect();
    assert!(long.is_empty(), "files over {FILE_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn comment_lines_have_at_most_115_columns() {
    let mut long = Vec::new();
    for file in sources_and_tests() {
        for (number, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            if line.trim_start().starts_with("//") && columns > COMMENT_COLUMNS {
                long.push(format!("{}:{}: {columns} columns", file.path, number + 1));
            }
        }
    }
    assert!(long.is_empty(), "comments over {COMMENT_COLUMNS} columns:\n{}", long.join("\n"));
}

#[test]
fn functions_have_at_most_70_lines() {
    let mut long = Vec::new();
    for file in sources_and_tests() {
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

/// More than these would be parts that have not been taken apart: what belongs together is one part
/// with a file of its own.
#[test]
fn the_core_of_a_shard_has_at_most_12_fields() {
    const FIELDS: usize = 12;
    let text = std::fs::read_to_string(root().join("src/shard/core.rs")).unwrap();
    let file = syn::parse_file(&text).unwrap();
    let fields = file.items.iter().find_map(|item| match item {
        syn::Item::Struct(item) if item.ident == "Core" => Some(item.fields.len()),
        _ => None,
    });
    assert!(fields.is_some_and(|fields| fields <= FIELDS), "Core has {fields:?} fields");
}
