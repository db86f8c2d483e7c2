//! The STUN and TURN servers that clients are given.

use crate::support::{Client, ProtocolClient, Server, temporary_file};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use switchboard::ice::{CredentialLifetimes, IceServers, IceUrl, TimeLimitedTurn, TurnSecret};

const SECRET: &[u8] = b"north wind and sun";
const LIFETIMES: CredentialLifetimes =
    CredentialLifetimes { session: Duration::from_secs(86_400), call: Duration::from_secs(1800) };

/// What the server has to send, given the same settings.
fn expected() -> IceServers {
    let secret = TurnSecret::from_file_contents(SECRET).unwrap();
    let url = IceUrl::turn("turn:turn.example").unwrap();
    let turn = TimeLimitedTurn::new(vec![url], secret, LIFETIMES).unwrap();
    IceServers::new(&["stun:stun.example".parse().unwrap()], Some(turn))
}

/// When the time-limited credentials in `ice_servers` end, in seconds since 1970, and for whom they
/// are.
fn expiry_and_user(ice_servers: &Value) -> (u64, &str) {
    let name = ice_servers[1]["username"].as_str().unwrap_or_else(|| panic!("{ice_servers}"));
    let (expiry, user) = name.split_once(':').unwrap();
    (expiry.parse().unwrap(), user)
}

fn unix_time_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Puts two clients into a room, and gives the payload of each `match_found`.
fn match_payloads(one: &mut Client, other: &mut Client) -> [Value; 2] {
    for user in [&mut *one, &mut *other] {
        user.join_queue("en");
    }
    [one, other].map(|user| user.expect_message("match_found"))
}

#[test]
fn each_match_brings_each_member_fresh_turn_credentials() {
    let secret = temporary_file("turn-secret", SECRET);
    let began = unix_time_s();
    let server = Server::start(&[
        "--ice-server=stun:stun.example",
        "--turn-url=turn:turn.example",
        "--turn-match-ttl=30m",
        &format!("--turn-secret-file={}", secret.path()),
    ]);
    let (mut one, mut other) = (server.client(), server.client());
    let payloads = match_payloads(&mut one, &mut other);
    let ended = unix_time_s();
    for (client, payload) in [one, other].iter().zip(&payloads) {
        let of_session = &client.session()["ice_servers"];
        let (expiry_s, user) = expiry_and_user(of_session);
        assert_eq!(user, client.id());
        let sent = expiry_s - LIFETIMES.session.as_secs();
        assert!((began..=ended).contains(&sent), "{sent} is not in {began} to {ended}");
        assert_eq!(of_session.to_string(), value(&expected().session_json(user, sent)));
        let of_match = &payload["ice_servers"];
        let (expiry_s, user) = expiry_and_user(of_match);
        assert_eq!(user, client.id(), "the credentials are those of the receiver");
        let sent = expiry_s - LIFETIMES.call.as_secs();
        assert!((began..=ended).contains(&sent), "{sent} is not in {began} to {ended}");
        assert_eq!(of_match.to_string(), value(&expected().match_json(user, sent).unwrap()));
    }
}

/// `text` in the notation of `serde_json`.
fn value(text: &str) -> String {
    serde_json::from_str::<Value>(text).unwrap().to_string()
}

#[test]
fn without_time_limited_credentials_a_match_says_nothing_of_ice_servers() {
    let server = Server::start(&["--ice-server", "turn:turn.example,user=u,password=p"]);
    let (mut one, mut other) = (server.client(), server.client());
    for payload in match_payloads(&mut one, &mut other) {
        assert!(payload.get("ice_servers").is_none(), "{payload}");
    }
    assert!(one.session().get("relay_only").is_none(), "{}", one.session());
}

#[test]
fn relay_only_is_told_in_session() {
    let turn = "turn:turn.example,user=u,password=p";
    let server = Server::start(&["--relay-only", "--ice-server", turn]);
    let client = server.client();
    assert_eq!(client.session()["relay_only"], true, "{}", client.session());
}
