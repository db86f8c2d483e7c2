//! Performance targets: what a run must reach, and whether it did. Pure.

use super::figures;
use super::measure::CountMetric;
use super::suggestion::did_you_mean;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How a figure is compared with its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Less than.
    Below,
    /// At most.
    AtMost,
    /// More than.
    Above,
    /// At least.
    AtLeast,
    /// Equal.
    Exactly,
}

impl Comparison {
    /// All signs, also those in which reports show a target; none is part of a later one.
    const ALL: [(&'static str, Comparison); 8] = [
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("==", Comparison::Exactly),
        ("≤", Comparison::AtMost),
        ("≥", Comparison::AtLeast),
        ("<", Comparison::Below),
        (">", Comparison::Above),
        ("=", Comparison::Exactly),
    ];

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Comparison::Below => value < bound,
            Comparison::AtMost => value <= bound,
            Comparison::Above => value > bound,
            Comparison::AtLeast => value >= bound,
            Comparison::Exactly => value == bound,
        }
    }

    /// Whether both bound a figure from the same side.
    fn bounds_same_side(self, other: Comparison) -> bool {
        use Comparison::{Above, AtLeast, AtMost, Below, Exactly};
        match self {
            Below | AtMost => matches!(other, Below | AtMost | Exactly),
            Above | AtLeast => matches!(other, Above | AtLeast | Exactly),
            Exactly => true,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Comparison::Below => "<",
            Comparison::AtMost => "≤",
            Comparison::Above => ">",
            Comparison::AtLeast => "≥",
            Comparison::Exactly => "=",
        }
    }
}

/// One target, like `relay_p99_ms<50`; in JSON as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PerformanceTarget {
    /// The figure's name.
    pub figure: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub bound: f64,
}

impl PerformanceTarget {
    /// Whether this target replaces `old`: both bound the same figure from the same side.
    pub fn replaces(&self, old: &PerformanceTarget) -> bool {
        self.figure == old.figure && self.comparison.bounds_same_side(old.comparison)
    }

    /// Whether this target, which the user has given, replaces `own`, a target that a run has by
    /// default: like [`PerformanceTarget::replaces`], or this one is for all paths of HTTP requests and
    /// `own` for one of them.
    pub fn replaces_default(&self, own: &PerformanceTarget) -> bool {
        let of_all_paths = figures::split_path(&own.figure).map(|(figure, _)| figure);
        self.replaces(own)
            || of_all_paths == Some(&self.figure)
                && self.comparison.bounds_same_side(own.comparison)
    }

    /// Whether a longer run might still have reached the target from `value`: user peaks and counts
    /// grow with time, and a rate that is measured from the middle of a run starts at zero.
    fn may_still_grow(&self, value: f64) -> bool {
        let grows = ["users_peak", "waiting_peak", "messages_per_s"].contains(&&*self.figure)
            || CountMetric::from_name(&self.figure).is_some();
        let upwards = match self.comparison {
            Comparison::AtLeast | Comparison::Above => true,
            Comparison::Exactly => value < self.bound,
            Comparison::Below | Comparison::AtMost => false,
        };
        grows && upwards
    }
}

impl FromStr for PerformanceTarget {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("`{text}` is not a target like `relay_p99_ms<50`");
        // A path in brackets, as in `http_p99_ms[/stats?a=1]<50`, may contain each sign.
        let path_end = text.rfind(']').map_or(0, |at| at + 1);
        let (sign, comparison) = Comparison::ALL
            .into_iter()
            .find(|(sign, _)| text[path_end..].contains(sign))
            .ok_or_else(malformed)?;
        let (before, bound) = text[path_end..].split_once(sign).ok_or_else(malformed)?;
        let figure = text[..path_end + before.len()].trim();
        let bound = bound.trim().parse::<f64>().map_err(|_| malformed())?;
        if !bound.is_finite() {
            // No value compares with it, and JSON cannot represent it.
            return Err(malformed());
        }
        if !figures::is_known(figure) {
            let similar = suggest_figure(figure);
            return Err(format!("`{text}`: unknown figure `{figure}`{similar}; see --figures"));
        }
        Ok(PerformanceTarget { figure: figure.to_owned(), comparison, bound })
    }
}

/// The figure that `name` was probably meant to be, as the end of an error.
fn suggest_figure(name: &str) -> String {
    let names = figures::names();
    did_you_mean(name, names.iter().map(String::as_str))
}

impl TryFrom<String> for PerformanceTarget {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PerformanceTarget> for String {
    fn from(target: PerformanceTarget) -> String {
        target.to_string()
    }
}

impl fmt::Display for PerformanceTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.figure, self.comparison.sign(), self.bound)
    }
}

/// The named target sets.
const SETS: [(&str, &[&str]); 3] = [
    ("none", &[]),
    (
        "baseline",
        &[
            "users_peak>=5000",
            "match_p99_ms<2000",
            "relay_p99_ms<100",
            "server_memory_mb<2048",
            "success_percent>=99.9",
        ],
    ),
    (
        "stretch",
        &["users_peak>=50000", "match_p99_ms<1000", "relay_p99_ms<50", "success_percent>=99.99"],
    ),
];

/// The targets of the set `name`, and those of `more`.
///
/// # Errors
/// One line that names what is unknown or malformed.
pub fn targets(name: &str, more: &[String]) -> Result<Vec<PerformanceTarget>, String> {
    let (_, set) = SETS.into_iter().find(|(known, _)| *known == name).ok_or_else(|| {
        let similar = did_you_mean(name, SETS.map(|(known, _)| known));
        format!(
            "unknown set of targets `{name}`, expected `none`, `baseline` or `stretch`{similar}"
        )
    })?;
    set.iter().copied().chain(more.iter().map(String::as_str)).map(str::parse).collect()
}

/// Whether the target `new` replaces `old`: both bound the same figure from the same side. Text
/// that is not a target replaces none.
pub fn replaces(new: &str, old: &str) -> bool {
    let (Ok(new), Ok(old)) = (new.parse::<PerformanceTarget>(), old.parse::<PerformanceTarget>())
    else {
        return false;
    };
    new.replaces(&old)
}

/// The targets of one path of the scenario `http`, if the set `name` is in force: every request is answered
/// with 200, and the 99th percentile meets the bound that the set has for relayed messages.
pub fn http_targets(name: &str, path: &str) -> Vec<PerformanceTarget> {
    let relay_bound = |target: &PerformanceTarget| target.figure == "relay_p99_ms";
    let relay = targets(name, &[]).unwrap_or_default().into_iter().find(relay_bound);
    let of_path = |figure: &str| figures::name_with_path(figure, path);
    let answered = PerformanceTarget {
        figure: of_path("http_ok_percent"),
        comparison: Comparison::AtLeast,
        bound: 100.0,
    };
    let in_time = relay.map(|t| PerformanceTarget { figure: of_path("http_p99_ms"), ..t });
    [answered].into_iter().chain(in_time).collect()
}

/// The outcome of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetOutcome {
    /// The target was met.
    #[serde(rename = "yes")]
    Met,
    /// The target was missed.
    #[serde(rename = "no")]
    Missed,
    /// The target does not apply to this run, or its figure was not measured.
    NotJudged,
}

/// A target with its measured figure and outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetVerdict {
    /// The target in readable form.
    pub target: String,
    /// The figure's name.
    pub figure: String,
    /// The bound.
    pub bound: f64,
    /// The measured value, if there is one.
    pub value: Option<f64>,
    /// Whether the target was met.
    pub reached: TargetOutcome,
    /// Why it was not judged, if that is so.
    pub note: String,
}

impl TargetVerdict {
    /// This verdict in a void run, whose figures do not describe the server.
    pub fn in_void_run(self) -> Self {
        let note = "the run is void".to_owned();
        TargetVerdict { reached: TargetOutcome::NotJudged, note, ..self }
    }
}

/// Compares figures with targets. A run that was planned with fewer users (`users_planned`) than a
/// target asks for is not judged by that target. A run that the operator has `stopped` is not
/// judged by targets that more time might have met.
pub fn judge(
    targets: &[PerformanceTarget],
    figures: &BTreeMap<String, f64>,
    users_planned: u64,
    stopped: bool,
) -> Vec<TargetVerdict> {
    let judge_one = |target: &PerformanceTarget| {
        let value = figures.get(&target.figure).copied().or_else(|| {
            let has_server_figures = figures.contains_key("server_threads");
            figures::is_zero_if_absent(&target.figure, has_server_figures).then_some(0.0)
        });
        let smaller = target.figure == "users_peak" && (users_planned as f64) < target.bound;
        let (reached, note) = match value {
            _ if smaller => (
                TargetOutcome::NotJudged,
                format!("this run was planned with {users_planned} users"),
            ),
            None => (TargetOutcome::NotJudged, "not measured in this run".to_owned()),
            Some(value) if target.comparison.holds(value, target.bound) => {
                (TargetOutcome::Met, String::new())
            }
            Some(value) if stopped && target.may_still_grow(value) => {
                (TargetOutcome::NotJudged, "the run was stopped early".to_owned())
            }
            Some(_) => match met_by_service(target, figures) {
                Some(note) => (TargetOutcome::Met, note),
                None => (TargetOutcome::Missed, String::new()),
            },
        };
        TargetVerdict {
            target: target.to_string(),
            figure: target.figure.clone(),
            bound: target.bound,
            value,
            reached,
            note,
        }
    };
    targets.iter().map(judge_one).collect()
}

/// Why a target for a latency counts as met although the latency is too high: without the
/// generator's own delay it would be met. A latency counts from the intended start of an operation,
/// its service time from the actual one, and only the generator can delay the start. A run in which
/// it delays many is void.
fn met_by_service(target: &PerformanceTarget, figures: &BTreeMap<String, f64>) -> Option<String> {
    if !matches!(target.comparison, Comparison::Below | Comparison::AtMost) {
        return None;
    }
    let (figure, path) = match figures::split_path(&target.figure) {
        Some((figure, path)) => (figure, Some(path)),
        None => (target.figure.as_str(), None),
    };
    let (latency, statistic) = figure.strip_suffix("_ms")?.rsplit_once('_')?;
    let name = format!("{latency}_service_{statistic}_ms");
    let name = path.map(|path| figures::name_with_path(&name, path)).unwrap_or(name);
    let service = figures.get(&name).copied()?;
    let late = figures.get("late_max_ms").copied().unwrap_or(0.0);
    target.comparison.holds(service, target.bound).then(|| {
        format!(
            "met by the service time: {name} is {service:.2}; the generator started up to \
             {late:.0} ms late"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_targets_and_rejects_malformed_ones() {
        let target: PerformanceTarget = "relay_p99_ms < 50".parse().unwrap();
        assert_eq!((target.comparison, target.bound), (Comparison::Below, 50.0));
        assert_eq!("lost==0".parse::<PerformanceTarget>().unwrap().comparison, Comparison::Exactly);
        assert_eq!("success_percent>=99.9".parse::<PerformanceTarget>().unwrap().bound, 99.9);
        for text in ["relay_p99_ms<50", "lost==0", "sent>=4", "lost<=2", "sent>1"] {
            let target: PerformanceTarget = text.parse().unwrap();
            assert_eq!(target.to_string().parse(), Ok(target), "as reports show it");
        }
        let target: PerformanceTarget = "http_p99_ms[/a?b=<1>] <= 5".parse().unwrap();
        assert_eq!(target.figure, "http_p99_ms[/a?b=<1>]");
        assert_eq!((target.comparison, target.bound), (Comparison::AtMost, 5.0));
        assert_eq!(target.to_string().parse(), Ok(target), "as reports show it");
        for unknown in ["relay_p99_ms[/a]<5", "http_p99_ms[a]<5", "http_p99_ms[/a<5", "lost[/a]==0"]
        {
            assert!(unknown.parse::<PerformanceTarget>().is_err(), "{unknown}");
        }
        assert!("speed<9".parse::<PerformanceTarget>().unwrap_err().contains("`speed`"));
        assert!("relay_p99_ms".parse::<PerformanceTarget>().is_err());
        for nonsense in ["relay_p99_ms<fast", "relay_p99_ms<nan", "relay_p99_ms<inf", "<", ""] {
            assert!(nonsense.parse::<PerformanceTarget>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn every_target_set_names_known_figures() {
        for (name, _) in SETS {
            targets(name, &[]).unwrap();
        }
        assert!(targets("heroic", &[]).unwrap_err().contains("`heroic`"));
    }

    #[test]
    fn does_not_judge_figures_that_were_not_measured_or_planned() {
        let targets = targets("baseline", &["lost==0".to_owned()]).unwrap();
        let figures = [("users_peak", 100.0), ("match_p99_ms", 2500.0), ("lost", 0.0)];
        let figures = figures.map(|(name, value)| (name.to_owned(), value)).into();
        let reached = |users_planned| -> Vec<TargetOutcome> {
            judge(&targets, &figures, users_planned, false).iter().map(|j| j.reached).collect()
        };
        use TargetOutcome::{Met, Missed, NotJudged};
        assert_eq!(reached(100), [NotJudged, Missed, NotJudged, NotJudged, NotJudged, Met]);
        assert_eq!(reached(5000)[0], Missed);
    }

    #[test]
    fn the_generators_own_delay_does_not_miss_a_target() {
        let reached = |target: &str, service: Option<f64>| {
            let mut figures: BTreeMap<String, f64> =
                [("relay_p99_ms".to_owned(), 130.0), ("late_max_ms".to_owned(), 120.0)].into();
            figures.extend(service.map(|ms| ("relay_service_p99_ms".to_owned(), ms)));
            let verdict = judge(&[target.parse().unwrap()], &figures, 5000, false).remove(0);
            (verdict.reached, verdict.note)
        };
        let (met, note) = reached("relay_p99_ms<100", Some(12.5));
        assert_eq!(met, TargetOutcome::Met);
        assert_eq!(
            note,
            "met by the service time: relay_service_p99_ms is 12.50; the generator started up to \
             120 ms late"
        );
        for (target, service) in [
            ("relay_p99_ms<100", Some(101.0)),
            ("relay_p99_ms<100", None),
            ("relay_p99_ms>200", Some(1.0)),
        ] {
            assert_eq!(reached(target, service).0, TargetOutcome::Missed, "{target} {service:?}");
        }
    }

    #[test]
    fn a_path_has_the_bound_of_its_target_set_and_may_be_met_by_its_service_time() {
        let texts = |set| {
            http_targets(set, "/x").iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(texts("none"), "http_ok_percent[/x] ≥ 100");
        assert_eq!(texts("baseline"), "http_ok_percent[/x] ≥ 100, http_p99_ms[/x] < 100");
        assert_eq!(texts("stretch"), "http_ok_percent[/x] ≥ 100, http_p99_ms[/x] < 50");
        let figures =
            [("http_p99_ms[/x]", 130.0), ("http_service_p99_ms[/x]", 12.5), ("late_max_ms", 120.0)];
        let figures = figures.map(|(name, value)| (name.to_owned(), value)).into();
        let verdict = judge(&http_targets("baseline", "/x")[1..], &figures, 0, false).remove(0);
        assert_eq!(verdict.reached, TargetOutcome::Met);
        assert!(verdict.note.contains("http_service_p99_ms[/x] is 12.50"), "{}", verdict.note);
        let replaces = |new: &str, old: &str| {
            let [new, old] = [new, old].map(|text| text.parse::<PerformanceTarget>().unwrap());
            (new.replaces(&old), new.replaces_default(&old))
        };
        assert_eq!(replaces("http_p99_ms<9", "http_p99_ms[/x]<5"), (false, true));
        assert_eq!(replaces("http_p99_ms>9", "http_p99_ms[/x]<5"), (false, false));
        assert_eq!(replaces("http_p99_ms[/x]<9", "http_p99_ms[/x]<5"), (true, true));
        assert_eq!(replaces("http_p99_ms[/y]<9", "http_p99_ms[/x]<5"), (false, false));
        assert_eq!(replaces("http_p50_ms<9", "http_p99_ms[/x]<5"), (false, false));
    }

    #[test]
    fn what_was_not_counted_is_zero() {
        let judged = |target: &str, server: bool| {
            let figures = server.then(|| ("server_threads".to_owned(), 4.0)).into_iter().collect();
            judge(&[target.parse().unwrap()], &figures, 0, false)[0].reached
        };
        for server in [false, true] {
            assert_eq!(judged("closed_1009==0", server), TargetOutcome::Met);
            assert_eq!(judged("closed_1009>0", server), TargetOutcome::Missed);
        }
        let silent = "server_closed_silent==0";
        assert_eq!(judged(silent, true), TargetOutcome::Met);
        assert_eq!(judged(silent, false), TargetOutcome::NotJudged, "no figures of the server");
        assert_eq!(judged("server_latency_relay_p99_ms<5", true), TargetOutcome::NotJudged);
    }

    #[test]
    fn a_stopped_run_is_not_judged_by_targets_that_need_more_time() {
        let figures = [("users_peak", 100.0), ("relay_p99_ms", 500.0), ("calls_done", 3.0)];
        let figures = figures.map(|(name, value)| (name.to_owned(), value)).into();
        let reached = |target: &str, stopped| {
            judge(&[target.parse().unwrap()], &figures, 5000, stopped)[0].reached
        };
        for target in ["users_peak>=5000", "calls_done>3", "calls_done==4"] {
            assert_eq!(reached(target, false), TargetOutcome::Missed, "{target}");
            assert_eq!(reached(target, true), TargetOutcome::NotJudged, "{target}");
        }
        for target in ["relay_p99_ms<50", "calls_done<=2", "calls_done==2"] {
            assert_eq!(
                reached(target, true),
                TargetOutcome::Missed,
                "{target}: more time does not help"
            );
        }
        assert_eq!(reached("users_peak>=100", true), TargetOutcome::Met);
    }
}
