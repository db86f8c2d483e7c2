//! Tests of the layers of a scenario's values.

use super::*;

#[test]
fn every_scenario_is_built_in_with_all_its_keys() {
    assert_eq!(BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>(), Scenario::NAMES);
    for (name, text) in BUILT_IN {
        let scenario = parse_file(text).unwrap().resolve();
        assert_eq!(scenario.name(), *name);
        // `resolve` panics if the file lacks a key.
    }
}

#[test]
fn a_resolved_scenario_can_be_written_and_read_back() {
    for (_, text) in BUILT_IN {
        let scenario = parse_file(text).unwrap().resolve();
        assert_eq!(parse_file(&scenario.to_string()).unwrap().resolve(), scenario);
    }
}

#[test]
fn flags_override_the_file_and_the_file_overrides_the_built_in_scenario() {
    let file = parse_file("scenario = \"connections\"\nusers = 7\nhold = \"1m\"\n").unwrap();
    let flags =
        PartialScenario::Connections(ConnectionsFlags { users: Some(9), ..Default::default() });
    let Scenario::Connections(all) = flags.with_fallback(file).unwrap().resolve() else { panic!() };
    assert_eq!((all.users, all.hold), (9, DurationSetting::seconds(60)));
    assert_eq!(all.ping_every, DurationSetting::seconds(10), "from the built-in scenario");
    assert_eq!(all.common.targets, "baseline");
}

#[test]
fn a_required_target_is_added_or_replaces_one_of_the_scenario() {
    let flags = |require: &[&str]| {
        let require = Some(require.iter().map(|&target| target.to_owned()).collect());
        PartialScenario::Signaling(SignalingFlags { require, ..Default::default() })
    };
    let list = |scenario: &Scenario| scenario.common().require.join(" ");
    let own = "connected_percent>=100 delivered_percent>=100 kept_percent>=100 refusals==0";
    let added = flags(&["relay_p99_ms<50", "relay_p99_ms>1"]).resolve();
    assert_eq!(list(&added), format!("{own} relay_p99_ms<50 relay_p99_ms>1"));
    let milder = flags(&["kept_percent > 99"]).resolve();
    let others = "connected_percent>=100 delivered_percent>=100 refusals==0";
    assert_eq!(list(&milder), format!("{others} kept_percent > 99"));
    // A stored configuration gives the same run, with or without its original flags.
    let stored = || parse_file(&added.to_string()).unwrap();
    assert_eq!(stored().resolve(), added);
    let same = flags(&["relay_p99_ms<50", "relay_p99_ms>1"]);
    assert_eq!(same.with_fallback(stored()).unwrap().resolve(), added);
    let other = flags(&["lost==0"]).with_fallback(stored()).unwrap().resolve();
    assert_eq!(list(&other), format!("{} lost==0", list(&added)));
    let short = || parse_file("scenario = \"signaling\"\nrequire = [\"lost==0\"]\n").unwrap();
    assert_eq!(list(&short().resolve()), "lost==0", "`require` of a file is the whole list");
    let more = flags(&["reordered==0"]).with_fallback(short()).unwrap().resolve();
    assert_eq!(list(&more), "lost==0 reordered==0");
    // A file without `require` keeps the scenario's list.
    let silent = || parse_file("scenario = \"signaling\"\n").unwrap();
    let none = || PartialScenario::Signaling(SignalingFlags::default());
    assert_eq!(list(&none().with_fallback(silent()).unwrap().resolve()), own);
    assert_eq!(list(&none().with_fallback(short()).unwrap().resolve()), "lost==0");
    let more = || flags(&["lost==0"]).with_fallback(silent()).unwrap();
    assert_eq!(list(&more().resolve()), format!("{own} lost==0"));
    let stored = parse_file(&more().resolve().to_string()).unwrap();
    assert_eq!(more().with_fallback(stored).unwrap().resolve(), more().resolve(), "resumed");
}
