//! Two shard cores and a matcher, which match two users with each other. Sockets are in memory.

use crate::common::{KEY, REQUEST};
use crate::fakes::FakeHost;
use crate::shard_harness::{EndlessNetwork, READABLE, new_core};
use std::sync::Arc;
use std::time::Duration;
use switchboard::commands::{MatcherReply, Pairing, ShardCommand};
use switchboard::config::Limits;
use switchboard::ids::{ConnectionKey, ShardId};
use switchboard::matchmaking::matcher_core::{MatcherCore, MatcherSink};
use switchboard::shard::core::Core;
use switchboard::shard::migration::CoreCommand;
use switchboard::telemetry::ShardCounters;
use switchboard::telemetry::counters::MatcherCounters;
use switchboard::timestamp::Timestamp;
use switchboard::wire::message::client::write_find_match;
use switchboard::wire::websocket::frame::{TEXT, push_client_frame};

/// What the matcher has sent.
#[derive(Default)]
struct SentAnswers(Vec<(ShardId, CoreCommand<u32>)>);

impl MatcherSink for SentAnswers {
    fn reply(&mut self, reply: MatcherReply) {
        self.0.push((reply.holder.shard, ShardCommand::Reply(reply)));
    }

    fn pair(&mut self, pairing: Pairing) {
        self.0.push((pairing.home.holder.shard, ShardCommand::Pair(pairing)));
    }
}

/// Two shards and their matcher. A session may meet its last partner at once.
pub(crate) struct MatchHarness {
    cores: [Core<FakeHost<EndlessNetwork>>; 2],
    matcher: MatcherCore,
    answers: SentAnswers,
    /// Storage that is reused for the commands in delivery, so that it costs nothing.
    delivered: Vec<(ShardId, CoreCommand<u32>)>,
    find: Vec<u8>,
    upgrade_and_find: Vec<u8>,
}

impl MatchHarness {
    pub(crate) fn new() -> Self {
        let limits = Limits { rematch_delay: Duration::ZERO, ..Limits::default() };
        let counters = [0, 1].map(|_| Arc::new(ShardCounters::new(0)));
        let cores = [0, 1].map(|shard| {
            new_core(ShardId(shard), limits.clone(), counters[usize::from(shard)].clone())
        });
        let mut message = Vec::new();
        write_find_match(&mut message, None);
        let mut find = Vec::new();
        push_client_frame(&mut find, TEXT, &message, KEY);
        let matcher = MatcherCore::new(counters.to_vec(), Arc::new(MatcherCounters::default()));
        let upgrade_and_find = [REQUEST, find.as_slice()].concat();
        MatchHarness {
            cores,
            matcher,
            answers: SentAnswers::default(),
            delivered: Vec::new(),
            find,
            upgrade_and_find,
        }
    }

    /// Opens a connection that asks for a match.
    fn open(&mut self, shard: usize) -> ConnectionKey {
        let core = &mut self.cores[shard];
        core.begin_iteration(Timestamp::ZERO);
        core.host.network.set_input(&self.upgrade_and_find);
        let key = core.admit(shard as u32, None, None);
        core.handle_event(key, READABLE);
        key
    }

    /// Opens two connections on the first shard, which are matched with each other.
    pub(crate) fn open_pair(&mut self) -> [ConnectionKey; 2] {
        let users = [self.open(0), self.open(0)];
        self.deliver_commands();
        users
    }

    /// Both members of a room ask for the next partner, and meet again.
    pub(crate) fn match_again(&mut self, users: [ConnectionKey; 2]) {
        let core = &mut self.cores[0];
        core.begin_iteration(Timestamp::ZERO);
        core.host.network.set_input(&self.find);
        for user in users {
            core.handle_event(user, READABLE);
        }
        self.deliver_commands();
    }

    /// Opens a connection on each shard, which are matched with each other, so that one of them
    /// migrates, and closes both.
    pub(crate) fn match_across_shards(&mut self) {
        let users = [self.open(0), self.open(1)];
        self.deliver_commands();
        for (core, user) in self.cores.iter_mut().zip(users) {
            // A shard watches a socket that has migrated to it.
            let Some(mover) = core.host.network.last_watched.take() else { continue };
            core.host.network.ends = true;
            core.handle_event(user, READABLE);
            core.handle_event(mover, READABLE);
            core.host.network.ends = false;
            core.host.services.ended.clear();
        }
    }

    /// Delivers the commands of all threads until none is left.
    fn deliver_commands(&mut self) {
        loop {
            for core in &mut self.cores {
                for command in core.host.commands.to_matcher.drain(..) {
                    let _ =
                        self.matcher.handle_command(command, Timestamp::ZERO, &mut self.answers);
                }
                self.answers.0.append(&mut core.host.commands.to_shards);
            }
            if self.answers.0.is_empty() {
                break;
            }
            std::mem::swap(&mut self.answers.0, &mut self.delivered);
            for (shard, command) in self.delivered.drain(..) {
                self.cores[usize::from(shard.0)].handle_command(command);
            }
        }
        for core in &mut self.cores {
            core.run_deferred();
        }
    }
}
