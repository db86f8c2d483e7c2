//! The flags as Markdown for tuning/REFERENCE.md, made from what `--help` is made from.

use super::Arguments;
use super::bounds::bounds_text;
use clap::{Arg, CommandFactory};
use std::fmt::Write;

/// Begins the paragraph of a flag's help that describes a default which depends on the machine, or
/// which clap does not know.
const DEFAULT_PREFIX: &str = "Default: ";

/// One table of flags for each heading of `--help`: flag, environment variable, default, range,
/// meaning. Ends with a newline.
pub fn flags_table() -> String {
    let mut text = String::new();
    let mut heading = None;
    for arg in Arguments::command().get_arguments() {
        let (Some(long), Some(env)) = (arg.get_long(), arg.get_env()) else { continue };
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let space = if text.is_empty() { "" } else { "\n" };
            write!(text, "{space}### {}\n\n", heading.unwrap_or("Other"))
                .expect("because writing to a string cannot fail");
            text.push_str("| flag | environment | default | range | meaning |\n");
            text.push_str("| --- | --- | --- | --- | --- |\n");
        }
        let takes_value = arg.get_action().takes_values();
        let value = match arg.get_value_names() {
            Some([name, ..]) if takes_value => format!(" {name}"),
            _ => String::new(),
        };
        let (meaning, default) = meaning_and_default(arg);
        let (env, range) = (env.to_string_lossy(), range(arg, long));
        writeln!(text, "| `--{long}{value}` | `{env}` | {default} | {range} | {meaning} |")
            .expect("because writing to a string cannot fail");
    }
    text
}

/// The values that a flag takes, as far as they are limited.
fn range(arg: &Arg, long: &str) -> String {
    if !arg.get_action().takes_values() {
        return "–".to_owned();
    }
    let names = arg.get_possible_values();
    let names: Vec<String> = names.iter().map(|value| format!("`{}`", value.get_name())).collect();
    match bounds_text(&format!("--{long}")) {
        Some(bounds) => bounds,
        None if names.is_empty() => "–".to_owned(),
        None => names.join(", "),
    }
}

/// The paragraphs of a flag's help joined, and its default.
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
        if let Some(text) = words.strip_prefix(DEFAULT_PREFIX) {
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
