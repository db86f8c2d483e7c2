//! Every order in which what two users do can cross, on two shards: a match, a cancellation, the
//! next one, leaving, the end of a connection, a shutdown, and the commands of all of them. The
//! simulation checks each order as it checks its runs of chance.

use crate::simulation::script::{Actor, Script, ScriptedAction};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Lines told of an order that fails.
const LOGGED_LINES: usize = 60;
/// Of so many orders one is seen to the very end.
const FULL_FINISH_INTERVAL: usize = 40;

/// OrderChoices, all of which are tried, the last one first.
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

    /// Goes on to the next; false if there is none.
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

/// Where the two are when they begin to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartState {
    /// They have pending for a match, and their commands are in the matcher's mailbox.
    PendingRequest,
    /// They share a room.
    InRoom,
}

/// Something that may come next.
#[derive(Clone, Copy, Debug)]
enum Next {
    User(usize),
    Drain,
    Step(Actor),
}

/// Two who may meet and cannot, because there is no descriptor for the one that has to move. That
/// its partner to be has just left somebody else makes no difference.
#[test]
fn a_lasting_shortage_keeps_no_thread_busy() {
    let mut script = Script::without_descriptors(2, &[1, 1, 0, 0, 0], LOGGED_LINES);
    script.user(0, ScriptedAction::Find);
    script.user(1, ScriptedAction::Find);
    script.rest();
    assert!(script.in_room(0) && script.in_room(1), "they are on one shard");
    script.user(0, ScriptedAction::Leave);
    script.rest();
    script.user(1, ScriptedAction::Find);
    script.user(2, ScriptedAction::Find);
    // It would never end.
    script.rest();
    assert!(!script.in_room(1) && !script.in_room(2));
    assert!(script.refused_moves() > 0, "one was to move");
    // Then there are descriptors, and they are tried again.
    script.end(true);
}

/// Two of one shard meet while none can be brought there, though somebody of another shard waits
/// who would come before one of them.
#[test]
fn those_who_need_no_descriptor_meet_in_a_shortage() {
    let mut script = Script::without_descriptors(2, &[0, 0, 1, 1, 1], LOGGED_LINES);
    for user in [2, 0, 1] {
        script.user(user, ScriptedAction::Find);
        script.rest();
    }
    script.until("two of one shard have met", |script| script.in_room(0) && script.in_room(1));
    script.end(true);
}

fn begin(before: StartState, drains: bool, tell: usize) -> Script {
    let mut script = Script::new(2, &[0, 1], drains, tell);
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

/// One order.
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

/// All orders of these; how many there are.
fn run_all_orders(before: StartState, actions: [ScriptedAction; 2], drains: bool) -> usize {
    let mut choices = OrderChoices::default();
    let mut orders = 0;
    loop {
        let run = |choices: &mut OrderChoices, tell| {
            let mut script = begin(before, drains, tell);
            run_order(&mut script, actions, drains, choices);
            script.end(orders % FULL_FINISH_INTERVAL == 0);
        };
        if catch_unwind(AssertUnwindSafe(|| run(&mut choices, 0))).is_err() {
            choices.at = 0;
            let told = catch_unwind(AssertUnwindSafe(|| run(&mut choices, LOGGED_LINES)));
            panic!("{before:?}, {actions:?}, drains {drains}, {:?}: {told:?}", choices.taken);
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

/// What a match under way can cross with. A debug build is slow, and so it tries one of each kind,
/// against each other.
const CONCURRENT_ACTIONS: &[ScriptedAction] =
    if cfg!(debug_assertions) { &[ScriptedAction::Cancel] } else { &ScriptedAction::ALL };

#[test]
fn whatever_two_users_do_while_they_are_matched_can_cross_in_every_order() {
    run_every_pair(StartState::PendingRequest, [CONCURRENT_ACTIONS; 2], false);
}

#[test]
fn whatever_two_members_of_a_room_do_can_cross_in_every_order() {
    run_every_pair(StartState::InRoom, [&ScriptedAction::ALL; 2], false);
}

#[test]
fn a_shutdown_can_cross_with_whatever_the_members_of_a_room_do_in_every_order() {
    run_every_pair(StartState::InRoom, [&ScriptedAction::ALL; 2], true);
}

/// Whatever one of them does, beside one who does not want to be matched any more and one who is
/// gone: with all pairs there would be ten million orders.
#[test]
#[cfg_attr(debug_assertions, ignore = "so many orders are for a release build")]
fn a_shutdown_can_cross_with_whatever_two_users_do_while_they_are_matched_in_every_order() {
    run_every_pair(
        StartState::PendingRequest,
        [&ScriptedAction::ALL, &[ScriptedAction::Cancel, ScriptedAction::Vanish]],
        true,
    );
}
