//! The differences in configuration between two reports. Pure.

use crate::load::report::model::LoadReport;
use std::collections::BTreeMap;

/// Keys of a scenario that do not change what a server has to carry: addresses, files, how the run is
/// observed and judged, its length and its randomness. `queue` is random by default.
const SAME_LOAD: [&str; 25] = [
    "capacity",
    "ceiling",
    "compare",
    "confirmations",
    "duration",
    "endurance",
    "factor",
    "hold",
    "interval",
    "late_after",
    "late_percent",
    "leak_percent",
    "queue",
    "report",
    "require",
    "rounds",
    "seed",
    "server_pid",
    "source",
    "start",
    "stats_url",
    "step",
    "targets",
    "tolerance_percent",
    "url",
];
/// Keys that are different in every run, or belong to it.
const UNMENTIONED: [&str; 4] = ["queue", "report", "server_pid", "scenario"];

/// What differs between two reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ConfigurationDifferences {
    /// Each difference in words.
    pub(super) lines: Vec<String>,
    /// Whether the servers had to carry different loads.
    pub(super) of_load: bool,
}

/// Compares the configurations of two reports.
pub(super) fn differences(earlier: &LoadReport, report: &LoadReport) -> ConfigurationDifferences {
    let mut all = ConfigurationDifferences::default();
    let mut note = |name: &str, before: &str, now: &str| {
        let differs = before != now;
        if differs {
            all.lines.push(format!("{name} was {before}, is {now}"));
        }
        differs
    };
    let mut of_load = note("scenario", &earlier.scenario, &report.scenario);
    let (before, now) = (scenario_values(earlier), scenario_values(report));
    let absent = "not set".to_owned();
    for key in before.keys().chain(now.keys().filter(|key| !before.contains_key(*key))) {
        let value = |values: &BTreeMap<String, String>| values.get(key).unwrap_or(&absent).clone();
        if !UNMENTIONED.contains(&key.as_str()) && note(key, &value(&before), &value(&now)) {
            of_load |= !SAME_LOAD.contains(&key.as_str());
        }
    }
    let (machine, other) = (&earlier.machine, &report.machine);
    note("number of CPUs", &machine.cpus.to_string(), &other.cpus.to_string());
    note("CPU", &machine.cpu_model, &other.cpu_model);
    note("kernel", &machine.kernel, &other.kernel);
    let gib = |bytes: u64| format!("{:.0} GiB", bytes as f64 / (1u64 << 30) as f64);
    note("memory", &gib(machine.memory_bytes), &gib(other.memory_bytes));
    let place = |is_here| if is_here { "this machine" } else { "another machine" };
    note("place of the server", place(machine.server_is_here), place(other.server_is_here));
    note("load tester's version", &earlier.version, &report.version);
    for (name, value) in &earlier.server {
        if let Some(now) = report.server.get(name) {
            note(&format!("server's {name}"), value, now);
        }
    }
    all.of_load = of_load;
    all
}

/// The values of a report's scenario by key.
fn scenario_values(report: &LoadReport) -> BTreeMap<String, String> {
    let table: toml::Table = report.configuration.parse().unwrap_or_default();
    table.into_iter().map(|(key, value)| (key, value.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::model::{GeneratorHost, example_report};
    use super::*;

    #[test]
    fn names_flags_machine_and_server_that_differ() {
        let report = |configuration: &str, cpus, version: &str| LoadReport {
            configuration: configuration.to_owned(),
            machine: GeneratorHost { cpus, ..GeneratorHost::default() },
            server: [("version".to_owned(), version.to_owned())].into(),
            ..example_report()
        };
        let before = report("rooms = 5\nqueue = \"load-a\"\nduration = \"1m\"\n", 2, "0.1.0");
        assert_eq!(differences(&before, &before), ConfigurationDifferences::default());
        let now = report("rooms = 7\nqueue = \"load-b\"\nduration = \"2m\"\n", 4, "0.2.0");
        let found = differences(&before, &now);
        let lines = [
            "duration was \"1m\", is \"2m\"",
            "rooms was 5, is 7",
            "number of CPUs was 2, is 4",
            "server's version was 0.1.0, is 0.2.0",
        ];
        assert_eq!(
            (found.lines.iter().map(String::as_str).collect(), found.of_load),
            (lines.to_vec(), true)
        );
        let longer = report("rooms = 5\nqueue = \"load-c\"\nduration = \"2m\"\n", 2, "0.1.0");
        let found = differences(&before, &longer);
        assert_eq!((found.lines.len(), found.of_load), (1, false));
    }

    #[test]
    fn each_property_of_machine_and_tester_is_named_if_it_differs() {
        type Change = fn(&mut LoadReport);
        let changes: [(Change, &str); 7] = [
            (|report| report.machine.cpus = 4, "number of CPUs was 0, is 4"),
            (|report| report.machine.cpu_model = "B".to_owned(), "CPU was , is B"),
            (|report| report.machine.kernel = "6.12".to_owned(), "kernel was , is 6.12"),
            (|report| report.machine.memory_bytes = 8 << 30, "memory was 0 GiB, is 8 GiB"),
            (
                |report| report.machine.server_is_here = true,
                "place of the server was another machine, is this machine",
            ),
            (
                |report| report.version = "0.2.0".to_owned(),
                "load tester's version was 0.1.0, is 0.2.0",
            ),
            (|report| report.scenario = "http".to_owned(), "scenario was calls, is http"),
        ];
        for (change, line) in changes {
            let mut now = example_report();
            change(&mut now);
            let found = differences(&example_report(), &now);
            let is_load = line.starts_with("scenario");
            assert_eq!((found.lines, found.of_load), (vec![line.to_owned()], is_load));
        }
    }
}
