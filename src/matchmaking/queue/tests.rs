//! Compares the queue with a model that implements the rules literally and scans everything.

mod model;

use super::*;
use crate::commands::RecentPartners;
use crate::ids::{ConnectionKey, SessionNo, ShardId};
use model::QueueModel;
use proptest::prelude::*;
use std::time::Duration;

/// A tick of the wheel: pairs are made up to this much late.
const TICK: Duration = Duration::from_nanos(1 << 20);

fn holder(session: u64) -> SessionAddress {
    SessionAddress { shard: ShardId(session as u16 % 3), key: ConnectionKey::from_word(session) }
}

/// A ticket without a recent partner.
fn ticket(session: u64, number: u32, queue: u128, since: Timestamp) -> Ticket {
    Ticket {
        holder: holder(session),
        number: TicketNo(number),
        session: SessionNo(session),
        queue: QueueKey(queue),
        since,
        recent_partners: RecentPartners::default(),
        apart_ms: 0,
    }
}

/// A ticket that does not meet this partner before `until`, a whole number of milliseconds later.
fn with_partner(ticket: Ticket, partner: u64, until: Timestamp) -> Ticket {
    with_partners(ticket, [partner], until.since(ticket.since).as_millis() as u32)
}

fn with_partners(
    mut ticket: Ticket,
    partners: impl IntoIterator<Item = u64>,
    apart_ms: u32,
) -> Ticket {
    partners.into_iter().for_each(|partner| ticket.recent_partners.remember(SessionNo(partner)));
    Ticket { apart_ms, ..ticket }
}

fn millis(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

/// One operation. Indices are taken modulo the number of candidates.
#[derive(Clone, Debug)]
enum QueueStep {
    Enter {
        session: u64,
        queue: u8,
        /// The recent partners, and for how many more milliseconds they are avoided.
        recent_partners: (Vec<u64>, u16),
        /// How long ago its wait began.
        waited_ms: u16,
        /// The ticket that it replaces, and whether the number is wrong.
        replaces: Option<(usize, bool)>,
    },
    Leave {
        which: usize,
        /// What is wrong with the command, if anything.
        mistake: LeaveMistake,
    },
    /// Time passes.
    Wait {
        ticks: u16,
        nanos: u32,
    },
    PairDue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaveMistake {
    None,
    Number,
    Holder,
    Handle,
}

fn steps(sessions: u64) -> impl Strategy<Value = Vec<QueueStep>> {
    let ms = prop_oneof![4 => Just(800u16), 2 => 0..900u16, 1 => 900..5_000u16];
    let recent_partners = (proptest::collection::vec(0..sessions, 0..5), ms);
    let waited = prop_oneof![3 => Just(0u16), 1 => 0..1_000u16, 1 => Just(500u16)];
    let replaces = proptest::option::weighted(0.3, (any::<usize>(), proptest::bool::weighted(0.2)));
    let mistake = prop_oneof![
        5 => Just(LeaveMistake::None),
        1 => Just(LeaveMistake::Number),
        1 => Just(LeaveMistake::Holder),
        1 => Just(LeaveMistake::Handle),
    ];
    let step = prop_oneof![
        8 => (0..sessions, 0..3u8, recent_partners, waited, replaces).prop_map(
            |(session, queue, recent_partners, waited_ms, replaces)| QueueStep::Enter {
                session, queue, recent_partners, waited_ms, replaces
            }
        ),
        3 => (any::<usize>(), mistake)
            .prop_map(|(which, mistake)| QueueStep::Leave { which, mistake }),
        2 => (0..900u16, 0..2_000_000u32).prop_map(|(ticks, nanos)| QueueStep::Wait { ticks, nanos }),
        1 => (0..3u16, 0..3u32).prop_map(|(ticks, nanos)| QueueStep::Wait { ticks, nanos }),
        2 => Just(QueueStep::PairDue),
    ];
    proptest::collection::vec(step, 1..120)
}

/// Applies each operation to the queue and to the model, and compares the results.
#[derive(Default)]
struct QueueAndModel {
    real: MatchQueue,
    model: QueueModel,
    now: Timestamp,
    numbers: u32,
}

impl QueueAndModel {
    fn enter(
        &mut self,
        ticket: Ticket,
        replaces: Option<(TicketHandle, TicketNo)>,
    ) -> Option<TicketHandle> {
        self.real.prefetch(&[MatcherCommand::Enter { ticket, replaces }]);
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
        self.real.prefetch(&[MatcherCommand::Leave { holder, handle, number }]);
        let left = self.real.leave(holder, handle, number);
        assert_eq!(left, self.model.leave(holder, handle, number));
        left
    }

    fn pair_due(&mut self) {
        let mut pairs = Vec::new();
        self.real.pair_due(self.now, |one, other| pairs.push((one, other)));
        // The order of pairs matters within a queue, but not between queues.
        pairs.sort_by_key(|(one, _)| one.queue.0);
        assert_eq!(pairs, self.model.pair_due(self.now));
        if let Some(next) = self.real.next_deadline() {
            assert!(next > self.now, "the matcher would poll without waiting");
        }
    }

    fn apply(&mut self, step: &QueueStep) {
        match *step {
            QueueStep::Enter { session, queue, ref recent_partners, waited_ms, replaces } => {
                self.numbers += 1;
                let since = self.now - Duration::from_millis(waited_ms.into());
                let (partners, ms) = recent_partners;
                let apart_ms = u32::from(waited_ms) + u32::from(*ms);
                let new = ticket(session, self.numbers, queue.into(), since);
                let new = with_partners(new, partners.iter().copied(), apart_ms);
                let replaces = replaces.filter(|_| !self.model.waiting.is_empty());
                let replaces = replaces.map(|(which, wrong)| {
                    let (old, handle) = self.model.waiting[which % self.model.waiting.len()];
                    (handle, TicketNo(old.number.0 + u32::from(wrong)))
                });
                self.enter(new, replaces);
            }
            QueueStep::Leave { which, mistake } => {
                let Some(&(ticket, handle)) =
                    self.model.waiting.get(which % self.model.waiting.len().max(1))
                else {
                    return;
                };
                let (mut holder, mut number, mut handle) = (ticket.holder, ticket.number, handle);
                match mistake {
                    LeaveMistake::None => {}
                    LeaveMistake::Number => number.0 += 1,
                    LeaveMistake::Holder => holder.key.serial.0 += 1,
                    LeaveMistake::Handle => handle.0 += which as u32 % 3_000 + 1,
                }
                assert_eq!(self.leave(holder, handle, number), mistake == LeaveMistake::None);
            }
            QueueStep::Wait { ticks, nanos } => {
                self.now = self.now + TICK * u32::from(ticks) + Duration::from_nanos(nanos.into());
            }
            QueueStep::PairDue => self.pair_due(),
        }
    }

    fn check(&self) {
        assert_eq!(self.real.waiting(), self.model.waiting.len());
        assert_eq!(self.real.queues(), self.model.queues().len());
        // A pair is made at most one tick late.
        if let Some(meeting) = self.model.next_meeting(self.now) {
            let deadline =
                self.real.next_deadline().expect("because two tickets are going to meet");
            assert!(deadline < meeting + TICK, "{deadline:?} is too late for {meeting:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Sessions have several tickets here. Few sessions make queues long.
    #[test]
    fn makes_the_same_pairs_in_the_same_order_as_the_model(steps in (2..8u64).prop_flat_map(steps)) {
        let mut checked = QueueAndModel { now: millis(10_000), ..QueueAndModel::default() };
        for step in &steps {
            checked.apply(step);
            checked.check();
        }
    }

    #[test]
    fn a_queue_holds_at_most_seven_tickets_with_one_ticket_per_session(steps in steps(12)) {
        let mut checked = QueueAndModel { now: millis(10_000), ..QueueAndModel::default() };
        let mut most = 0;
        for step in &steps {
            if let QueueStep::Enter { session, .. } = *step {
                let earlier = checked.model.waiting.iter().find(|(t, _)| t.session.0 == session);
                if let Some(&(earlier, handle)) = earlier {
                    checked.leave(earlier.holder, handle, earlier.number);
                }
            }
            checked.apply(step);
            for queue in checked.model.queues() {
                most = most.max(checked.model.in_order(queue).len());
            }
        }
        prop_assert!(most <= 7, "{most} tickets in one queue");
    }
}

/// Of seven sessions, each names the next three: every pair is kept apart by one of the two.
#[test]
fn seven_tickets_can_wait_in_one_queue() {
    let mut checked = QueueAndModel::default();
    for session in 0..7 {
        let partners = (1..4).map(|distance| (session + distance) % 7);
        let ticket = with_partners(ticket(session, 1, 5, Timestamp::ZERO), partners, 800);
        assert!(checked.enter(ticket, None).is_some());
    }
    assert_eq!((checked.real.waiting(), checked.real.queues()), (7, 1));
    checked.now = checked.real.next_deadline().unwrap();
    checked.pair_due();
    assert_eq!((checked.real.waiting(), checked.real.queues()), (1, 1));
}

#[test]
fn the_delay_is_counted_from_the_later_of_the_two_tickets() {
    let mut checked = QueueAndModel::default();
    checked.enter(with_partners(ticket(1, 1, 5, Timestamp::ZERO), [2], 800), None);
    checked.now = millis(700);
    checked.enter(with_partners(ticket(2, 1, 5, millis(700)), [], 800), None);
    checked.now = millis(1499);
    checked.pair_due();
    assert_eq!(checked.real.waiting(), 2);
    checked.now = millis(1502);
    checked.pair_due();
    assert_eq!(checked.real.waiting(), 0);
}

#[test]
fn three_tickets_can_wait_in_one_queue() {
    let mut checked = QueueAndModel::default();
    for (session, partner) in [(1, 2), (2, 3), (3, 1)] {
        assert!(
            checked
                .enter(
                    with_partner(ticket(session, 1, 5, Timestamp::ZERO), partner, millis(800)),
                    None
                )
                .is_some()
        );
    }
    assert_eq!((checked.real.waiting(), checked.real.queues()), (3, 1));
    // A fourth ticket meets the first of them.
    assert_eq!(checked.enter(ticket(4, 1, 5, millis(1)), None), None);
    checked.now = checked.real.next_deadline().unwrap();
    checked.pair_due();
    assert_eq!((checked.real.waiting(), checked.real.queues()), (0, 0));
    assert_eq!(checked.real.next_deadline(), None);
}

#[test]
fn recent_partners_meet_each_other_when_the_rematch_delay_has_passed() {
    let mut checked = QueueAndModel::default();
    checked.enter(with_partner(ticket(1, 1, 5, Timestamp::ZERO), 2, millis(800)), None);
    checked.enter(with_partner(ticket(2, 1, 5, Timestamp::ZERO), 1, millis(800)), None);
    assert_eq!(checked.real.waiting(), 2);
    checked.now = millis(800);
    checked.pair_due();
    assert_eq!(checked.real.waiting(), 2, "the tick of their meeting has not ended");
    checked.now = checked.real.next_deadline().unwrap();
    assert!(checked.now < millis(800) + TICK);
    checked.pair_due();
    assert_eq!(checked.real.waiting(), 0);
}

#[test]
fn a_new_ticket_does_not_overtake_waiting_tickets_whose_delay_has_passed() {
    let mut checked = QueueAndModel::default();
    checked.enter(with_partner(ticket(1, 1, 5, Timestamp::ZERO), 2, millis(800)), None);
    checked.enter(with_partner(ticket(2, 1, 5, Timestamp::ZERO), 1, millis(800)), None);
    checked.now = millis(800);
    // `pair_due` has not been called yet, and still 1 meets 2.
    assert!(checked.enter(ticket(3, 1, 5, checked.now), None).is_some());
    assert_eq!(checked.real.waiting(), 1);
}

#[test]
fn a_rematch_delay_ends_exactly_at_its_time() {
    for (now, waits) in [(millis(800) - Duration::from_nanos(1), true), (millis(800), false)] {
        let mut checked = QueueAndModel { now, ..QueueAndModel::default() };
        checked.enter(with_partner(ticket(1, 1, 5, Timestamp::ZERO), 2, millis(800)), None);
        assert_eq!(checked.enter(ticket(2, 1, 5, now), None).is_some(), waits);
    }
}

#[test]
fn pairs_all_tickets_of_a_group_that_are_due_in_one_call() {
    let mut checked = QueueAndModel::default();
    // Three tickets each of 1 and 2, which avoid each other: more than the server ever enters.
    for number in 0..3 {
        for (session, partner) in [(1, 2), (2, 1)] {
            checked.enter(
                with_partner(ticket(session, number, 5, Timestamp::ZERO), partner, millis(800)),
                None,
            );
        }
    }
    assert_eq!((checked.real.waiting(), checked.real.queues()), (6, 1));
    checked.now = checked.real.next_deadline().unwrap();
    checked.pair_due();
    assert_eq!((checked.real.waiting(), checked.real.queues()), (0, 0));
}

#[test]
fn a_ticket_entered_again_keeps_its_position() {
    let mut checked = QueueAndModel { now: millis(100), ..QueueAndModel::default() };
    // 1, 2 and 3 avoid each other. 3 has waited longest, but is entered last.
    checked.enter(with_partner(ticket(1, 1, 5, millis(10)), 2, millis(800)), None);
    checked.enter(with_partner(ticket(2, 1, 5, millis(20)), 3, millis(800)), None);
    checked.enter(with_partner(ticket(3, 1, 5, millis(5)), 1, millis(800)), None);
    let mut first = None;
    checked.real.enter(ticket(4, 1, 5, millis(100)), None, checked.now, |one, _| first = Some(one));
    assert_eq!(first.unwrap().session, SessionNo(3));
}

#[test]
fn a_stale_handle_removes_no_ticket() {
    let mut queue = MatchQueue::new();
    let no_pair = |_, _| panic!("no pair is expected");
    let first = ticket(1, 1, 5, Timestamp::ZERO);
    let handle = queue.enter(first, None, Timestamp::ZERO, no_pair).unwrap();
    assert!(queue.leave(first.holder, handle, first.number));
    assert!(!queue.leave(first.holder, handle, first.number));
    // The slot is reused, by the next ticket of the same session and by one of another session.
    for next in [ticket(1, 2, 5, Timestamp::ZERO), ticket(2, 1, 5, Timestamp::ZERO)] {
        let reused = queue.enter(next, None, Timestamp::ZERO, no_pair).unwrap();
        assert_eq!(reused, handle);
        assert!(!queue.leave(first.holder, handle, first.number));
        assert!(queue.leave(next.holder, handle, next.number));
    }
    assert!(!queue.leave(first.holder, TicketHandle(u32::MAX), first.number));
}

#[test]
fn a_ticket_replaces_the_earlier_one_in_the_same_or_another_queue() {
    let mut queue = MatchQueue::new();
    let no_pair = |_, _| panic!("no pair is expected");
    let mut last = queue.enter(ticket(1, 0, 0, Timestamp::ZERO), None, Timestamp::ZERO, no_pair);
    for number in 1..9 {
        let replaces = last.map(|handle| (handle, TicketNo(number - 1)));
        let ticket = ticket(1, number, (number / 2).into(), Timestamp::ZERO);
        last = queue.enter(ticket, replaces, Timestamp::ZERO, no_pair);
        assert_eq!((queue.waiting(), queue.queues()), (1, 1));
    }
}

/// A queue key as the server makes them: all bits look random.
fn queue_key(number: u64) -> u128 {
    u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32))
}

#[test]
fn frees_its_memory_when_all_tickets_have_left() {
    const QUEUES: u64 = 30_000;
    let mut queue = MatchQueue::new();
    for round in 1..=3 {
        // Two sessions that avoid each other, in every queue.
        let mut all = Vec::new();
        for session in 0..2 * QUEUES {
            let ticket = ticket(session, round, queue_key(session / 2), Timestamp::ZERO);
            let ticket = with_partner(ticket, session ^ 1, millis(800));
            let handle = queue
                .enter(ticket, None, Timestamp::ZERO, |_, _| panic!("they avoid each other"))
                .unwrap();
            all.push((ticket, handle));
        }
        assert_eq!((queue.waiting(), queue.queues()), (all.len(), QUEUES as usize));
        assert!(queue.retained_bytes() > 8 * RETAINED_BYTES);
        // Removes each ticket once, out of order: 48,611 and their number are coprime.
        for at in 0..all.len() as u64 {
            let (ticket, handle) = all[(at * 48_611 % all.len() as u64) as usize];
            assert!(queue.leave(ticket.holder, handle, ticket.number));
        }
        assert_eq!((queue.waiting(), queue.queues(), queue.next_deadline()), (0, 0, None));
        assert!(queue.retained_bytes() <= RETAINED_BYTES, "{} bytes", queue.retained_bytes());
    }
}

#[test]
fn memory_stays_bounded_when_tickets_come_and_go() {
    let mut queue = MatchQueue::new();
    let no_pair = |_, _| panic!("no pair is expected");
    let waiting = with_partner(ticket(1, 1, 5, Timestamp::ZERO), 2, millis(800));
    queue.enter(waiting, None, Timestamp::ZERO, no_pair);
    for number in 0..100_000 {
        let other = ticket(2, number, 5, Timestamp::ZERO);
        let handle = queue.enter(other, None, Timestamp::ZERO, no_pair).unwrap();
        assert!(queue.leave(other.holder, handle, other.number));
    }
    assert_eq!(queue.waiting(), 1);
    assert!(queue.retained_bytes() <= RETAINED_BYTES);
}
