//! A bot that leaves each partner at once, among people who talk, on a simulated clock.

use crate::faults::harness::{READABLE, ScriptedConnection, ShardHarness, text, upgrade};
use crate::simulation::random::Random;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use switchboard::commands::{MatcherReply, Pairing, ShardCommand};
use switchboard::config::Limits;
use switchboard::ids::ConnectionKey;
use switchboard::matchmaking::MatcherCore;
use switchboard::matchmaking::matcher_core::MatcherSink;
use switchboard::telemetry::counters::MatcherCounters;
use switchboard::timestamp::Timestamp;
use switchboard::wire::message::server::{ParsedServerMessage, parse_server_message};
use switchboard::wire::websocket::assembly::{IncomingItem, MessageReader, ReceiveLimits};
use switchboard::wire::websocket::frame::Side;

const PEOPLE: usize = 40;
const STEP: Duration = Duration::from_millis(10);
const LENGTH: Duration = Duration::from_secs(180);
const RECEIVE: ReceiveLimits =
    ReceiveLimits { sender: Side::Server, max_message_bytes: 65_536, max_fragments: 1 };

/// What the matcher sends to the shard.
#[derive(Default)]
struct SentToShard {
    replies: Vec<MatcherReply>,
    pairings: Vec<Pairing>,
}

impl MatcherSink for SentToShard {
    fn reply(&mut self, reply: MatcherReply) {
        self.replies.push(reply);
    }

    fn pair(&mut self, pairing: Pairing) {
        self.pairings.push(pairing);
    }
}

struct Member {
    socket: usize,
    key: ConnectionKey,
    is_bot: bool,
    /// When it sends the next `find_match`, if it is going to.
    finds_at: Option<Timestamp>,
}

struct Population {
    harness: ShardHarness,
    matcher: MatcherCore,
    members: Vec<Member>,
    random: Random,
    now: Timestamp,
    /// Whether the user of each session is a bot.
    bots: BTreeMap<String, bool>,
    /// Matches of people, and how many of them were with a bot.
    matches: u64,
    with_bots: u64,
}

impl Population {
    fn new(limits: Limits, bots: usize) -> Self {
        let harness = ShardHarness::new(limits);
        let counters = Arc::new(MatcherCounters::default());
        let matcher = MatcherCore::new(vec![Arc::clone(&harness.counters)], counters);
        let mut population = Population {
            harness,
            matcher,
            members: Vec::new(),
            random: Random::new(17),
            now: Timestamp::ZERO + Duration::from_secs(1),
            bots: BTreeMap::new(),
            matches: 0,
            with_bots: 0,
        };
        for nth in 0..PEOPLE + bots {
            let reads = [upgrade("/ws")].into();
            let fake = ScriptedConnection { reads, ..ScriptedConnection::default() };
            let (socket, key) = population.harness.connect(fake);
            population.harness.core.handle_event(key, READABLE);
            let wait = Duration::from_millis(population.random.between(0, 3000) as u64);
            population.members.push(Member {
                socket,
                key,
                is_bot: nth >= PEOPLE,
                finds_at: Some(population.now + wait),
            });
            population.receive(nth);
        }
        population
    }

    fn run(&mut self) {
        let end = self.now + LENGTH;
        while self.now < end {
            self.now = self.now + STEP;
            self.harness.wait(STEP);
            for nth in 0..self.members.len() {
                let member = &mut self.members[nth];
                if member.finds_at.is_some_and(|at| at <= self.now) {
                    member.finds_at = None;
                    let user = (member.socket, member.key);
                    self.harness.arrive(user, &text(r#"{"type":"find_match"}"#));
                }
            }
            self.run_matcher();
            (0..self.members.len()).for_each(|nth| self.receive(nth));
        }
    }

    /// The matcher handles all commands, and the shard its answers.
    fn run_matcher(&mut self) {
        let mut sent = SentToShard::default();
        self.matcher.pair_due(self.now, &mut sent);
        loop {
            for command in std::mem::take(&mut self.harness.core.host.commands.to_matcher) {
                assert!(self.matcher.handle_command(command, self.now, &mut sent).is_continue());
            }
            if sent.replies.is_empty() && sent.pairings.is_empty() {
                break;
            }
            for reply in sent.replies.drain(..) {
                self.harness.core.handle_command(ShardCommand::Reply(reply));
            }
            for pairing in sent.pairings.drain(..) {
                self.harness.core.handle_command(ShardCommand::Pair(pairing));
            }
        }
        self.harness.wait(Duration::ZERO);
    }

    /// A member reads what it was sent, and decides when to ask for a partner.
    fn receive(&mut self, nth: usize) {
        let socket = self.members[nth].socket;
        let mut bytes = std::mem::take(&mut self.harness.fake(socket).sent);
        if let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            bytes.drain(..head + 4);
        }
        let mut reader = MessageReader::new(&mut bytes, None, &RECEIVE);
        while let Some(item) = reader.next().expect("the server conforms to RFC 6455") {
            let IncomingItem::Text(place) = item else { continue };
            let message = reader.bytes(&place).to_vec();
            let parsed = parse_server_message(&message).expect("a valid message");
            let is_bot = self.members[nth].is_bot;
            let wait = match parsed {
                ParsedServerMessage::Session { session_id } => {
                    self.bots.insert(session_id.to_string(), is_bot);
                    continue;
                }
                ParsedServerMessage::MatchFound { peer_id, .. } => {
                    if !is_bot {
                        self.matches += 1;
                        self.with_bots += u64::from(self.bots[&*peer_id]);
                    }
                    let talk = self.random.between(1000, 3000) as u64;
                    Duration::from_millis(if is_bot { 0 } else { talk })
                }
                ParsedServerMessage::PeerLeft { .. } => Duration::ZERO,
                ParsedServerMessage::Error { code, .. } => {
                    assert_eq!(code, "too_many_matches");
                    // As the answer says, or a little more often.
                    Duration::from_millis(100)
                }
                _ => continue,
            };
            self.members[nth].finds_at = Some(self.now + wait);
        }
    }

    /// The part of people's matches that were with a bot.
    fn share_of_bots(&self) -> f64 {
        assert!(self.matches > 1000, "{} matches", self.matches);
        self.with_bots as f64 / self.matches as f64
    }
}

fn share_of_bots(bots: usize, limit: u32) -> f64 {
    let limits = Limits { max_matches_per_minute: NonZeroU32::new(limit), ..Limits::default() };
    let mut population = Population::new(limits, bots);
    population.run();
    let share = population.share_of_bots();
    println!(
        "{bots} bots, {limit} matches a minute: {:.1} % of {}",
        share * 100.0,
        population.matches
    );
    share
}

#[test]
fn a_bot_that_leaves_each_partner_at_once_has_few_of_the_matches() {
    assert!(share_of_bots(1, 0) > 0.2, "without a limit, the test shows nothing");
    assert!(share_of_bots(1, 20) < 0.05);
    assert!(share_of_bots(5, 20) < share_of_bots(5, 0) / 3.0);
}
