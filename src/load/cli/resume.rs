//! `--resume`: continues an interrupted run, provided that the request describes the same run.

use super::{CliError, usage_error};
use crate::load::checkpoint::{Checkpoint, RequestedRun};
use crate::load::scenario::{PartialScenario, Scenario, parse_file};

/// Keys that may differ: where the server is, how it is reached and observed, and where the
/// report is. All others define the load and how it is judged.
const MAY_DIFFER: [&str; 9] = [
    "url",
    "stats_url",
    "server_pid",
    "source",
    "report",
    "header",
    "origin",
    "token",
    "proxy_protocol",
];

/// The interrupted run in the report directory of `flags`. A value that `flags` does not contain
/// is taken from that run; one that it contains must be the same.
pub(super) fn interrupted_run(
    flags: PartialScenario,
    time_scale: Option<f64>,
) -> Result<(Scenario, RequestedRun), CliError> {
    let from_flags = flags.clone().resolve();
    let directory = from_flags.common().report.clone();
    let interrupted =
        Checkpoint::read(&directory).map_err(|error| usage_error(error.to_string()))?.requested;
    let stored = parse_file(&interrupted.configuration).map_err(|error| {
        usage_error(format!("the checkpoint in {}: {error}", directory.display()))
    })?;
    let before = stored.clone().resolve();
    let mut scenario = flags.with_fallback(stored).map_or(from_flags, PartialScenario::resolve);
    scenario.common_mut().report = directory;
    let mut differing = differences(&before, &scenario);
    if let Some(factor) = time_scale.filter(|factor| *factor != interrupted.time_scale) {
        differing.push(format!("time_scale was {}, is {factor}", interrupted.time_scale));
    }
    if !differing.is_empty() {
        let list = differing.join("; ");
        return Err(usage_error(format!("the interrupted run has other values: {list}")));
    }
    Ok((scenario, interrupted))
}

/// The keys that make it a different run, each with both values.
fn differences(before: &Scenario, now: &Scenario) -> Vec<String> {
    if before.name() != now.name() {
        return vec![format!("scenario was {}, is {}", before.name(), now.name())];
    }
    let table = |scenario| toml::Table::try_from(scenario).unwrap_or_default();
    let (before, now) = (table(before), table(now));
    let difference = |(key, value): (&String, &toml::Value)| {
        let old = before.get(key)?;
        let differs = old != value && !MAY_DIFFER.contains(&key.as_str());
        differs.then(|| format!("{key} was {old}, is {value}"))
    };
    now.iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_server_address_is_the_same_run_and_another_load_is_not() {
        let scenario = |lines: &str| {
            parse_file(&format!("scenario = \"endurance\"\n{lines}")).unwrap().resolve()
        };
        let before = scenario("rooms = 5\nduration = \"24h\"");
        let moved = "rooms = 5\nurl = \"ws://127.0.0.1:9/ws\"\nreport = \"/tmp/x\"";
        assert_eq!(differences(&before, &scenario(moved)), [""; 0]);
        let other = scenario("rooms = 7\nduration = \"2h\"");
        let list = differences(&before, &other).join("; ");
        assert!(list.contains("rooms was 5, is 7"), "{list}");
        assert!(list.contains("duration was \"1day\", is \"2h\""), "{list}");
        let plan = parse_file("scenario = \"plan\"").unwrap().resolve();
        assert_eq!(differences(&plan, &before), ["scenario was plan, is endurance"]);
    }
}
