//! Every order in which actions of two users on two shards can interleave: match, cancellation,
//! next, leave, the end of a connection, shutdown, and the commands that these cause. The
//! simulation checks the guarantees in each order, as in random runs.

use crate::simulation::script::{Actor, Script, ScriptedAction};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Log lines that are printed for an order that fails.
const LOGGED_LINES: usize = 60;
/// One order in this many is run until all users have left.
const FULL_FINISH_INTERVAL: usize = 40;

/// The choices of one order. All combinations are tried, the last choice first.
#[derive(Default)]
struct OrderChoices {
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl OrderChoices {
    fn choose(&mut self, of: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, of));
        }
        self.at += 1;
        self.taken[self.at - 1].0
    }

    /// Moves to the next combination; returns false if there is none.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, of)) = self.taken.pop() {
            if choice + 1 < of {
                self.taken.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

/// The state of the two users before their actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartState {
    /// They have sent `find_match`, and the commands are in the matcher's mailbox.
    Requested,
    /// They share a room.
    InRoom,
}

/// A possible next step.
#[derive(Clone, Copy, Debug)]
enum Next {
    User(usize),
    Drain,
    Step(Actor),
}

/// Two users can be matched, but there is no descriptor for the session that has to migrate. That
/// the other one has just left a partner makes no difference.
#[test]
fn a_lasting_lack_of_descriptors_keeps_no_thread_busy() {
    let mut script = Script::without_descriptors(2, &[1, 1, 0, 0, 0], LOGGED_LINES);
    script.user(0, ScriptedAction::Find);
    script.user(1, ScriptedAction::Find);
    script.rest();
    assert!(script.in_room(0) && script.in_room(1), "they are on one shard");
    script.user(0, ScriptedAction::Leave);
    script.rest();
    script.user(1, ScriptedAction::Find);
    script.user(2, ScriptedAction::Find);
    // Without a pause between attempts this would never end.
    script.rest();
    assert!(!script.in_room(1) && !script.in_room(2));
    assert!(script.refused_moves() > 0, "a migration was tried");
    // Descriptors become free, and the migration is tried again.
    script.end(true);
}

/// Two users of one shard are matched although a user of another shard has waited longer, because
/// no session can migrate.
#[test]
fn users_of_one_shard_are_matched_when_descriptors_are_short() {
    let mut script = Script::without_descriptors(2, &[0, 0, 1, 1, 1], LOGGED_LINES);
    for user in [2, 0, 1] {
        script.user(user, ScriptedAction::Find);
        script.rest();
    }
    script.until("two users of one shard are matched", |script| {
        script.in_room(0) && script.in_room(1)
    });
    script.end(true);
}

fn begin(before: StartState, drains: bool, kept_lines: usize) -> Script {
    let mut script = Script::new(2, &[0, 1], drains, kept_lines);
    for user in 0..2 {
        script.user(user, ScriptedAction::Find);
        script.step(Actor::Shard(user));
    }
    if before == StartState::InRoom {
        script.rest();
        assert!(script.in_room(0) && script.in_room(1));
    }
    script
}

/// Runs one order.
fn run_order(
    script: &mut Script,
    actions: [ScriptedAction; 2],
    drains: bool,
    choices: &mut OrderChoices,
) {
    let (mut acted, mut drained) = ([false; 2], !drains);
    loop {
        let mut next: Vec<Next> = script.busy().into_iter().map(Next::Step).collect();
        next.extend((0..2).filter(|user| !acted[*user]).map(Next::User));
        if !drained {
            next.push(Next::Drain);
        }
        if next.is_empty() {
            return;
        }
        match next[choices.choose(next.len())] {
            Next::Step(actor) => script.step(actor),
            Next::User(user) => {
                acted[user] = true;
                script.user(user, actions[user]);
            }
            Next::Drain => {
                drained = true;
                script.drain();
            }
        }
    }
}

/// Runs all orders; returns their number.
fn run_all_orders(before: StartState, actions: [ScriptedAction; 2], drains: bool) -> usize {
    let mut choices = OrderChoices::default();
    let mut orders = 0;
    loop {
        let run = |choices: &mut OrderChoices, kept_lines| {
            let mut script = begin(before, drains, kept_lines);
            run_order(&mut script, actions, drains, choices);
            script.end(orders % FULL_FINISH_INTERVAL == 0);
        };
        if catch_unwind(AssertUnwindSafe(|| run(&mut choices, 0))).is_err() {
            choices.at = 0;
            let log = catch_unwind(AssertUnwindSafe(|| run(&mut choices, LOGGED_LINES)));
            panic!("{before:?}, {actions:?}, drains {drains}, {:?}: {log:?}", choices.taken);
        }
        orders += 1;
        if !choices.next() {
            return orders;
        }
    }
}

fn run_every_pair(before: StartState, [ones, others]: [&[ScriptedAction]; 2], drains: bool) {
    let mut orders = 0;
    for one in ones {
        for other in others {
            orders += run_all_orders(before, [*one, *other], drains);
        }
    }
    println!("{before:?}, drains {drains}: {orders} orders");
}

/// Actions during a match. A debug build is slow, so it tries only one.
const CONCURRENT_ACTIONS: &[ScriptedAction] =
    if cfg!(debug_assertions) { &[ScriptedAction::Cancel] } else { &ScriptedAction::ALL };

#[test]
fn actions_of_two_users_during_their_match_are_safe_in_every_order() {
    run_every_pair(StartState::Requested, [CONCURRENT_ACTIONS; 2], false);
}

#[test]
fn actions_of_two_members_of_a_room_are_safe_in_every_order() {
    run_every_pair(StartState::InRoom, [&ScriptedAction::ALL; 2], false);
}

#[test]
fn a_shutdown_during_actions_of_room_members_is_safe_in_every_order() {
    run_every_pair(StartState::InRoom, [&ScriptedAction::ALL; 2], true);
}

/// All actions of one user, combined with a cancellation and a lost connection of the other: all
/// pairs would be ten million orders.
#[test]
#[cfg_attr(debug_assertions, ignore = "too many orders for a debug build")]
fn a_shutdown_during_a_match_is_safe_in_every_order() {
    run_every_pair(
        StartState::Requested,
        [&ScriptedAction::ALL, &[ScriptedAction::Cancel, ScriptedAction::Vanish]],
        true,
    );
}
