//! Tests read the reports of the load tester through the helper that checks them against their
//! schema.

use super::tree::{files, root};

/// The only file that may name a report, because it checks it.
const HELPER: &str = "tests/support/load_report.rs";

#[test]
fn tests_read_reports_through_the_helper_that_checks_their_schema() {
    // The end of a path in a string: comments may name the file.
    let named = ["report", ".json\""].concat();
    let files = files("tests", &[".rs"]).into_iter();
    let relative = files.map(|path| path.strip_prefix(root()).unwrap().to_owned());
    let others = relative.filter(|path| *path != std::path::Path::new(HELPER));
    let found: Vec<_> = others
        .filter(|path| std::fs::read_to_string(root().join(path)).unwrap().contains(&named))
        .collect();
    assert!(found.is_empty(), "use `read_report` or `report_file` of {HELPER} in {found:?}");
}
