//! How a run ends: who is told when, and how long the last of them are waited for.

use super::Crew;
use crate::load::engine::link::Stage;
use crate::load::engine::web::Web;
use crate::moment::Moment;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After the end of the run, everybody has this many message timeouts to come to an end.
const TIMEOUTS_TO_FINISH: u32 = 3;
/// Holding users that are told of the end in a second, by all threads together. Each then pings once
/// more and closes, which takes a shared CPU some 50 µs.
const FINISHES_PER_SECOND: u32 = 5_000;
/// Whoever is told later than this is told at that pace all the same.
const TELLS_LATE: Duration = Duration::from_millis(500);

impl Crew {
    /// Ends the run when it is time, or when it is told to.
    pub(super) fn begin_or_finish(&mut self, now: Moment) {
        if self.finishing {
            return;
        }
        if self.shared.stop.load(Ordering::Relaxed) {
            self.load.ends = self.load.ends.min(now);
        }
        if now >= self.load.ends {
            self.finishing = true;
            for slot in self.slots() {
                match self.links[slot].stage {
                    // Holding users show that they are alive, in an order and at a pace that does
                    // not measure how fast the server answers all of them at once.
                    Stage::Open if self.links[slot].user.is_holding(&self.load.rules) => {
                        self.untold.push(slot);
                    }
                    Stage::Open => self.with_user(slot, now, |user, turn| user.finish(turn)),
                    // What was under way when the run ended is neither success nor failure.
                    Stage::Upgrading(_) => self.let_go(slot),
                }
            }
            self.told_at = now;
            self.reap();
        }
    }

    /// Tells the next of those who hold that the run is over.
    pub(super) fn tell_the_end(&mut self, now: Moment) {
        if self.untold.is_empty() {
            return;
        }
        let pace = Duration::from_secs(1) * self.load.threads.max(1).into() / FINISHES_PER_SECOND;
        // After a pause they are not all told at once: each has its time to come to an end.
        self.told_at = self.told_at.max(now - TELLS_LATE);
        while self.told_at <= now
            && let Some(slot) = self.untold.pop()
        {
            self.told_at = self.told_at + pace;
            // Nobody arrives any more, so whoever is in the slot was there before.
            if self.links.contains(slot) {
                self.with_user(slot, now, |user, turn| user.finish(turn));
            }
        }
        self.reap();
    }

    pub(super) fn slots(&self) -> Vec<usize> {
        self.links.iter().map(|(slot, _)| slot).collect()
    }

    pub(super) fn is_over(&self, now: Moment) -> bool {
        let patience = self.load.rules.message_timeout * TIMEOUTS_TO_FINISH;
        let web_is_over = self.web.as_ref().is_none_or(Web::is_idle);
        self.links.is_empty() && web_is_over
            || self.untold.is_empty() && now >= self.told_at + patience
    }
}
