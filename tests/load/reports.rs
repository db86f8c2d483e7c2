//! What a report contains, and what can be made of several reports.

use crate::options::serve_fixed;
use crate::support::load::{figure, report_directory, report_of, run_load, start_server, tester};

/// Reading a report checks it against its schema.
#[test]
fn a_report_with_refused_upgrades_matches_its_schema() {
    let server = start_server(&["--max-connections", "5"]);
    let hold = ["connections", "--users", "12", "--connect-rate", "100", "--hold", "1s"];
    let (_, report) = run_load("busy", &server, &hold);
    assert!(figure(&report, "upgrade_503") > 0.0, "{:#}", report["runs"][0]["faults"]);
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let url = format!("ws://{}/ws", serve_fixed(status, ""));
        let output = tester("refusing", &hold)
            .args(["--url", &url, "--late-percent", "100", "--targets", "none"])
            .output()
            .unwrap();
        let report = report_of("refusing", &output);
        std::fs::remove_dir_all(report_directory("refusing")).unwrap();
        let failed = figure(&report, "upgrade_503") + figure(&report, "upgrade_refused");
        assert_eq!(failed, 12.0, "{:#}", report["runs"][0]["faults"]);
    }
}
