//! The flags as a Markdown table, made from what `--help` is made from. Pure.

use super::Arguments;
use clap::{Arg, CommandFactory};
use std::fmt::Write;

/// Marks the paragraph of a flag's help that names a default which depends on the machine.
const DEFAULT_MARK: &str = "Default: ";

/// A table of all flags: flag, environment variable, default, meaning. Ends with a newline.
pub fn flags_table() -> String {
    let mut table = String::from("| flag | environment | default | meaning |\n");
    table.push_str("| --- | --- | --- | --- |\n");
    for arg in Arguments::command().get_arguments() {
        let (Some(long), Some(env)) = (arg.get_long(), arg.get_env()) else { continue };
        let takes_value = arg.get_action().takes_values();
        let value = match arg.get_value_names() {
            Some([name, ..]) if takes_value => format!(" {name}"),
            _ => String::new(),
        };
        let (meaning, default) = meaning_and_default(arg);
        let env = env.to_string_lossy();
        writeln!(table, "| `--{long}{value}` | `{env}` | {default} | {meaning} |")
            .expect("because writing to a string cannot fail");
    }
    table
}

/// What `--help` says of a flag, its paragraphs joined, and its default.
fn meaning_and_default(arg: &Arg) -> (String, String) {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut meaning = String::new();
    let mut default = match arg.get_default_values() {
        [] => "off".to_owned(),
        values => values
            .iter()
            .map(|value| format!("`{}`", value.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(", "),
    };
    for paragraph in help.split("\n\n") {
        let words = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(text) = words.strip_prefix(DEFAULT_MARK) {
            text.clone_into(&mut default);
        } else {
            let stop = if words.ends_with('.') { "" } else { "." };
            let space = if meaning.is_empty() { "" } else { " " };
            write!(meaning, "{space}{words}{stop}")
                .expect("because writing to a string cannot fail");
        }
    }
    (meaning.replace('|', "\\|"), default.replace('|', "\\|"))
}
