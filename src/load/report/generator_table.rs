//! The agents of each run and how well they kept up, as tables of `report.html`, `summary.md` and the
//! console. Pure.

use super::html::escape;
use super::model::{GeneratorReport, LoadReport, RunReport};
use super::text::number;
use std::fmt::Write as _;

/// The columns after the agent and its host.
const COLUMNS: [&str; 9] = [
    "users",
    "sent",
    "received",
    "CPU %",
    "CPU peak %",
    "late %",
    "loop ms",
    "descriptors",
    "limit",
];

fn values(generator: &GeneratorReport) -> [String; 9] {
    let count = |count: u64| number(count as f64);
    [
        count(generator.users_peak),
        count(generator.sent),
        count(generator.received),
        number(generator.cpu_percent),
        number(generator.cpu_peak_percent),
        number(generator.late_percent),
        number(generator.longest_iteration_ms),
        generator.descriptors.map_or("–".to_owned(), count),
        count(generator.descriptor_limit),
    ]
}

fn host(generator: &GeneratorReport) -> String {
    format!("{}, {} CPUs", generator.host_name, generator.host.cpus)
}

/// The agents of the runs: those of trials only if there is no other run.
fn rows(report: &LoadReport) -> impl Iterator<Item = (&RunReport, &GeneratorReport)> {
    let only_trials = report.runs.iter().all(|run| run.trial);
    let shown = report.runs.iter().filter(move |run| only_trials || !run.trial);
    shown.flat_map(|run| run.generators.iter().map(move |generator| (run, generator)))
}

/// Number of agents of the test; 0 if there were none.
pub(super) fn count(report: &LoadReport) -> usize {
    report.runs.iter().map(|run| run.generators.len()).max().unwrap_or(0)
}

/// The section of `report.html`; empty if there were no agents.
pub(super) fn html(report: &LoadReport) -> String {
    let mut text = String::new();
    for (run, generator) in rows(report) {
        let _ = write!(
            text,
            "<tr><td>{}</td><td>{}</td><td>{}</td>",
            escape(&run.name),
            escape(&generator.address),
            escape(&host(generator))
        );
        for value in values(generator) {
            let _ = write!(text, "<td class=\"n\">{value}</td>");
        }
        let (class, word) = match &generator.failure {
            Some(failure) => ("bad", escape(failure)),
            None => ("good", "✓".to_owned()),
        };
        let _ = writeln!(text, "<td class=\"{class}\">{word}</td></tr>");
    }
    if text.is_empty() {
        return text;
    }
    let heads = COLUMNS.map(|name| format!("<th class=\"n\">{name}</th>")).concat();
    format!(
        "<h2>Generators</h2>\n<p class=\"note\">Each agent drives its share of the users. All other \
         figures of this report are those of all agents together.</p>\n<div class=\"wide\"><table>\
         <thead><tr><th>run</th><th>agent</th><th>machine</th>{heads}<th></th></tr></thead>\
         <tbody>\n{text}</tbody></table></div>\n"
    )
}

/// The section of `summary.md`; empty if there were no agents.
pub(super) fn markdown(report: &LoadReport) -> String {
    let mut text = String::new();
    for (run, generator) in rows(report) {
        let failure = generator.failure.as_deref().unwrap_or("");
        let (values, host) = (values(generator).join(" | "), host(generator));
        let _ = writeln!(
            text,
            "| {} | {} | {host} | {values} | {failure} |",
            run.name, generator.address
        );
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "\n## Generators\n\n| run | agent | machine | {} | |\n| --- | --- | --- {}| --- |\n{text}",
        COLUMNS.join(" | "),
        "| --: ".repeat(COLUMNS.len())
    )
}

/// The agents of a run, one line each, for the console.
pub(super) fn console(run: &RunReport) -> Vec<String> {
    let line = |generator: &GeneratorReport| {
        let lost = generator.failure.as_ref().map(|why| format!("; LOST: {why}"));
        format!(
            "agent {}: {} users, CPU {} %, {} % late, loop {} ms, {} descriptors of {}{}",
            generator.address,
            number(generator.users_peak as f64),
            number(generator.cpu_percent),
            number(generator.late_percent),
            number(generator.longest_iteration_ms),
            generator.descriptors.map_or("–".to_owned(), |open| number(open as f64)),
            number(generator.descriptor_limit as f64),
            lost.unwrap_or_default()
        )
    };
    run.generators.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::model::{example_report, example_run};
    use super::*;

    #[test]
    fn every_form_of_the_report_names_the_agents_and_the_one_that_was_lost() {
        let agent = |address: &str, failure: Option<&str>| GeneratorReport {
            address: address.to_owned(),
            host_name: "<east>".to_owned(),
            users_peak: 20_000,
            failure: failure.map(str::to_owned),
            ..GeneratorReport::default()
        };
        let generators =
            vec![agent("192.0.2.1:7000", None), agent("192.0.2.2:7000", Some("has disconnected"))];
        let run = RunReport { generators, ..example_run() };
        let lines = console(&run).join("\n");
        let report = LoadReport { runs: vec![run], ..example_report() };
        for text in [html(&report), markdown(&report), lines] {
            for part in ["192.0.2.1:7000", "192.0.2.2:7000", "20,000", "has disconnected"] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert_eq!(text.matches("has disconnected").count(), 1, "{text}");
        }
        assert!(html(&report).contains("&lt;east&gt;"));
        assert_eq!(count(&report), 2);
    }

    #[test]
    fn a_report_without_agents_has_no_section_for_them() {
        let report = LoadReport { runs: vec![example_run()], ..example_report() };
        assert_eq!((html(&report), markdown(&report)), (String::new(), String::new()));
        assert_eq!((console(&report.runs[0]).len(), count(&report)), (0, 0));
    }
}
