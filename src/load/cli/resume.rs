//! What it takes to go on with an interrupted run: that it is the same one.

use super::{CliError, usage};
use crate::load::checkpoint::{Checkpoint, RequestedRun};
use crate::load::scenario::{PartialScenario, Scenario, parse_file};

/// What may have changed meanwhile: where the server is now and how it is reached, and where the
/// report lies. Everything else is the load and how it is judged.
const MAY_DIFFER: [&str; 5] = ["url", "stats_url", "server_pid", "source", "report"];

/// The run that was interrupted in the report directory of `request`. What the request does not
/// say is as it was; what it says must be as it was.
pub(super) fn order(
    request: PartialScenario,
    time_scale: Option<f64>,
) -> Result<(Scenario, RequestedRun), CliError> {
    let asked = request.clone().resolve();
    let directory = asked.common().report.clone();
    let order = Checkpoint::read(&directory).map_err(|error| usage(error.to_string()))?.order;
    let below = parse_file(&order.configuration)
        .map_err(|error| usage(format!("{}: its checkpoint: {error}", directory.display())))?;
    let was = below.clone().resolve();
    let mut scenario = request.over(below).map_or(asked, PartialScenario::resolve);
    scenario.common_mut().report = directory;
    let mut differing = differences(&was, &scenario);
    if let Some(factor) = time_scale.filter(|factor| *factor != order.time_scale) {
        differing.push(format!("time_scale was {}, is {factor}", order.time_scale));
    }
    if !differing.is_empty() {
        let what = differing.join("; ");
        return Err(usage(format!("what was interrupted is another run: {what}")));
    }
    Ok((scenario, order))
}

/// Each key that makes it another run, with both values.
fn differences(was: &Scenario, is: &Scenario) -> Vec<String> {
    if was.kind() != is.kind() {
        return vec![format!("scenario was {}, is {}", was.kind(), is.kind())];
    }
    let table = |scenario| toml::Table::try_from(scenario).unwrap_or_default();
    let (was, is) = (table(was), table(is));
    let differs = |(key, now): (&String, &toml::Value)| {
        let before = was.get(key)?;
        let other = before != now && !MAY_DIFFER.contains(&key.as_str());
        other.then(|| format!("{key} was {before}, is {now}"))
    };
    is.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_the_same_wherever_its_server_is() {
        let scenario = |lines: &str| {
            parse_file(&format!("scenario = \"endurance\"\n{lines}")).unwrap().resolve()
        };
        let was = scenario("rooms = 5\nduration = \"24h\"");
        let moved = "rooms = 5\nurl = \"ws://127.0.0.1:9/ws\"\nreport = \"/tmp/x\"";
        assert_eq!(differences(&was, &scenario(moved)), [""; 0]);
        let other = scenario("rooms = 7\nduration = \"2h\"");
        let said = differences(&was, &other).join("; ");
        assert!(said.contains("rooms was 5, is 7"), "{said}");
        assert!(said.contains("duration was \"1day\", is \"2h\""), "{said}");
        let plan = parse_file("scenario = \"plan\"").unwrap().resolve();
        assert_eq!(differences(&plan, &was), ["scenario was plan, is endurance"]);
    }
}
