//! What to do about faults whose cause the server has named: by a close code, by the answer to an
//! upgrade, or by an error code. What the server counted by reason tells causes apart that have the
//! same code. Pure.

use super::limiting_factor::figure;
use super::model::{FaultReport, RunReport};
use super::text::number;
use crate::load::measure::LoadFault;

/// What to do about each named cause of a fault, with its count as evidence.
pub(super) fn advise_causes(run: &RunReport, add: &mut impl FnMut(&str, String)) {
    for fault in &run.faults {
        let Some(kind) = LoadFault::from_name(&fault.kind) else { continue };
        if let Some(action) = error_advice(kind) {
            add(action, evidence(run, fault, fault.count, &fault.kind));
        }
        for (cause, count) in fault.causes.iter() {
            if let Some(action) = cause_advice(run, kind, cause) {
                add(&action, evidence(run, fault, count, cause));
            }
        }
    }
}

/// Whether the advice for the causes of a fault covers all of its occurrences.
pub(super) fn is_explained(run: &RunReport, fault: &FaultReport) -> bool {
    let Some(kind) = LoadFault::from_name(&fault.kind) else { return false };
    let advised = fault.causes.iter().filter(|(cause, _)| cause_advice(run, kind, cause).is_some());
    advised.map(|(_, count)| count).sum::<u64>() >= fault.count
}

fn evidence(run: &RunReport, fault: &FaultReport, count: u64, cause: &str) -> String {
    let first_s = fault.first_s;
    format!("{}: {} × {cause}, first {first_s:.1} s into the run", run.name, number(count as f64))
}

fn cause_advice(run: &RunReport, kind: LoadFault, cause: &str) -> Option<String> {
    match kind {
        LoadFault::ClosedByServer | LoadFault::ConnectClosed => close_advice(run, cause),
        LoadFault::UpgradeBusy | LoadFault::UpgradeRefused => upgrade_advice(cause),
        LoadFault::HttpStatus => Some(format!("Check `--requests`: the server answers `{cause}`.")),
        LoadFault::Refused if cause == "bad_queue" => {
            Some("Check `--queue`: the server does not accept this name.".to_owned())
        }
        LoadFault::Refused => Some(format!(
            "Compare the versions of server and tester: the server refuses messages with `{cause}`."
        )),
        _ => None,
    }
}

/// For errors that are faults of their own.
fn error_advice(kind: LoadFault) -> Option<&'static str> {
    match kind {
        LoadFault::RateLimited => Some(
            "Raise the server's `--max-messages-per-second`, or lower the load: this limit dropped \
             messages.",
        ),
        LoadFault::TooManyMatches => Some(
            "Raise the server's `--max-matches-per-minute` and \
             `--max-matches-per-minute-per-address`, or make calls longer: these limits refused \
             match requests.",
        ),
        LoadFault::PeerBusy => Some(
            "Give the generator more CPU, or raise the server's `--max-unsent-bytes`: the receivers \
             of messages read too slowly for their backlog.",
        ),
        LoadFault::NotInRoom => Some(
            "Repair the server: it refused messages of rooms that it had announced and not ended.",
        ),
        _ => None,
    }
}

/// For sessions that the server closed.
fn close_advice(run: &RunReport, code: &str) -> Option<String> {
    let counted = |reason: &str| figure(run, &format!("server_closed_{reason}")) > 0.0;
    let action = match code {
        "1001" if counted("evicted") => {
            "Raise the server's connection limits: closed with 1001, it replaced silent sessions by \
             new ones."
        }
        "1001" if counted("silent") || counted("silent_after_match") => {
            "Find out why the server heard nothing from sessions for its `--silence-limit` (closed \
             with 1001): the network, or a generator without CPU time."
        }
        "1002" | "1007" => {
            "Report a defect of switchboard-load, or of a proxy in between: the server refused what \
             it received (closed with 1002 or 1007)."
        }
        "1008" => {
            "Send smaller messages, or raise the server's `--message-timeout`: closed with 1008, \
             messages did not arrive completely in time."
        }
        "1009" => return Some(size_advice(run)),
        "1011" => {
            "Look at the server's log: it reported an internal error of its own (closed with 1011)."
        }
        // The advice for a server that was shut down.
        "1012" => return None,
        "1013" if counted("slow_consumer") => {
            "Give the generator more CPU, or raise the server's `--max-unsent-bytes`: closed with \
             1013, sessions read too slowly."
        }
        "4001" => {
            "Use each resume token only once: closed with 4001, sessions were resumed on other \
             connections."
        }
        "4003" => "Lift the server's ban of the generator: closed with 4003.",
        code => return Some(format!("Look up why this server closes sessions with `{code}`.")),
    };
    Some(action.to_owned())
}

/// For a message that was too large: the largest one of the run was.
fn size_advice(run: &RunReport) -> String {
    let (plain, offer) = (figure(run, "plain_message_bytes"), figure(run, "offer_bytes"));
    let what = match (plain > offer, offer > 0.0) {
        (true, _) => format!("your `--message-bytes` ({})", number(plain)),
        (false, true) => format!("an offer of {} bytes", number(offer)),
        (false, false) => "a message".to_owned(),
    };
    let lower = if plain > offer { ", or lower `--message-bytes`" } else { "" };
    format!(
        "Raise the server's `--max-message-bytes`{lower}: closed with 1009, because {what} is above it."
    )
}

/// For upgrades that were not answered with 101.
fn upgrade_advice(cause: &str) -> Option<String> {
    let (status, text) = cause.split_once(' ').unwrap_or((cause, ""));
    let action = match status {
        "401" => "Give the tester an access token that the server accepts: it answers with 401.",
        "403" if text.contains("origin") => {
            "Add the origin to the server's `--allow-origin`: it answers with 403."
        }
        "404" => "Check the path of `--url`: the server answers with 404.",
        "429" if text.contains("new connections") => {
            "Raise the server's `--max-new-connections-per-address`, open sessions more slowly, or \
             use more source addresses (`--source`): it answers with 429."
        }
        "429" if text.contains("connections") => {
            "Raise the server's `--max-connections-per-address`, or use more source addresses \
             (`--source`): it answers with 429."
        }
        // The advice for a full server, and for one that was shut down.
        "503" => return None,
        _ => return Some(format!("Find out why upgrades are answered with `{cause}`.")),
    };
    Some(action.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::model::TestOutcome;
    use super::super::recommendations::tests::{actions, run};
    use super::*;
    use crate::load::measure::FaultCauses;
    use crate::load::report::model::GeneratorHost;

    /// A fault with its cause, what the server counted, and the advice that follows.
    const CASES: &[(&str, &str, &str, &str)] = &[
        ("closed_by_server", "1001", "server_closed_evicted", "replaced silent sessions"),
        ("closed_by_server", "1001", "server_closed_silent", "heard nothing from sessions"),
        ("closed_by_server", "1001", "server_closed_client_gone", "sessions with `1001`"),
        ("closed_by_server", "1002", "", "Report a defect of switchboard-load"),
        ("closed_by_server", "1008", "", "`--message-timeout`"),
        ("closed_by_server", "1009", "", "`--max-message-bytes`"),
        ("closed_by_server", "1011", "", "an internal error of its own"),
        ("closed_by_server", "1013", "server_closed_slow_consumer", "sessions read too slowly"),
        ("closed_by_server", "1013", "", "sessions with `1013`"),
        ("closed_by_server", "4001", "", "Use each resume token only once"),
        ("connect_closed", "4003", "", "Lift the server's ban"),
        ("closed_by_server", "4999", "", "sessions with `4999`"),
        ("upgrade_refused", "401 no token", "", "an access token"),
        ("upgrade_refused", "403 pages of this origin are refused", "", "`--allow-origin`"),
        ("upgrade_refused", "403", "", "answered with `403`"),
        ("upgrade_refused", "404 not found", "", "Check the path of `--url`"),
        (
            "upgrade_refused",
            "429 too many connections from this address",
            "",
            "`--max-connections-per-address`",
        ),
        (
            "upgrade_refused",
            "429 too many new connections from this address",
            "",
            "`--max-new-connections-per-address`",
        ),
        ("upgrade_refused", "500 oops", "", "answered with `500 oops`"),
        ("http_status", "404 not found", "", "Check `--requests`"),
        ("refused", "bad_queue", "", "Check `--queue`"),
        ("refused", "bad_json", "", "Compare the versions"),
        ("rate_limited", "", "", "`--max-messages-per-second`"),
        ("too_many_matches", "", "", "`--max-matches-per-minute`"),
        ("peer_busy", "", "", "for their backlog"),
        ("not_in_room", "", "", "rooms that it had announced"),
    ];

    fn advised(kind: &str, cause: &str, counter: &str) -> String {
        let mut causes = FaultCauses::default();
        if !cause.is_empty() {
            causes.add(cause, 3);
        }
        let fault = FaultReport {
            kind: kind.to_owned(),
            meaning: String::new(),
            count: 3,
            first_s: 1.0,
            last_s: 2.0,
            is_server_fault: false,
            causes,
        };
        let figures = [("connected", 5.0), (counter, 3.0)];
        let run = RunReport { faults: vec![fault], ..run(&figures, TestOutcome::Failed) };
        actions(&run, &GeneratorHost::default())
    }

    /// Each case leads to its own advice and to that of no other case.
    #[test]
    fn each_cause_leads_to_its_own_advice_only() {
        for (kind, cause, counter, expected) in CASES {
            let text = advised(kind, cause, counter);
            for (.., other) in CASES {
                assert_eq!(text.contains(other), other == expected, "{kind} {cause}: {text}");
            }
            assert!(!text.contains("its log should name"), "{text}");
        }
        for (kind, cause) in [("closed_by_server", "1012"), ("upgrade_503", "503 too many")] {
            let text = advised(kind, cause, "");
            assert!(CASES.iter().all(|(.., other)| !text.contains(other)), "{text}");
        }
    }

    #[test]
    fn names_the_message_that_is_too_large() {
        let named = |plain, offer| {
            let figures = [("plain_message_bytes", plain), ("offer_bytes", offer)];
            size_advice(&run(&figures, TestOutcome::Failed))
        };
        let plain = named(70_000.0, 2_000.0);
        assert!(plain.contains("your `--message-bytes` (70,000) is above it"), "{plain}");
        let offer = named(200.0, 2_000.0);
        assert!(offer.contains("an offer of 2,000 bytes is above it"), "{offer}");
    }
}
