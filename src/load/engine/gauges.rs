//! How many connections and users there are, by what they do. Pure.

use crate::load::user::UserActivity;

/// Numbers of connections and users at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadGauges {
    /// Connections that are not sessions yet.
    pub connecting: u64,
    /// Sessions.
    pub users: u64,
    /// Sessions that wait for a match.
    pub waiting: u64,
    /// Highest number of waiting sessions in the interval. With several threads it is an upper
    /// bound: the sum of the threads' peaks, which need not coincide.
    pub waiting_peak: u64,
    /// Sessions that are in a room.
    pub in_rooms: u64,
    /// Open HTTP connections.
    pub http_connections: u64,
}

impl LoadGauges {
    /// Adds the gauges of another thread.
    pub fn add(&mut self, other: &LoadGauges) {
        self.connecting += other.connecting;
        self.users += other.users;
        self.waiting += other.waiting;
        self.waiting_peak += other.waiting_peak;
        self.in_rooms += other.in_rooms;
        self.http_connections += other.http_connections;
    }

    /// Counts one more user with this activity.
    pub(super) fn increment(&mut self, activity: Option<UserActivity>) {
        self.adjust(activity, 1);
    }

    /// Counts one user less with this activity.
    pub(super) fn decrement(&mut self, activity: Option<UserActivity>) {
        self.adjust(activity, u64::MAX);
    }

    /// Adds `change` to the gauges of this activity; `u64::MAX` subtracts one.
    fn adjust(&mut self, activity: Option<UserActivity>, change: u64) {
        let adjust = |gauge: &mut u64| *gauge = gauge.wrapping_add(change);
        match activity {
            None | Some(UserActivity::Connecting) => adjust(&mut self.connecting),
            Some(UserActivity::Idle | UserActivity::Closing) => adjust(&mut self.users),
            Some(UserActivity::Waiting) => {
                adjust(&mut self.users);
                adjust(&mut self.waiting);
                // Most users wait for less than an interval, so that the end of an interval alone
                // would show none.
                self.waiting_peak = self.waiting_peak.max(self.waiting);
            }
            Some(UserActivity::Vanished) => {}
            Some(UserActivity::InRoom) => {
                adjust(&mut self.users);
                adjust(&mut self.in_rooms);
            }
        }
    }

    /// Returns the gauges of the interval that has ended and starts the next one.
    pub(super) fn end_interval(&mut self) -> LoadGauges {
        let ended = *self;
        self.waiting_peak = self.waiting;
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waiting_peak_covers_users_that_waited_within_an_interval() {
        let mut gauges = LoadGauges::default();
        let waiting = Some(UserActivity::Waiting);
        (0..3).for_each(|_| gauges.increment(waiting));
        (0..2).for_each(|_| gauges.decrement(waiting));
        let first = gauges.end_interval();
        assert_eq!((first.waiting, first.waiting_peak), (1, 3));
        gauges.decrement(waiting);
        let second = gauges.end_interval();
        assert_eq!((second.waiting, second.waiting_peak), (0, 1), "one waited into the interval");
        let mut both = first;
        both.add(&second);
        assert_eq!(both.waiting_peak, 4);
    }
}
