//! Guarantee 4: a session does not meet its last three partners again at once.

use crate::support::{ProtocolClient, Server, expect_room_relays};
use std::time::{Duration, Instant};

#[test]
fn matches_recent_partners_with_others_first() {
    let server = Server::start(&["--rematch-delay", "60s", "--shards", "2"]);
    let (mut one, mut other, _) = server.matched_pair();
    one.join_queue("en");
    other.expect_message("peer_left");
    other.join_queue("en");
    one.expect_no_message();
    other.expect_no_message();
    for user in [&mut one, &mut other] {
        let mut stranger = server.client();
        stranger.join_queue("en");
        assert_eq!(stranger.expect_match().peer_id, user.id());
        user.expect_match();
    }
}

#[test]
fn matches_the_last_three_partners_with_others_first() {
    let server = Server::start(&["--rematch-delay", "60s", "--shards", "2"]);
    let (mut one, mut first, _) = server.matched_pair();
    let mut met = vec![];
    one.join_queue("en");
    first.expect_message("peer_left");
    met.push(first);
    for _ in 0..3 {
        let mut stranger = server.client();
        stranger.join_queue("en");
        assert_eq!(one.expect_match().peer_id, stranger.id());
        stranger.expect_match();
        one.join_queue("en");
        stranger.expect_message("peer_left");
        met.push(stranger);
    }
    // The partner before the last two waits too, and still a stranger comes first.
    let mut earlier = met.remove(1);
    earlier.join_queue("en");
    earlier.expect_no_message();
    one.expect_no_message();
    let mut stranger = server.client();
    stranger.join_queue("en");
    assert_eq!(one.expect_match().peer_id, stranger.id());
    earlier.expect_no_message();
}

#[test]
fn matches_recent_partners_again_after_the_rematch_delay() {
    let delay = Duration::from_millis(400);
    let server = Server::start(&["--rematch-delay", "400ms", "--shards", "2"]);
    let (mut one, mut other, _) = server.matched_pair();
    one.join_queue("en");
    other.expect_message("peer_left");
    // The delay counts from the later of the two requests.
    let asked = Instant::now();
    other.join_queue("en");
    let room = one.expect_match();
    assert_eq!(room.peer_id, other.id());
    other.expect_match();
    assert!(asked.elapsed() >= delay, "{:?}", asked.elapsed());
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn a_rematch_delay_of_zero_matches_recent_partners_at_once() {
    let server = Server::start(&["--rematch-delay", "0s"]);
    let (mut one, mut other, _) = server.matched_pair();
    for _ in 0..3 {
        one.join_queue("en");
        other.expect_message("peer_left");
        other.join_queue("en");
        assert_eq!(one.expect_match().room_id, other.expect_match().room_id);
    }
}
