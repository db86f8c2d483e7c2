//! When things should start, fixed before the run begins; and whether the server is silent. Pure.

use crate::load::units::RatePhase;
use crate::timestamp::Timestamp;
use std::time::Duration;

/// The intended moments of everything that comes at a rate, one after the other. With several
/// threads each takes its own share, and all together are the whole.
#[derive(Clone, Debug)]
pub(super) struct RateSchedule {
    phases: Vec<RatePhase>,
    begins: Timestamp,
    next: u64,
    step: u64,
}

impl RateSchedule {
    /// The share number `share` of `shares` of `phases`, one after the other from the start.
    pub(super) fn new(phases: Vec<RatePhase>, share: u64, shares: u64) -> Self {
        RateSchedule { phases, begins: Timestamp::ZERO, next: share, step: shares }
    }

    /// When the next one should start; `None` after the last.
    pub(super) fn peek(&mut self) -> Option<Timestamp> {
        while let Some(phase) = self.phases.first() {
            if self.next < phase.count() {
                let after = Duration::from_secs_f64(self.next as f64 / phase.per_second);
                return Some(self.begins + after);
            }
            self.next -= phase.count();
            self.begins = self.begins + phase.lasting;
            self.phases.remove(0);
        }
        None
    }

    /// The next one has been started.
    pub(super) fn advance(&mut self) {
        self.next += self.step;
    }
}

/// Notices when the server answers nothing at all though it was asked things. Of a time in
/// which its own thread was not looking little counts: then the whole machine may have slept.
#[derive(Clone, Copy, Debug)]
pub(super) struct StallDetector {
    patience: Duration,
    unanswered: u32,
    since: Timestamp,
    silent: Duration,
    looked: Timestamp,
    told: bool,
}

impl StallDetector {
    /// So many requests must be unanswered: a single lost message is no stall.
    const ENOUGH: u32 = 8;
    /// Of the time between two looks at most this share of the patience counts.
    const BLIND_SHARE: u32 = 4;

    /// A silence of `patience` is a stall.
    pub(super) fn new(patience: Duration) -> Self {
        let zero = Timestamp::ZERO;
        let silent = Duration::ZERO;
        StallDetector { patience, unanswered: 0, since: zero, silent, looked: zero, told: false }
    }

    /// Something was sent that the server has to react to.
    pub(super) fn asked(&mut self, now: Timestamp) {
        if self.unanswered == 0 {
            (self.since, self.silent) = (now, Duration::ZERO);
        }
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// Something came from the server.
    pub(super) fn heard(&mut self) {
        self.unanswered = 0;
        self.told = false;
    }

    /// Looks at the clock, after everything that had come was read. Gives the moment since
    /// which the server has been silent, once for each stall.
    pub(super) fn look(&mut self, now: Timestamp) -> Option<Timestamp> {
        let unseen = now.since(self.looked.max(self.since));
        self.silent += unseen.min(self.patience / Self::BLIND_SHARE);
        self.looked = now;
        let stalled = self.unanswered >= Self::ENOUGH && self.silent >= self.patience;
        (stalled && !std::mem::replace(&mut self.told, true)).then_some(self.since)
    }
}

/// Knows when its thread was not looking: stopped, or without a CPU. What the server sent then
/// waits in the sockets, so that the clock alone would convict it of silence. For a while
/// afterwards everything is read and answered as it comes, and nothing that the clock decides is
/// done.
#[derive(Clone, Copy, Debug)]
pub(super) struct PauseDetector {
    looked: Timestamp,
    catching_up_until: Timestamp,
}

impl PauseDetector {
    /// No turn is this long, unless something is wrong.
    const LONGEST_TURN: Duration = Duration::from_millis(500);
    /// Catching up takes this share of the time in which nothing was read,
    const CATCH_UP_SHARE: u32 = 4;
    /// but no longer than this: by then tens of thousands of sockets have been read.
    const LONGEST_CATCH_UP: Duration = Duration::from_secs(2);

    /// It looks for the first time when the run begins.
    pub(super) fn new() -> Self {
        PauseDetector { looked: Timestamp::ZERO, catching_up_until: Timestamp::ZERO }
    }

    /// Everything that was there has been read, or as much of it as fits into a turn.
    pub(super) fn looked(&mut self, now: Timestamp) {
        self.is_catching_up(now);
        self.looked = now;
    }

    /// Whether what came while nobody looked may still be unread.
    pub(super) fn is_catching_up(&mut self, now: Timestamp) -> bool {
        let blind = now.since(self.looked);
        if blind > Self::LONGEST_TURN {
            let needs = (blind / Self::CATCH_UP_SHARE).min(Self::LONGEST_CATCH_UP);
            self.catching_up_until = self.catching_up_until.max(now + needs);
        }
        now < self.catching_up_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(phases: &[RatePhase], share: u64, shares: u64) -> Vec<u64> {
        let mut schedule = RateSchedule::new(phases.to_vec(), share, shares);
        let mut moments = Vec::new();
        while let Some(at) = schedule.peek() {
            moments.push(at.as_nanos() / 1_000_000);
            schedule.advance();
        }
        moments
    }

    const PHASES: [RatePhase; 2] = [
        RatePhase { per_second: 10.0, lasting: Duration::from_millis(300) },
        RatePhase { per_second: 100.0, lasting: Duration::from_millis(40) },
    ];

    #[test]
    fn phases_follow_each_other_without_a_gap() {
        assert_eq!(all(&PHASES, 0, 1), [0, 100, 200, 300, 310, 320, 330]);
    }

    #[test]
    fn shares_together_are_the_whole() {
        let mut joined: Vec<u64> = (0..3).flat_map(|share| all(&PHASES, share, 3)).collect();
        joined.sort_unstable();
        assert_eq!(joined, all(&PHASES, 0, 1));
    }

    #[test]
    fn a_silent_server_is_noticed_once_and_a_sleepy_watch_is_not_fooled() {
        let ms = |ms: u64| Timestamp::from_nanos(ms * 1_000_000);
        let watch = || StallDetector::new(Duration::from_secs(1));
        let mut busy = watch();
        let mut stalls = Vec::new();
        for now in 0..3000 {
            busy.asked(ms(now));
            stalls.extend(busy.look(ms(now)));
        }
        assert_eq!(stalls, [ms(0)]);
        busy.heard();
        assert_eq!(busy.look(ms(3000)), None);
        let mut asleep = watch();
        (0..100).for_each(|_| asleep.asked(ms(0)));
        assert_eq!(asleep.look(ms(5000)), None, "it was its own thread that was slow");
        let mut dozing = watch();
        (0..100).for_each(|_| dozing.asked(ms(0)));
        let looks = [400, 800, 1200, 1600, 2000].map(|now| dozing.look(ms(now)).is_some());
        assert_eq!(looks, [false, false, false, true, false], "it looked four times, in vain");
        let mut quiet = watch();
        quiet.asked(ms(0));
        assert!((0..3000).all(|now| quiet.look(ms(now)).is_none()), "one message may be lost");
    }

    #[test]
    fn after_a_pause_of_its_own_a_thread_first_reads_what_has_come() {
        let ms = |ms: u64| Timestamp::from_nanos(ms * 1_000_000);
        let mut watch = PauseDetector::new();
        for now in (0..2000).step_by(100) {
            assert!(!watch.is_catching_up(ms(now)), "no turn was long");
            watch.looked(ms(now));
        }
        // It is stopped between two looks, for 2.1 s, and notices before it judges anything.
        assert!(watch.is_catching_up(ms(4000)));
        watch.looked(ms(4001));
        assert!(watch.is_catching_up(ms(4500)), "so much is not read at once");
        watch.looked(ms(4500));
        assert!(!watch.is_catching_up(ms(4600)));
        // Or it is stopped while it looks.
        watch.looked(ms(6600));
        assert!(watch.is_catching_up(ms(6600)));
        // However long that was, it does not stand aside for ever.
        watch.looked(ms(600_000));
        (600_000..601_900).step_by(100).for_each(|now| watch.looked(ms(now)));
        assert!(watch.is_catching_up(ms(601_900)));
        watch.looked(ms(602_000));
        assert!(!watch.is_catching_up(ms(602_001)));
    }
}
