//! The manuals agree with the repository: flags, metrics, alerts, files and links that they name
//! exist.

use super::documents::read;
use clap::CommandFactory;
use std::collections::BTreeSet;
use std::path::Path;
use switchboard::config::Arguments;

const OPERATIONS: &str = "tuning/OPERATIONS.md";

/// The manuals whose links are checked.
const MANUALS: &[&str] = &[
    "README.md",
    "benches/README.md",
    "src/ARCHITECTURE.md",
    "src/load/README.md",
    "src/wire/PROTOCOL.md",
    "tests/README.md",
    "tuning/README.md",
    "tuning/REFERENCE.md",
    OPERATIONS,
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    ".github/CHANGELOG.md",
];

/// Flags of programs that are not part of this repository.
const FOREIGN_FLAGS: &[&str] = &[
    "--nofile",
    "--pid",
    "--release",
    "--now",
    "--since",
    "--config",
    // Those of container engines.
    "--format",
    "--name",
    "--ulimit",
    "--stop-timeout",
    "--read-only",
    "--cap-drop",
    "--security-opt",
    "--cpus",
    "--cpuset-cpus",
    "--sysctl",
];

/// Words of `text` that begin with `prefix`, each up to the first byte that is not part of a name.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte);
    let starts = text.match_indices(prefix).map(|(at, _)| at);
    let starts = starts.filter(|at| *at == 0 || !is_part(text.as_bytes()[at - 1]));
    starts
        .map(|at| {
            let rest = &text[at..];
            let end = rest.bytes().position(|byte| !is_part(byte)).unwrap_or(rest.len());
            rest[..end].trim_end_matches([':', '-'])
        })
        .collect()
}

#[test]
fn flags_in_the_operations_manual_exist() {
    let command = Arguments::command();
    let server: BTreeSet<String> = command
        .get_arguments()
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    let installer = read("scripts/install.sh") + &read("tuning/nic.sh");
    let tester = read("src/load/README.md");
    let manual = read(OPERATIONS);
    let unknown: Vec<_> = words(&manual, "--")
        .into_iter()
        .filter(|flag| flag.len() > 2)
        .filter(|flag| !server.contains(*flag) && !FOREIGN_FLAGS.contains(flag))
        .filter(|flag| !installer.contains(*flag) && !tester.contains(*flag))
        .collect();
    assert!(unknown.is_empty(), "no program has {unknown:?}");
}

/// Every setting that the checklist names is in the settings file, commented out, and every setting
/// there is a flag's.
#[test]
fn the_settings_file_has_every_setting_of_the_checklist() {
    let command = Arguments::command();
    let variables: BTreeSet<String> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned))
        .collect();
    let settings = read("tuning/switchboard.env");
    let listed: BTreeSet<&str> = settings
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('=').map(|(name, _)| name))
        .filter(|name| name.starts_with("SWITCHBOARD_"))
        .collect();
    for name in &listed {
        assert!(variables.contains(*name), "no flag has the variable {name}");
    }
    let manual = read(OPERATIONS);
    let (_, checklist) = manual.split_once("\n## Before the first users\n").unwrap();
    let (checklist, _) = checklist.split_once("\n## ").unwrap();
    for flag in
        words(checklist, "--").into_iter().filter(|flag| !["--check", "--apply"].contains(flag))
    {
        let variable = flag.replacen("--", "SWITCHBOARD_", 1).to_uppercase().replace('-', "_");
        assert!(listed.contains(&*variable), "the settings file lacks {variable}");
    }
    assert!(
        listed.contains("SWITCHBOARD_TURN_SECRET_FILE"),
        "the checklist asks for a TURN server"
    );
}

#[test]
fn metrics_in_the_operations_manual_exist() {
    let known = switchboard::telemetry::metrics_table();
    let recorded = read("tuning/prometheus/rules/recording.yml");
    let text = read(OPERATIONS);
    let mut found = 0;
    for prefix in ["switchboard_", "process_", "websocket_", "matchmaking_", "instance:"] {
        for metric in words(&text, prefix) {
            let is_known = known.contains(&format!("`{metric}`"));
            assert!(is_known || recorded.contains(metric), "there is no metric {metric}");
            found += 1;
        }
    }
    assert!(found > 15, "{found} metrics");
}

#[test]
fn every_alert_has_a_section_with_its_severity() {
    let rules = read("tuning/prometheus/rules/alerts.yml");
    let mut expected = BTreeSet::new();
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let (_, severity) = rule.split_once("severity: ").unwrap();
        expected.insert((name.to_owned(), severity.split(' ').next().unwrap().to_owned()));
    }
    let manual = read(OPERATIONS);
    let (_, alerts) = manual.split_once("\n## Alerts\n").unwrap();
    let (alerts, _) = alerts.split_once("\n## ").unwrap();
    let mut described = BTreeSet::new();
    for section in alerts.split("\n### ").skip(1) {
        let (name, text) = section.split_once("\n\n*").unwrap();
        described.insert((name.to_owned(), text.split(':').next().unwrap().to_lowercase()));
    }
    assert_eq!(described, expected);
}

/// What the README shows of the log at start: each run of words without a number or an address.
#[test]
fn log_lines_in_the_readme_are_those_of_the_program() {
    let program = read("src/main.rs");
    let readme = read("README.md");
    let mut found = 0;
    for line in readme.lines().filter_map(|line| line.strip_prefix("INFO ")) {
        let is_text = |word: &&str| !word.contains(|c: char| c.is_ascii_digit() || c == '=');
        let words: Vec<&str> = line.split(' ').collect();
        for run in words.split(|word| !is_text(word)).filter(|run| run.len() > 1) {
            let run = run.join(" ");
            assert!(program.contains(&run), "no line of the log contains `{run}`");
            found += 1;
        }
    }
    assert!(found >= 4, "{found} pieces of log lines");
}

/// The identifier that GitHub and rustdoc give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The lines of a document outside its code blocks.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

fn anchors(document: &str) -> BTreeSet<String> {
    let text = read(document);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn links_in_the_manuals_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for manual in MANUALS {
        let folder = Path::new(manual).parent().unwrap();
        let text = prose(&read(manual));
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if target.starts_with("http") {
                continue;
            }
            let (file, part) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { manual.into() } else { folder.join(file) };
            assert!(root.join(&file).exists(), "{manual}: {target} does not exist");
            if !part.is_empty() {
                let known = anchors(file.to_str().unwrap());
                assert!(known.contains(part), "{manual}: {target} has no such heading");
            }
        }
    }
}

/// The contract and the design are in this repository: a document outside it cannot be read by
/// everyone who reads the code.
#[test]
fn no_file_refers_to_a_document_outside_the_repository() {
    let own = "tests/operations/manuals.rs";
    // Written apart, so that this file does not contain them.
    let outside = [concat!("sha", "red/"), concat!("DESI", "GN.md")];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = std::process::Command::new("git").args(["ls-files"]).current_dir(root).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert!(listed.contains(own), "git lists the files of the repository");
    let mut found = Vec::new();
    for path in listed.lines() {
        let Ok(text) = std::fs::read_to_string(root.join(path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if outside.iter().any(|name| line.contains(name)) {
                found.push(format!("{path}:{}: {line}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
