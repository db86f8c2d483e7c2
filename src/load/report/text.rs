//! The report as plain text: for the terminal, for a CI page, and for a CI's test list. Pure.

use super::cause::headline;
use super::compare::{FigureDifference, NOTHING, differences};
use super::model::{LoadReport, RunReport, TestOutcome};
use crate::load::target::{TargetOutcome, TargetVerdict};
use std::fmt::Write as _;

/// A number with as many digits as are worth reading.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v == v.trunc() && v < 1e15 || v >= 1000.0 => group(value),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Whole numbers with thin groups of three, as far as plain text allows: commas.
fn group(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

fn mark(reached: TargetOutcome) -> &'static str {
    match reached {
        TargetOutcome::Yes => "reached",
        TargetOutcome::No => "MISSED",
        TargetOutcome::NotJudged => "not judged",
    }
}

/// What is printed when all is over.
pub fn console(report: &LoadReport, earlier: Option<&LoadReport>) -> String {
    let mut text = format!("\n{}: {}\n", report.scenario, report.outcome.label());
    for run in &report.runs {
        let reason =
            if run.reason.is_empty() { String::new() } else { format!(" ({})", run.reason) };
        let _ = writeln!(text, "\n{} — {}{reason}", run.name, run.outcome.label());
        for line in key_figures(run) {
            let _ = writeln!(text, "  {line}");
        }
        if run.trial {
            continue;
        }
        for target in &run.targets {
            let value = target.value.map(number).unwrap_or_default();
            let _ =
                writeln!(text, "  {:<34} {:>12}  {}", target.target, value, mark(target.reached));
        }
        for trend in &run.trends {
            let _ = writeln!(text, "  {}: {}", trend.figure, trend.verdict);
        }
        if run.knows_nothing_of_leaks() {
            let _ = writeln!(text, "  {NO_SLOPES}");
        }
    }
    if let Some(point) = &report.breaking_point {
        let _ = writeln!(text, "\n{}", headline(point));
    }
    if let Some(earlier) = earlier {
        let _ = writeln!(text, "\nagainst the report of {}:", earlier.started);
        let found = differences(earlier, report);
        if found.is_empty() {
            let _ = writeln!(text, "  {NOTHING}");
        }
        for d in found {
            let change = d.percent.map_or_else(String::new, |p| format!("{p:+.1} %"));
            let word = d.better.map_or("", |better| if better { "better" } else { "worse" });
            let FigureDifference { run, figure, before, after, .. } = d;
            let _ = writeln!(text, "  {run} {figure}: {before} → {after} {change} {word}");
        }
    }
    text
}

/// The few lines that say most about a run.
fn key_figures(run: &RunReport) -> Vec<String> {
    let get = |name: &str| run.figures.get(name).copied();
    let count = |name: &str| number(get(name).unwrap_or(0.0));
    let mut lines = vec![format!(
        "{} users at once, {} connected, {} matched, {} messages sent, {} received",
        count("users_peak"),
        count("connected"),
        count("matched"),
        count("sent"),
        count("received")
    )];
    for name in ["connect", "match", "relay", "ping", "http"] {
        if let Some(q) = run.times.get(name) {
            lines.push(format!(
                "{name:<8} p50 {:>9} ms   p99 {:>9} ms   p99.9 {:>9} ms   max {:>9} ms",
                number(q.p50_ms),
                number(q.p99_ms),
                number(q.p999_ms),
                number(q.max_ms)
            ));
        }
    }
    if let (Some(server), Some(own)) =
        (get("server_cpu_us_per_message"), get("generator_cpu_us_per_message"))
    {
        lines.push(format!(
            "CPU a message: server {} µs, generator {} µs (ratio {})",
            number(server),
            number(own),
            number(get("generator_cpu_ratio").unwrap_or(0.0))
        ));
    }
    for fault in &run.faults {
        lines.push(format!("{}: {} ({})", fault.kind, number(fault.count as f64), fault.meaning));
    }
    lines
}

/// `summary.md`, for a CI page.
pub(super) fn summary(report: &LoadReport, earlier: Option<&LoadReport>) -> String {
    let mut text = format!(
        "# Load test `{}`: {}\n\n{} against `{}`, {} s\n\n",
        report.scenario,
        report.outcome.label(),
        report.started,
        report.url,
        number(report.seconds.round())
    );
    text.push_str(
        "| run | outcome | users | msg/s | match p99 ms | relay p50 ms | relay p99 ms | lost | errors |\n",
    );
    text.push_str("| --- | --- | --: | --: | --: | --: | --: | --: | --: |\n");
    for run in &report.runs {
        let get = |name: &str| run.figures.get(name).map_or("–".to_owned(), |v| number(*v));
        let errors: u64 = run.faults.iter().map(|fault| fault.count).sum();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {errors} |",
            run.name,
            run.outcome.label(),
            get("users_peak"),
            get("messages_per_s"),
            get("match_p99_ms"),
            get("relay_p50_ms"),
            get("relay_p99_ms"),
            get("lost")
        );
    }
    if let Some(point) = &report.breaking_point {
        let _ = writeln!(text, "\n**Breaking point:** {}", headline(point));
    }
    let missed = report.runs.iter().filter(|run| !run.trial && run.outcome != TestOutcome::Passed);
    for run in missed {
        let _ = writeln!(text, "\n**{}:** {}", run.name, run.reason);
    }
    for line in &report.asked_in_vain {
        let _ = writeln!(text, "\n**Missed:** {line}");
    }
    text += &not_judged(report);
    if !report.advice.is_empty() {
        text.push_str("\n## What to do\n\n");
        for advice in &report.advice {
            let _ = writeln!(text, "- {} ({})", advice.advice, advice.evidence);
        }
    }
    if let Some(earlier) = earlier {
        text += &comparison(report, earlier);
    }
    text
}

/// Said of a run that was to find leaks and was too short for it.
const NO_SLOPES: &str = "too few intervals for a slope test: nothing is known of leaks";

/// The targets by which a run was not judged, and why: what has passed has not passed by them.
/// The trials of a search count as one run, which a target has judged if it has judged any.
fn not_judged(report: &LoadReport) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    let mut add = |judgement: &TargetVerdict, run| {
        let what = format!("`{}`: {}", judgement.target, judgement.note);
        match lines.iter_mut().find(|(known, _)| *known == what) {
            Some((_, runs)) => runs.push(run),
            None => lines.push((what, vec![run])),
        }
    };
    let open = |judgement: &&TargetVerdict| judgement.reached == TargetOutcome::NotJudged;
    for run in report.runs.iter().filter(|run| !run.trial) {
        run.targets.iter().filter(open).for_each(|judgement| add(judgement, run.name.as_str()));
    }
    let trials = || report.runs.iter().filter(|run| run.trial);
    let of_trials = |target: &str| {
        trials()
            .flat_map(|run| &run.targets)
            .filter(move |other| other.target == target)
            .all(|judgement| open(&judgement))
    };
    for judgement in trials().take(1).flat_map(|run| &run.targets) {
        if of_trials(&judgement.target) {
            add(judgement, "the search");
        }
    }
    for run in report.runs.iter().filter(|run| run.knows_nothing_of_leaks()) {
        lines.push((NO_SLOPES.to_owned(), vec![run.name.as_str()]));
    }
    let mut text = String::new();
    for (at, (what, runs)) in lines.iter().enumerate() {
        text += if at == 0 { "\n## Not judged\n\n" } else { "" };
        let _ = writeln!(text, "- {what} ({})", runs.join("; "));
    }
    text
}

fn comparison(report: &LoadReport, earlier: &LoadReport) -> String {
    let heading = format!("\n## Against {}\n\n", earlier.started);
    let found = differences(earlier, report);
    if found.is_empty() {
        return format!("{heading}There is {NOTHING}.\n");
    }
    let mut text =
        heading + "| run | figure | before | after | change |\n| --- | --- | --: | --: | --: |\n";
    for d in found {
        let change = d.percent.map_or("–".to_owned(), |p| format!("{p:+.1} %"));
        let word = d.better.map_or("", |better| if better { " better" } else { " **worse**" });
        let FigureDifference { run, figure, before, after, .. } = d;
        let _ = writeln!(text, "| {run} | {figure} | {before} | {after} | {change}{word} |");
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `junit.xml`: each target of each run, and each run's faults, is a test case.
pub(super) fn junit(report: &LoadReport) -> String {
    let (mut cases, mut tests, mut failures, mut skipped) = (String::new(), 0, 0, 0);
    let mut case = |class: &str, name: &str, seconds: f64, verdict: Option<(&str, String)>| {
        tests += 1;
        let head = format!(
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\"",
            escape(class),
            escape(name)
        );
        cases += &match verdict {
            None => format!("{head}/>\n"),
            Some(("skipped", why)) => {
                skipped += 1;
                format!("{head}><skipped message=\"{}\"/></testcase>\n", escape(&why))
            }
            Some((_, why)) => {
                failures += 1;
                format!("{head}><failure message=\"{}\"/></testcase>\n", escape(&why))
            }
        };
    };
    for line in &report.asked_in_vain {
        case("targets", "what is asked for is judged", 0.0, Some(("failure", line.clone())));
    }
    for run in report.runs.iter().filter(|run| !run.trial) {
        for target in &run.targets {
            let verdict = match target.reached {
                TargetOutcome::Yes => None,
                TargetOutcome::No => {
                    let value = target.value.map(number).unwrap_or_default();
                    Some(("failure", format!("{}: it is {value}", target.target)))
                }
                TargetOutcome::NotJudged => Some(("skipped", target.note.clone())),
            };
            case(&run.name, &target.target, 0.0, verdict);
        }
        let verdict = match run.outcome {
            TestOutcome::Passed => None,
            TestOutcome::Failed => Some(("failure", run.reason.clone())),
            TestOutcome::Void | TestOutcome::Stopped => Some(("skipped", run.reason.clone())),
        };
        case(&run.name, "the run as a whole", run.seconds, verdict);
    }
    if let Some(point) = &report.breaking_point {
        let verdict = match (point.void, point.holds) {
            (true, _) => Some(("skipped", headline(point))),
            (false, None) => Some(("failure", headline(point))),
            (false, Some(_)) => None,
        };
        case("stress", "a breaking point is found", 0.0, verdict);
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"load: {}\" \
         tests=\"{tests}\" failures=\"{failures}\" skipped=\"{skipped}\" time=\"{:.3}\" \
         timestamp=\"{}\">\n{cases}  </testsuite>\n</testsuites>\n",
        escape(&report.scenario),
        report.seconds,
        report.started
    )
}

#[cfg(test)]
mod tests {
    use super::super::model::{example_report, example_run};
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, text) in [
            (0.0, "0"),
            (0.1234, "0.123"),
            (4.567, "4.57"),
            (123.46, "123.5"),
            (1234.5, "1,234"),
            (1_000_000.0, "1,000,000"),
            (-1500.0, "-1,500"),
            (999.0, "999"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    fn failed() -> LoadReport {
        let mut run = example_run();
        run.name = "calls <&>".to_owned();
        run.outcome = TestOutcome::Failed;
        run.reason = "missed: relay_p99_ms < 50".to_owned();
        let judgement = |reached, note: &str| TargetVerdict {
            target: "relay_p99_ms < 50".to_owned(),
            figure: "relay_p99_ms".to_owned(),
            bound: 50.0,
            value: Some(75.0),
            reached,
            note: note.to_owned(),
        };
        run.targets = vec![
            judgement(TargetOutcome::No, ""),
            judgement(TargetOutcome::Yes, ""),
            judgement(TargetOutcome::NotJudged, "too small"),
        ];
        LoadReport { runs: vec![run], outcome: TestOutcome::Failed, ..example_report() }
    }

    #[test]
    fn junit_counts_what_it_lists_and_escapes_it() {
        let xml = junit(&failed());
        assert!(xml.contains("tests=\"4\" failures=\"2\" skipped=\"1\""), "{xml}");
        assert!(xml.contains("classname=\"calls &lt;&amp;&gt;\""), "{xml}");
        assert_eq!(xml.matches("<testcase").count(), 4);
    }

    #[test]
    fn summary_and_console_say_what_was_missed() {
        for text in [summary(&failed(), None), console(&failed(), None)] {
            assert!(text.contains("failed") && text.contains("relay_p99_ms < 50"), "{text}");
        }
    }

    #[test]
    fn an_endurance_too_short_for_slopes_is_said_not_to_know_of_leaks() {
        let name = crate::load::run_plans::ENDURANCE.to_owned();
        let short = RunReport { name, trends: Vec::new(), ..example_run() };
        let report = LoadReport { runs: vec![short], ..example_report() };
        let listed = format!("## Not judged\n\n- {NO_SLOPES} (endurance)\n");
        assert!(summary(&report, None).contains(&listed), "{}", summary(&report, None));
        assert!(console(&report, None).contains(NO_SLOPES));
    }

    #[test]
    fn the_summary_lists_what_judged_nothing() {
        let told = summary(&failed(), None);
        let listed = "## Not judged\n\n- `relay_p99_ms < 50`: too small (calls <&>)\n";
        assert!(told.contains(listed), "{told}");
        assert!(!summary(&example_report(), None).contains("Not judged"));
        let judgement = |target: &str, reached| TargetVerdict {
            target: target.to_owned(),
            note: "not measured in this run".to_owned(),
            reached,
            ..failed().runs[0].targets[0].clone()
        };
        let trial = |targets| RunReport { trial: true, targets, ..example_run() };
        // Of a search one trial may have what another has not.
        let runs = vec![
            trial(vec![
                judgement("x", TargetOutcome::NotJudged),
                judgement("y", TargetOutcome::NotJudged),
            ]),
            trial(vec![
                judgement("x", TargetOutcome::NotJudged),
                judgement("y", TargetOutcome::Yes),
            ]),
        ];
        let report = LoadReport { runs, ..example_report() };
        let told = summary(&report, None);
        assert!(told.ends_with("- `x`: not measured in this run (the search)\n"), "{told}");
        let missed = LoadReport { asked_in_vain: vec!["`x` was asked for".to_owned()], ..report };
        assert!(summary(&missed, None).contains("**Missed:** `x` was asked for"));
        assert!(junit(&missed).contains("failures=\"1\""));
    }

    #[test]
    fn where_nothing_can_be_compared_that_is_said() {
        for text in [summary, console].map(|write| write(&failed(), Some(&example_report()))) {
            assert!(text.contains(NOTHING) && !text.contains("before"), "{text}");
        }
    }
}
