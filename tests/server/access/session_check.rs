//! `OPTIONS /ws`: whether an upgrade would be granted. A browser hides the answer to an upgrade from
//! its page, so the page asks this after an upgrade that failed.

use crate::support::{HttpResponse, RawClient, Server, upgrade_request};

/// The answer to the question. `origin` is the page's.
fn ask(raw: &mut RawClient, origin: &str) -> HttpResponse {
    raw.request(&format!("OPTIONS /ws HTTP/1.1\r\nHost: t\r\nOrigin: {origin}\r\n\r\n"))
}

#[test]
fn answers_200_where_an_upgrade_would_be_granted_and_405_at_other_paths() {
    let server = Server::start(&["--max-connections-per-address", "9"]);
    let mut raw = server.raw_connection();
    for _ in 0..3 {
        let response = ask(&mut raw, "https://app.example");
        assert_eq!((response.status, response.has_connection_option("close")), (200, false));
    }
    for path in ["/", "/health", "/client.js"] {
        let request = format!("OPTIONS {path} HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(raw.request(&request).status, 405, "{path}");
    }
    assert_eq!(server.stat("/sessions/active"), 0);
}

#[test]
fn answers_403_to_a_page_of_another_origin() {
    let server = Server::start(&["--allow-origin", "https://app.example"]);
    assert_eq!(ask(&mut server.raw_connection(), "https://app.example").status, 200);
    let refused = ask(&mut server.raw_connection(), "https://www.app.example");
    assert_eq!(refused.status, 403);
    assert_eq!(refused.text(), "pages of this origin are not allowed to connect\n");
}

/// Asks on a connection that was admitted before the limit was reached, as a browser does that keeps
/// one open, and compares with the answer to an upgrade.
fn expect_refused_like_an_upgrade(server: &Server, mut admitted: RawClient, reason: &str) {
    let response = ask(&mut admitted, "https://app.example");
    assert!(response.text().contains(reason), "{}", response.text());
    assert!(response.field("retry-after").is_some());
    let mut raw = server.raw_connection();
    raw.send(&upgrade_request());
    let upgrade = raw.read_response();
    assert_eq!((response.status, response.text()), (upgrade.status, upgrade.text()));
}

#[test]
fn says_that_the_server_is_full_on_a_connection_that_was_admitted_before() {
    let server = Server::start(&["--max-connections", "2"]);
    let mut admitted = server.raw_connection();
    assert_eq!(ask(&mut admitted, "https://app.example").status, 200);
    let _session = server.client();
    expect_refused_like_an_upgrade(&server, admitted, "too many connections");
}

#[test]
fn says_that_the_address_is_over_its_limit_on_a_connection_that_was_admitted_before() {
    let server = Server::start(&["--max-connections-per-address", "2"]);
    let mut admitted = server.raw_connection();
    assert_eq!(ask(&mut admitted, "https://app.example").status, 200);
    let _session = server.client();
    expect_refused_like_an_upgrade(&server, admitted, "from this address");
}
