//! A session that asks for another queue when its rate of matches is used up. What it has stays as it
//! is, also a match that was made in the old queue at that time.

use super::harness::{ShardHarness, text};
use std::num::NonZeroU32;
use std::time::Duration;
use switchboard::commands::{
    MatcherCommand, MatcherOutcome, MatcherReply, Pairing, ShardCommand, Ticket, TicketHandle,
};
use switchboard::config::Limits;
use switchboard::ids::ConnectionKey;

type HarnessUser = (usize, ConnectionKey);

const FIND: &str = r#"{"type":"find_match"}"#;
const FIND_ELSEWHERE: &str = r#"{"type":"find_match","payload":{"queue":"elsewhere"}}"#;

/// One match a minute, and a user who has used it: it has left a partner and waits again with this
/// ticket.
fn waiting_without_tokens() -> (ShardHarness, HarnessUser, Ticket) {
    let limits = Limits { max_matches_per_minute: NonZeroU32::new(1), ..Limits::default() };
    let mut harness = ShardHarness::new(limits);
    let [user, partner] = harness.room();
    harness.arrive(user, &text(FIND));
    let ticket = tickets(&mut harness)[0];
    let queued = MatcherOutcome::Queued(TicketHandle(0), ticket.number);
    reply(&mut harness, &ticket, queued);
    assert!(has_received(&mut harness, user, "\"waiting\""));
    assert!(has_received(&mut harness, partner, "peer_left"));
    (harness, user, ticket)
}

/// Whether a user has received this since it was last asked.
fn has_received(harness: &mut ShardHarness, (number, _): HarnessUser, what: &str) -> bool {
    let sent = std::mem::take(&mut harness.fake(number).sent);
    String::from_utf8_lossy(&sent).contains(what)
}

/// The tickets that the matcher was sent.
fn tickets(harness: &mut ShardHarness) -> Vec<Ticket> {
    let commands = std::mem::take(&mut harness.core.host.commands.to_matcher);
    let ticket = |command| match command {
        MatcherCommand::Enter { ticket, .. } => Some(ticket),
        MatcherCommand::Leave { .. } | MatcherCommand::Stop => None,
    };
    commands.into_iter().filter_map(ticket).collect()
}

fn reply(harness: &mut ShardHarness, ticket: &Ticket, outcome: MatcherOutcome) {
    let reply = MatcherReply { holder: ticket.holder, outcome };
    harness.core.handle_command(ShardCommand::Reply(reply));
    harness.wait(Duration::ZERO);
}

/// A newcomer to the old queue, which the matcher has paired with the user.
fn pair_with_newcomer(harness: &mut ShardHarness, home: Ticket) -> (HarnessUser, Pairing) {
    let newcomer = harness.session();
    harness.arrive(newcomer, &text(FIND));
    let mover = tickets(harness)[0];
    reply(harness, &mover, MatcherOutcome::Paired(mover.number));
    (newcomer, Pairing { mover, home })
}

#[test]
fn a_waiting_session_without_tokens_moves_to_another_queue() {
    let (mut harness, user, _) = waiting_without_tokens();
    harness.arrive(user, &text(FIND_ELSEWHERE));
    let ticket = tickets(&mut harness)[0];
    reply(&mut harness, &ticket, MatcherOutcome::Queued(TicketHandle(1), ticket.number));
    assert!(has_received(&mut harness, user, r#""queue":"elsewhere""#));
    harness.audit();
}

#[test]
fn a_pairing_of_the_old_queue_is_cancelled_after_the_move() {
    let (mut harness, user, ticket) = waiting_without_tokens();
    let (newcomer, pairing) = pair_with_newcomer(&mut harness, ticket);
    harness.arrive(user, &text(FIND_ELSEWHERE));
    harness.core.handle_command(ShardCommand::Pair(pairing));
    assert_eq!(harness.counters.matches_failed.get(), 1);
    for one in [user, newcomer] {
        assert!(!has_received(&mut harness, one, "match_found"));
    }
    let entered: Vec<ConnectionKey> =
        tickets(&mut harness).iter().map(|ticket| ticket.holder.key).collect();
    assert_eq!(entered, [user.1, newcomer.1], "both are queued, each in its queue");
    harness.audit();
}

#[test]
fn a_refused_move_leaves_the_match_that_was_made_in_the_old_queue() {
    let (mut harness, user, ticket) = waiting_without_tokens();
    let (newcomer, pairing) = pair_with_newcomer(&mut harness, ticket);
    // The room is made before the request for the other queue is read: that would end the room.
    harness.core.handle_command(ShardCommand::Pair(pairing));
    for one in [user, newcomer] {
        assert!(has_received(&mut harness, one, "match_found"));
    }
    harness.arrive(user, &text(FIND_ELSEWHERE));
    assert!(has_received(&mut harness, user, "too_many_matches"));
    assert!(!has_received(&mut harness, newcomer, "peer_left"));
    for (from, to) in [(user, newcomer), (newcomer, user)] {
        harness.arrive(from, &text(r#"{"type":"signal","payload":"still here"}"#));
        assert!(has_received(&mut harness, to, "still here"));
    }
    assert!(tickets(&mut harness).is_empty());
    harness.audit();
}
