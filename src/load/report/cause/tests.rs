//! Laws of what is said to have given out, and of what is advised.

use super::*;

/// A machine with so many CPUs, and the server on it or elsewhere.
fn machine(cpus: u64, server_is_here: bool) -> GeneratorHost {
    GeneratorHost { cpus, server_is_here, ..GeneratorHost::default() }
}

fn run(figures: &[(&str, f64)], outcome: TestOutcome) -> RunReport {
    RunReport {
        figures: figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        outcome,
        ..crate::load::report::model::example_run()
    }
}

#[test]
fn each_resource_is_named_by_its_own_evidence() {
    let cause =
        |figures: &[(&str, f64)]| give_out(&run(figures, TestOutcome::Failed), &machine(2, true)).0;
    let limits = [("server_descriptors", 990.0), ("server_descriptor_limit", 1000.0)];
    assert_eq!(cause(&limits), "the server's descriptor limit");
    assert_eq!(cause(&[("upgrade_503", 3.0)]), "the server's connection limit");
    let queue = [("accept_queue_drops", 5.0), ("connect_failed", 5.0)];
    assert_eq!(cause(&queue), "the accept queue");
    assert_eq!(cause(&[("server_cpu_percent", 190.0)]), "the server's CPU");
    let shared = [("server_cpu_percent", 90.0), ("generator_cpu_percent", 95.0)];
    assert_eq!(cause(&shared), "the CPU of this machine");
    assert_eq!(cause(&[]), "none of the resources that are watched");
    let leaving = [("upgrade_503", 3.0), ("draining", 2.0)];
    assert_eq!(cause(&leaving), "the server was shutting down");
    let late = RunReport {
        reason: "missed: relay_p99_ms < 50".to_owned(),
        ..run(&[], TestOutcome::Failed)
    };
    assert_eq!(give_out(&late, &machine(2, true)).0, "latency, with no resource used up");
    assert_eq!(give_out(&run(&[], TestOutcome::Void), &machine(2, true)).0, "the generator");
}

/// The law: a server is judged by its own CPUs, and not by those of the machine that drives it.
#[test]
fn a_server_elsewhere_is_not_judged_by_the_generators_cpus() {
    let judged = |figures: &[(&str, f64)], machine: GeneratorHost| {
        let run = run(figures, TestOutcome::Failed);
        let mut said = String::new();
        advise_on(&run, &machine, &mut |text: &str, _| said += text);
        (give_out(&run, &machine), said.contains("short of CPU"))
    };
    let alone = |percent| [("server_cpu_percent", percent), ("generator_cpu_percent", 95.0)];
    // Of sixteen CPUs that is little; the generator has two.
    let ((cause, evidence), short) = judged(&alone(190.0), machine(2, false));
    assert_eq!((cause.as_str(), short), ("none of the resources that are watched", false));
    assert!(evidence.contains("how many CPUs the server has is not known"), "{evidence}");
    // It says that its shards have sixteen, or two; and of those it has used all or not.
    for (percent, cpus, used_up) in [(190.0, 16.0, false), (190.0, 2.0, true)] {
        let told = [alone(percent)[0], ("server_cpus", cpus)];
        let ((cause, evidence), short) = judged(&told, machine(64, false));
        assert_eq!((cause == "the server's CPU", short), (used_up, used_up), "{evidence}");
        assert!(!evidence.contains("not known"), "{evidence}");
    }
    // One of two shards has no more to give, whatever the other one does.
    for here in [true, false] {
        let shard = [alone(110.0)[0], ("server_busiest_shard_percent", 97.0)];
        let ((cause, evidence), short) = judged(&shard, machine(16, here));
        assert_eq!((cause.as_str(), short), ("the server's CPU", true));
        assert_eq!(evidence, "the server's busiest shard uses 97 % of one CPU");
    }
    // On the machine of the server both share its CPUs, and only there.
    let cause = |here| judged(&alone(90.0), machine(2, here)).0.0;
    assert_eq!(cause(true), "the CPU of this machine");
    assert_eq!(cause(false), "none of the resources that are watched");
}

#[test]
fn whatever_did_not_pass_comes_with_advice() {
    let missed = crate::load::target::TargetVerdict {
        target: "relay_p99_ms < 100".to_owned(),
        figure: "relay_p99_ms".to_owned(),
        bound: 100.0,
        value: Some(336.9),
        reached: TargetOutcome::No,
        note: String::new(),
    };
    let advised = |run: RunReport| {
        let mut said = Vec::new();
        advise_on(&run, &machine(2, true), &mut |text: &str, evidence| {
            said.push(format!("{text} {evidence}"))
        });
        said.join("\n")
    };
    let idle = RunReport { targets: vec![missed.clone()], ..run(&[], TestOutcome::Failed) };
    let said = advised(idle);
    assert!(said.contains("relay_p99_ms < 100") && said.contains("336.9"), "{said}");
    let busy = run(&[("server_cpu_percent", 190.0)], TestOutcome::Failed);
    let said = advised(RunReport { targets: vec![missed], ..busy });
    assert!(said.contains("what gave out: the server's CPU"), "{said}");
    let stranger = run(&[("connect_failed", 20.0)], TestOutcome::Failed);
    assert!(advised(stranger).contains("URL"));
    assert_eq!(advised(run(&[], TestOutcome::Passed)), "");
}

#[test]
fn the_generator_is_dear_by_its_messages_and_not_by_the_sessions_it_opens() {
    let advised = |connected: f64, messages_per_s: f64| {
        let figures = [
            ("generator_cpu_ratio", 1.8),
            ("messages_per_s", messages_per_s),
            ("server_cpu_percent", 50.0),
            ("connected", connected),
        ];
        let mut said = String::new();
        let run = RunReport { seconds: 10.0, ..run(&figures, TestOutcome::Passed) };
        advise_on(&run, &machine(2, true), &mut |text: &str, _| said += text);
        said.contains("dearer")
    };
    assert!(advised(100.0, DEAR_FROM));
    assert!(!advised(5000.0, 5000.0));
    assert!(!advised(10.0, DEAR_FROM - 1.0), "a few messages cost a turn each");
    let readme = include_str!("../../../../README.md").split_whitespace().collect::<Vec<_>>();
    let said = format!("from {} a second", number(DEAR_FROM));
    assert!(readme.join(" ").contains(&said), "README does not say `{said}`");
}

#[test]
fn a_server_that_shuts_down_is_not_told_to_raise_its_limit() {
    let advised = |figures: &[(&str, f64)]| {
        let mut said = String::new();
        let run = run(figures, TestOutcome::Failed);
        advise_on(&run, &machine(2, true), &mut |text: &str, _| said += text);
        said
    };
    let limit = "Raise the server's connection limit";
    assert!(advised(&[("upgrade_503", 3.0)]).contains(limit));
    assert!(!advised(&[("upgrade_503", 3.0), ("draining", 2.0)]).contains(limit));
}

/// The law: a limit of connections that follows from that of descriptors is the latter's.
#[test]
fn a_server_that_lacks_descriptors_is_not_told_to_raise_its_limit_of_connections() {
    let judged = |used: f64, limit: f64| {
        let figures = [
            ("upgrade_503", 400.0),
            ("server_descriptors", used),
            ("server_descriptor_limit", limit),
        ];
        let run = run(&figures, TestOutcome::Failed);
        let mut said = String::new();
        advise_on(&run, &machine(2, true), &mut |text: &str, _| said += text);
        let told = ["Raise the server's connection limit", "Raise the server's limit of open"];
        (give_out(&run, &machine(2, true)), told.map(|text| said.contains(text)))
    };
    // Of 1,024 it takes 943 connections; of 200, 119.
    for (used, limit) in [(956.0, 1024.0), (127.0, 200.0), (18_100.0, 20_000.0)] {
        let ((cause, evidence), told) = judged(used, limit);
        assert_eq!((cause.as_str(), told), ("the server's descriptor limit", [false, true]));
        let said = format!("{used} of {limit} descriptors open, and answered 400 upgrades");
        assert!(evidence.contains(&said), "{evidence}");
    }
    let ((cause, _), told) = judged(956.0, 20_000.0);
    assert_eq!((cause.as_str(), told), ("the server's connection limit", [true, false]));
    // What nobody tells is no number that is near.
    assert_eq!(judged(0.0, 64.0).0.0, "the server's connection limit");
}

#[test]
fn a_void_search_says_so() {
    let found = SearchResult::GeneratorLimited { holds: Some(800.0), at: 1600.0 };
    let broken = RunReport { reason: "late".to_owned(), ..run(&[], TestOutcome::Void) };
    let point = breaking_point(
        "messages",
        Some(found),
        Some(&broken),
        Vec::new(),
        &GeneratorHost::default(),
    );
    assert!(point.void);
    assert!(headline(&point).starts_with("void: the generator gave out first"));
    let cut_short = breaking_point("messages", None, None, Vec::new(), &GeneratorHost::default());
    let said = "void: nothing yet: the search was cut short; no level held";
    assert_eq!(headline(&cut_short), said);
}
