//! `tuning/REFERENCE.md` agrees with the code: its tables are generated, and its table of log lines
//! has every line that the server can write.
//!
//! `UPDATE_REFERENCE=1 cargo test --test operations reference` writes the generated tables anew.

use crate::documents::read;
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
}
