//! Every order in which what two users do can cross, on two shards: a match, a cancellation, the
//! next one, leaving, the end of a connection, a shutdown, and the letters of all of them. The
//! simulation checks each order as it checks its worlds of chance.

use crate::simulation::script::{Actor, Deed, Script};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Lines told of an order that fails.
const LINES: usize = 60;
/// Of so many orders one is seen to the very end.
const TO_THE_END: usize = 40;

/// Decisions, all of which are tried, the last one first.
#[derive(Default)]
struct Decisions {
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Decisions {
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
enum Before {
    /// They have asked for a match, and their letters are in the matcher's mailbox.
    Asked,
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
    let mut script = Script::without_descriptors(2, &[1, 1, 0, 0, 0], LINES);
    script.user(0, Deed::Find);
    script.user(1, Deed::Find);
    script.rest();
    assert!(script.in_room(0) && script.in_room(1), "they are on one shard");
    script.user(0, Deed::Leave);
    script.rest();
    script.user(1, Deed::Find);
    script.user(2, Deed::Find);
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
    let mut script = Script::without_descriptors(2, &[0, 0, 1, 1, 1], LINES);
    for user in [2, 0, 1] {
        script.user(user, Deed::Find);
        script.rest();
    }
    script.until("two of one shard have met", |script| script.in_room(0) && script.in_room(1));
    script.end(true);
}

fn begin(before: Before, drains: bool, tell: usize) -> Script {
    let mut script = Script::new(2, &[0, 1], drains, tell);
    for user in 0..2 {
        script.user(user, Deed::Find);
        script.step(Actor::Shard(user));
    }
    if before == Before::InRoom {
        script.rest();
        assert!(script.in_room(0) && script.in_room(1));
    }
    script
}

/// One order.
fn play(script: &mut Script, deeds: [Deed; 2], drains: bool, decisions: &mut Decisions) {
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
        match next[decisions.choose(next.len())] {
            Next::Step(actor) => script.step(actor),
            Next::User(user) => {
                acted[user] = true;
                script.user(user, deeds[user]);
            }
            Next::Drain => {
                drained = true;
                script.drain();
            }
        }
    }
}

/// All orders of these; how many there are.
fn all_orders(before: Before, deeds: [Deed; 2], drains: bool) -> usize {
    let mut decisions = Decisions::default();
    let mut orders = 0;
    loop {
        let run = |decisions: &mut Decisions, tell| {
            let mut script = begin(before, drains, tell);
            play(&mut script, deeds, drains, decisions);
            script.end(orders % TO_THE_END == 0);
        };
        if catch_unwind(AssertUnwindSafe(|| run(&mut decisions, 0))).is_err() {
            decisions.at = 0;
            let told = catch_unwind(AssertUnwindSafe(|| run(&mut decisions, LINES)));
            panic!("{before:?}, {deeds:?}, drains {drains}, {:?}: {told:?}", decisions.taken);
        }
        orders += 1;
        if !decisions.next() {
            return orders;
        }
    }
}

fn every_pair(before: Before, [ones, others]: [&[Deed]; 2], drains: bool) {
    let mut orders = 0;
    for one in ones {
        for other in others {
            orders += all_orders(before, [*one, *other], drains);
        }
    }
    println!("{before:?}, drains {drains}: {orders} orders");
}

/// What a match under way can cross with. A debug build is slow, and so it tries one of each kind,
/// against each other.
const MEANWHILE: &[Deed] = if cfg!(debug_assertions) { &[Deed::Cancel] } else { &Deed::ALL };

#[test]
fn whatever_two_users_do_while_they_are_matched_can_cross_in_every_order() {
    every_pair(Before::Asked, [MEANWHILE; 2], false);
}

#[test]
fn whatever_two_members_of_a_room_do_can_cross_in_every_order() {
    every_pair(Before::InRoom, [&Deed::ALL; 2], false);
}

#[test]
fn a_shutdown_can_cross_with_whatever_the_members_of_a_room_do_in_every_order() {
    every_pair(Before::InRoom, [&Deed::ALL; 2], true);
}

/// Whatever one of them does, beside one who does not want to be matched any more and one who is
/// gone: with all pairs there would be ten million orders.
#[test]
#[cfg_attr(debug_assertions, ignore = "so many orders are for a release build")]
fn a_shutdown_can_cross_with_whatever_two_users_do_while_they_are_matched_in_every_order() {
    every_pair(Before::Asked, [&Deed::ALL, &[Deed::Cancel, Deed::Vanish]], true);
}
