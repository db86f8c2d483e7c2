//! The law of the queue, against a model that states it word for word and scans everything.

use super::*;
use crate::commands::RecentPartner;
use crate::ids::{ConnectionKey, SessionNo, ShardId};
use proptest::prelude::*;
use std::time::Duration;

/// A tick of the wheel: pairs come up to this much late.
const TICK: Duration = Duration::from_nanos(1 << 20);

fn holder(session: u64) -> SessionAddress {
    SessionAddress { shard: ShardId(session as u16 % 3), key: ConnectionKey::from_word(session) }
}

/// A ticket that refuses nobody.
fn ticket(session: u64, number: u32, queue: u128, since: Timestamp) -> Ticket {
    Ticket {
        holder: holder(session),
        number: TicketNo(number),
        session: SessionNo(session),
        queue: QueueKey(queue),
        since,
        recent_partner: None,
    }
}

fn recent_partner(ticket: Ticket, from: u64, until: Timestamp) -> Ticket {
    Ticket { recent_partner: Some(RecentPartner { session: SessionNo(from), until }), ..ticket }
}

fn millis(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

/// The law, literally. Tickets stand in the order in which they were entered.
#[derive(Default)]
struct Model {
    waiting: Vec<(Ticket, TicketHandle)>,
}

impl Model {
    fn may_meet(one: &Ticket, other: &Ticket, now: Timestamp) -> bool {
        let refuses = |a: &Ticket, b: &Ticket| {
            a.recent_partner.is_some_and(|recent_partner| {
                recent_partner.session == b.session && now < recent_partner.until
            })
        };
        one.session != other.session && !refuses(one, other) && !refuses(other, one)
    }

    /// The tickets of a queue in the order in which they come first.
    fn line(&self, queue: QueueKey) -> Vec<Ticket> {
        let mut line: Vec<_> =
            self.waiting.iter().map(|&(ticket, _)| ticket).filter(|t| t.queue == queue).collect();
        line.sort_by_key(|ticket| ticket.since);
        line
    }

    fn take_out(&mut self, ticket: &Ticket) {
        let at = self.waiting.iter().position(|(other, _)| other == ticket).unwrap();
        self.waiting.remove(at);
    }

    fn pair_up(&mut self, queue: QueueKey, now: Timestamp, pairs: &mut Vec<(Ticket, Ticket)>) {
        let line = self.line(queue);
        let two = line.iter().enumerate().find_map(|(at, one)| {
            let other = line[at + 1..].iter().find(|other| Self::may_meet(one, other, now))?;
            Some((*one, *other))
        });
        if let Some((one, other)) = two {
            self.take_out(&one);
            self.take_out(&other);
            pairs.push((one, other));
            self.pair_up(queue, now, pairs);
        }
    }

    fn leave(&mut self, holder: SessionAddress, handle: TicketHandle, number: TicketNo) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(ticket, at)| {
            !(*at == handle && ticket.holder == holder && ticket.number == number)
        });
        self.waiting.len() < before
    }

    /// All pairs, and whether the ticket waits; then the caller says where.
    fn enter(&mut self, ticket: Ticket, now: Timestamp) -> (Vec<(Ticket, Ticket)>, bool) {
        let mut pairs = Vec::new();
        self.pair_up(ticket.queue, now, &mut pairs);
        let line = self.line(ticket.queue);
        let other = line.into_iter().find(|other| Self::may_meet(other, &ticket, now));
        if let Some(other) = other {
            self.take_out(&other);
            pairs.push((other, ticket));
        }
        (pairs, other.is_none())
    }

    fn queues(&self) -> Vec<QueueKey> {
        let mut queues: Vec<_> = self.waiting.iter().map(|(ticket, _)| ticket.queue).collect();
        queues.sort_by_key(|queue| queue.0);
        queues.dedup();
        queues
    }

    fn may_two_meet(&self, queue: QueueKey, now: Timestamp) -> bool {
        let line = self.line(queue);
        line.iter()
            .enumerate()
            .any(|(at, one)| line[at + 1..].iter().any(|other| Self::may_meet(one, other, now)))
    }

    /// Queues in which two could meet when the last whole tick ended.
    fn expire(&mut self, now: Timestamp) -> Vec<(Ticket, Ticket)> {
        let tick = TICK.as_nanos() as u64;
        let looked_at = Timestamp::from_nanos(now.as_nanos() / tick * tick);
        let mut pairs = Vec::new();
        for queue in self.queues() {
            if self.may_two_meet(queue, looked_at) {
                self.pair_up(queue, now, &mut pairs);
            }
        }
        pairs
    }

    /// When the next two tickets of one queue may meet.
    fn next_meeting(&self, now: Timestamp) -> Option<Timestamp> {
        let untils =
            self.waiting.iter().filter_map(|(ticket, _)| Some(ticket.recent_partner?.until));
        let mut moments: Vec<_> = untils.chain([now]).collect();
        moments.sort();
        let soon =
            |at: &Timestamp| self.queues().into_iter().any(|queue| self.may_two_meet(queue, *at));
        moments.into_iter().find(soon)
    }
}

/// What happens next. Numbers are taken modulo what there is to choose from.
#[derive(Clone, Debug)]
enum Step {
    Enter {
        session: u64,
        queue: u8,
        /// From whom the session has just recent_partner, and for how much longer that counts.
        recent_partner: Option<(u64, u16)>,
        /// How long ago its wait began.
        waited_ms: u16,
        /// The ticket it replaces, and whether its number is wrong.
        replaces: Option<(usize, bool)>,
    },
    Leave {
        which: usize,
        /// What is wrong with the letter, if anything.
        wrong: Wrong,
    },
    /// So many ticks and nanoseconds go by.
    Wait {
        ticks: u16,
        nanos: u32,
    },
    Expire,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    Number,
    Holder,
    TicketHandle,
}

fn steps(sessions: u64) -> impl Strategy<Value = Vec<Step>> {
    let ms = prop_oneof![4 => Just(800u16), 2 => 0..900u16, 1 => 900..5_000u16];
    let recent_partner = proptest::option::of((0..sessions, ms));
    let waited = prop_oneof![3 => Just(0u16), 1 => 0..1_000u16, 1 => Just(500u16)];
    let replaces = proptest::option::weighted(0.3, (any::<usize>(), proptest::bool::weighted(0.2)));
    let wrong = prop_oneof![
        5 => Just(Wrong::Nothing),
        1 => Just(Wrong::Number),
        1 => Just(Wrong::Holder),
        1 => Just(Wrong::TicketHandle),
    ];
    let step = prop_oneof![
        8 => (0..sessions, 0..3u8, recent_partner, waited, replaces).prop_map(
            |(session, queue, recent_partner, waited_ms, replaces)| Step::Enter {
                session, queue, recent_partner, waited_ms, replaces
            }
        ),
        3 => (any::<usize>(), wrong).prop_map(|(which, wrong)| Step::Leave { which, wrong }),
        2 => (0..900u16, 0..2_000_000u32).prop_map(|(ticks, nanos)| Step::Wait { ticks, nanos }),
        1 => (0..3u16, 0..3u32).prop_map(|(ticks, nanos)| Step::Wait { ticks, nanos }),
        2 => Just(Step::Expire),
    ];
    proptest::collection::vec(step, 1..120)
}

/// The queue and the model side by side.
#[derive(Default)]
struct Both {
    real: MatchQueue,
    model: Model,
    now: Timestamp,
    numbers: u32,
}

impl Both {
    fn enter(
        &mut self,
        ticket: Ticket,
        replaces: Option<(TicketHandle, TicketNo)>,
    ) -> Option<TicketHandle> {
        self.real.warm(&[MatcherCommand::Enter { ticket, replaces }]);
        if let Some((handle, number)) = replaces {
            self.model.leave(ticket.holder, handle, number);
        }
        let mut pairs = Vec::new();
        let handle = self.real.enter(ticket, replaces, self.now, |a, b| pairs.push((a, b)));
        let (expected, waits) = self.model.enter(ticket, self.now);
        assert_eq!(pairs, expected);
        assert_eq!(handle.is_some(), waits);
        if let Some(handle) = handle {
            assert!(self.model.waiting.iter().all(|&(_, other)| other != handle));
            self.model.waiting.push((ticket, handle));
        }
        handle
    }

    fn leave(&mut self, holder: SessionAddress, handle: TicketHandle, number: TicketNo) -> bool {
        self.real.warm(&[MatcherCommand::Leave { holder, handle, number }]);
        let left = self.real.leave(holder, handle, number);
        assert_eq!(left, self.model.leave(holder, handle, number));
        left
    }

    fn expire(&mut self) {
        let mut pairs = Vec::new();
        self.real.expire(self.now, |one, other| pairs.push((one, other)));
        // Within a queue the order counts, between queues there is none.
        pairs.sort_by_key(|(one, _)| one.queue.0);
        assert_eq!(pairs, self.model.expire(self.now));
        if let Some(next) = self.real.next_deadline() {
            assert!(next > self.now, "a poll without end");
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Enter { session, queue, recent_partner: refused, waited_ms, replaces } => {
                self.numbers += 1;
                let since = self.now - Duration::from_millis(waited_ms.into());
                let mut new = ticket(session, self.numbers, queue.into(), since);
                if let Some((from, ms)) = refused {
                    new = recent_partner(new, from, self.now + Duration::from_millis(ms.into()));
                }
                let replaces = replaces.filter(|_| !self.model.waiting.is_empty());
                let replaces = replaces.map(|(which, wrong)| {
                    let (old, handle) = self.model.waiting[which % self.model.waiting.len()];
                    (handle, TicketNo(old.number.0 + u32::from(wrong)))
                });
                self.enter(new, replaces);
            }
            Step::Leave { which, wrong } => {
                let Some(&(ticket, handle)) =
                    self.model.waiting.get(which % self.model.waiting.len().max(1))
                else {
                    return;
                };
                let (mut holder, mut number, mut handle) = (ticket.holder, ticket.number, handle);
                match wrong {
                    Wrong::Nothing => {}
                    Wrong::Number => number.0 += 1,
                    Wrong::Holder => holder.key.serial.0 += 1,
                    Wrong::TicketHandle => handle.0 += which as u32 % 3_000 + 1,
                }
                assert_eq!(self.leave(holder, handle, number), wrong == Wrong::Nothing);
            }
            Step::Wait { ticks, nanos } => {
                self.now = self.now + TICK * u32::from(ticks) + Duration::from_nanos(nanos.into());
            }
            Step::Expire => self.expire(),
        }
    }

    fn check(&self) {
        assert_eq!(self.real.waiting(), self.model.waiting.len());
        assert_eq!(self.real.queues(), self.model.queues().len());
        // A meeting is at most one tick late.
        if let Some(meeting) = self.model.next_meeting(self.now) {
            let look = self.real.next_deadline().expect("because two are going to meet");
            assert!(look < meeting + TICK, "{look:?} is too late for {meeting:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Also with several tickets of one session, and the more the fewer sessions there are, so
    /// that queues get long.
    #[test]
    fn it_makes_the_models_matches_in_the_models_order(steps in (2..8u64).prop_flat_map(steps)) {
        let mut both = Both { now: millis(10_000), ..Both::default() };
        for step in &steps {
            both.take(step);
            both.check();
        }
    }

    #[test]
    fn with_one_ticket_a_session_no_queue_holds_more_than_three(steps in steps(12)) {
        let mut both = Both { now: millis(10_000), ..Both::default() };
        let mut most = 0;
        for step in &steps {
            if let Step::Enter { session, .. } = *step {
                let earlier = both.model.waiting.iter().find(|(t, _)| t.session.0 == session);
                if let Some(&(earlier, handle)) = earlier {
                    both.leave(earlier.holder, handle, earlier.number);
                }
            }
            both.take(step);
            for queue in both.model.queues() {
                most = most.max(both.model.line(queue).len());
            }
        }
        prop_assert!(most <= 3, "{most} tickets in one queue");
    }
}

#[test]
fn three_at_rest_is_reached() {
    let mut both = Both::default();
    for (session, from) in [(1, 2), (2, 3), (3, 1)] {
        assert!(
            both.enter(
                recent_partner(ticket(session, 1, 5, Timestamp::ZERO), from, millis(800)),
                None
            )
            .is_some()
        );
    }
    assert_eq!((both.real.waiting(), both.real.queues()), (3, 1));
    // Whoever comes fourth meets the first of them.
    assert_eq!(both.enter(ticket(4, 1, 5, millis(1)), None), None);
    both.now = both.real.next_deadline().unwrap();
    both.expire();
    assert_eq!((both.real.waiting(), both.real.queues()), (0, 0));
    assert_eq!(both.real.next_deadline(), None);
}

#[test]
fn those_who_just_parted_meet_somebody_else_first_and_each_other_in_the_end() {
    let mut both = Both::default();
    both.enter(recent_partner(ticket(1, 1, 5, Timestamp::ZERO), 2, millis(800)), None);
    both.enter(recent_partner(ticket(2, 1, 5, Timestamp::ZERO), 1, millis(800)), None);
    assert_eq!(both.real.waiting(), 2);
    both.now = millis(800);
    both.expire();
    assert_eq!(both.real.waiting(), 2, "the tick in which they may meet is not over");
    both.now = both.real.next_deadline().unwrap();
    assert!(both.now < millis(800) + TICK);
    both.expire();
    assert_eq!(both.real.waiting(), 0);
}

#[test]
fn who_enters_after_the_delay_does_not_come_before_those_who_wait() {
    let mut both = Both::default();
    both.enter(recent_partner(ticket(1, 1, 5, Timestamp::ZERO), 2, millis(800)), None);
    both.enter(recent_partner(ticket(2, 1, 5, Timestamp::ZERO), 1, millis(800)), None);
    both.now = millis(800);
    // Nobody has looked at the clock yet, and still 1 meets 2.
    assert!(both.enter(ticket(3, 1, 5, both.now), None).is_some());
    assert_eq!(both.real.waiting(), 1);
}

#[test]
fn a_refusal_ends_at_its_moment_not_after_it() {
    for (now, waits) in [(millis(800) - Duration::from_nanos(1), true), (millis(800), false)] {
        let mut both = Both { now, ..Both::default() };
        both.enter(recent_partner(ticket(1, 1, 5, Timestamp::ZERO), 2, millis(800)), None);
        assert_eq!(both.enter(ticket(2, 1, 5, now), None).is_some(), waits);
    }
}

#[test]
fn all_who_may_meet_at_last_are_paired_in_one_go() {
    let mut both = Both::default();
    // Three tickets each of 1 and 2, who refuse each other: more than the server ever enters.
    for number in 0..3 {
        for (session, from) in [(1, 2), (2, 1)] {
            both.enter(
                recent_partner(ticket(session, number, 5, Timestamp::ZERO), from, millis(800)),
                None,
            );
        }
    }
    assert_eq!((both.real.waiting(), both.real.queues()), (6, 1));
    both.now = both.real.next_deadline().unwrap();
    both.expire();
    assert_eq!((both.real.waiting(), both.real.queues()), (0, 0));
}

#[test]
fn a_ticket_that_comes_back_has_its_old_place() {
    let mut both = Both { now: millis(100), ..Both::default() };
    // 1 and 2 refuse each other; 3, who was there first, comes back between them in time.
    both.enter(recent_partner(ticket(1, 1, 5, millis(10)), 2, millis(800)), None);
    both.enter(recent_partner(ticket(2, 1, 5, millis(20)), 3, millis(800)), None);
    both.enter(recent_partner(ticket(3, 1, 5, millis(5)), 1, millis(800)), None);
    let mut first = None;
    both.real.enter(ticket(4, 1, 5, millis(100)), None, both.now, |one, _| first = Some(one));
    assert_eq!(first.unwrap().session, SessionNo(3));
}

#[test]
fn a_stale_desk_takes_out_nobody() {
    let mut queue = MatchQueue::new();
    let never = |_, _| panic!("nobody is to meet");
    let first = ticket(1, 1, 5, Timestamp::ZERO);
    let handle = queue.enter(first, None, Timestamp::ZERO, never).unwrap();
    assert!(queue.leave(first.holder, handle, first.number));
    assert!(!queue.leave(first.holder, handle, first.number));
    // The place is used again, by the same session's next ticket and by another's.
    for next in [ticket(1, 2, 5, Timestamp::ZERO), ticket(2, 1, 5, Timestamp::ZERO)] {
        let reused = queue.enter(next, None, Timestamp::ZERO, never).unwrap();
        assert_eq!(reused, handle);
        assert!(!queue.leave(first.holder, handle, first.number));
        assert!(queue.leave(next.holder, handle, next.number));
    }
    assert!(!queue.leave(first.holder, TicketHandle(u32::MAX), first.number));
}

#[test]
fn a_ticket_replaces_its_predecessor_in_another_queue_or_the_same() {
    let mut queue = MatchQueue::new();
    let never = |_, _| panic!("nobody is to meet");
    let mut last = queue.enter(ticket(1, 0, 0, Timestamp::ZERO), None, Timestamp::ZERO, never);
    for number in 1..9 {
        let replaces = last.map(|handle| (handle, TicketNo(number - 1)));
        let ticket = ticket(1, number, (number / 2).into(), Timestamp::ZERO);
        last = queue.enter(ticket, replaces, Timestamp::ZERO, never);
        assert_eq!((queue.waiting(), queue.queues()), (1, 1));
    }
}

/// Queue names as the server makes them: all bits look like chance.
fn name(number: u64) -> u128 {
    u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32))
}

#[test]
fn when_all_have_left_little_is_kept() {
    const QUEUES: u64 = 30_000;
    let mut queue = MatchQueue::new();
    for round in 1..=3 {
        // Two who refuse each other in every queue.
        let mut all = Vec::new();
        for session in 0..2 * QUEUES {
            let ticket = ticket(session, round, name(session / 2), Timestamp::ZERO);
            let ticket = recent_partner(ticket, session ^ 1, millis(800));
            let handle =
                queue.enter(ticket, None, Timestamp::ZERO, |_, _| panic!("refused")).unwrap();
            all.push((ticket, handle));
        }
        assert_eq!((queue.waiting(), queue.queues()), (all.len(), QUEUES as usize));
        assert!(queue.retained_bytes() > 8 * KEPT_BYTES);
        // A bijection of a prime's residues: out of order, but each once.
        for at in 0..all.len() as u64 {
            let (ticket, handle) = all[(at * 48_611 % all.len() as u64) as usize];
            assert!(queue.leave(ticket.holder, handle, ticket.number));
        }
        assert_eq!((queue.waiting(), queue.queues(), queue.next_deadline()), (0, 0, None));
        assert!(queue.retained_bytes() <= KEPT_BYTES, "{} bytes", queue.retained_bytes());
    }
}

#[test]
fn coming_and_going_without_end_grows_nothing() {
    let mut queue = MatchQueue::new();
    let never = |_, _| panic!("nobody is to meet");
    let waits = recent_partner(ticket(1, 1, 5, Timestamp::ZERO), 2, millis(800));
    queue.enter(waits, None, Timestamp::ZERO, never);
    for number in 0..100_000 {
        let comes = ticket(2, number, 5, Timestamp::ZERO);
        let handle = queue.enter(comes, None, Timestamp::ZERO, never).unwrap();
        assert!(queue.leave(comes.holder, handle, comes.number));
    }
    assert_eq!(queue.waiting(), 1);
    assert!(queue.retained_bytes() <= KEPT_BYTES);
}
