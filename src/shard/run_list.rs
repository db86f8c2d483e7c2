//! Connections that are to be read without an event. Pure.

use crate::ids::ConnectionKey;
use std::collections::{HashSet, VecDeque};

/// A queue in which each connection is at most once. A connection that has ended may still be in
/// it: no other connection has its key.
#[derive(Debug, Default)]
pub(super) struct RunList {
    order: VecDeque<ConnectionKey>,
    listed: HashSet<ConnectionKey>,
}

impl RunList {
    /// Adds a connection at the end, unless it is in the list.
    pub(super) fn push(&mut self, key: ConnectionKey) {
        if self.listed.insert(key) {
            self.order.push_back(key);
        }
    }

    /// Takes the first connection.
    pub(super) fn pop(&mut self) -> Option<ConnectionKey> {
        let key = self.order.pop_front()?;
        self.listed.remove(&key);
        Some(key)
    }

    /// Takes this connection out. Whether it was in the list.
    pub(super) fn remove(&mut self, key: ConnectionKey) -> bool {
        let was_listed = self.listed.remove(&key);
        if was_listed {
            self.order.retain(|listed| *listed != key);
        }
        was_listed
    }

    /// Whether this connection is in the list.
    #[inline]
    pub(super) fn contains(&self, key: ConnectionKey) -> bool {
        !self.order.is_empty() && self.listed.contains(&key)
    }

    /// How many connections are in the list.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether the list is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Serial, Slot};

    #[test]
    fn gives_each_connection_once_and_in_order() {
        let key = |n| ConnectionKey { slot: Slot(n), serial: Serial(7) };
        let mut list = RunList::default();
        for n in [1, 2, 1, 3, 2] {
            list.push(key(n));
        }
        assert!(list.contains(key(2)) && !list.contains(key(4)));
        assert!(list.remove(key(2)) && !list.remove(key(2)));
        assert_eq!((list.pop(), list.len()), (Some(key(1)), 1));
        list.push(key(1));
        assert_eq!([list.pop(), list.pop(), list.pop()], [Some(key(3)), Some(key(1)), None]);
        assert!(list.is_empty());
    }
}
