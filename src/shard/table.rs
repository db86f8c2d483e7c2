//! The connections of a shard. Pure.
//!
//! The table owns the entries and their slots, the serials that tell an entry from earlier ones
//! in its slot, the side records, and the list of entries that are to be closed. It makes no
//! decision about a connection.

use super::entry::{Connection, Role, TableEntry};
use super::side_table::{LogRecord, SideRecord, SideTable};
use crate::ids::{ConnectionKey, Serial, Slot};
use crate::session::Session;
use crate::telemetry::labels::EndReason;
use slab::Slab;
use std::net::IpAddr;
use std::ops::{Index, IndexMut};

/// The connections of a shard.
#[derive(Debug)]
pub(super) struct ConnectionTable<S> {
    entries: Slab<TableEntry<S>>,
    /// One above the highest slot that has been used since the slots were last trimmed.
    slots_used: usize,
    next_serial: u32,
    side: SideTable,
    /// Entries for connections to `--admin-listen`.
    admin_connections: usize,
    /// How many other connections it is meant for; `usize::MAX` where all shards have one
    /// descriptor table.
    most_connections: usize,
    /// Entries that are to be closed when the connection that is being handled has been.
    marked_for_close: Vec<(ConnectionKey, EndReason)>,
}

/// What an entry without connection consisted of when it was removed.
#[derive(Debug)]
pub(super) struct RemovedEntry {
    pub(super) role: Role,
    pub(super) side: SideRecord,
}

/// A session that was removed with its connection.
#[derive(Debug)]
pub(super) struct RemovedSession<S> {
    pub(super) session: Session,
    pub(super) connection: Connection<S>,
    pub(super) side: SideRecord,
}

/// Whether a session has a connection on which its client can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attachment {
    /// The session is attached to a connection.
    Attached,
    /// The session has no connection, or one that is marked for close: nothing can be sent, and
    /// the session must not be matched.
    Detached,
}

impl<S> ConnectionTable<S> {
    /// An empty table. Address space for `slots` entries is reserved, so that entries are never
    /// moved; only those that exist use memory.
    pub(super) fn new(slots: usize) -> Self {
        ConnectionTable {
            entries: Slab::with_capacity(slots),
            slots_used: 0,
            next_serial: 0,
            side: SideTable::default(),
            admin_connections: 0,
            most_connections: usize::MAX,
            marked_for_close: Vec::new(),
        }
    }

    /// Limits the connections that are not to `--admin-listen`.
    pub(super) fn limit(&mut self, most_connections: usize) {
        self.most_connections = most_connections;
    }

    /// That limit.
    pub(super) fn most_connections(&self) -> usize {
        self.most_connections
    }

    /// The key that the next entry will have.
    pub(super) fn next_key(&self) -> ConnectionKey {
        let slot = Slot(self.entries.vacant_key() as u32);
        ConnectionKey { slot, serial: Serial(self.next_serial) }
    }

    /// Adds an entry.
    pub(super) fn insert(
        &mut self,
        connection: Connection<S>,
        role: Role,
        side: SideRecord,
    ) -> ConnectionKey {
        let serial = Serial(self.next_serial);
        self.next_serial = self.next_serial.wrapping_add(1);
        self.admin_connections += usize::from(role.is_admin());
        let side = self.side.insert(side);
        let connection = Some(connection);
        let slot = self.entries.insert(TableEntry { serial, side, connection, role });
        self.slots_used = self.slots_used.max(slot + 1);
        ConnectionKey { slot: Slot(slot as u32), serial }
    }

    /// Takes out an entry whose connection has been taken out. The slot has to be occupied.
    pub(super) fn remove(&mut self, slot: Slot) -> RemovedEntry {
        let TableEntry { side, connection, role, .. } = self.entries.remove(slot.index());
        debug_assert!(connection.is_none(), "the socket would never be closed");
        self.admin_connections -= usize::from(role.is_admin());
        RemovedEntry { role, side: self.side.remove(side) }
    }

    /// Takes out the entry of a session that is attached to a connection. If there is no such
    /// session, nothing is changed.
    pub(super) fn remove_session(&mut self, key: ConnectionKey) -> Option<RemovedSession<S>> {
        let entry = self.find_mut(key)?;
        entry.role.session()?;
        let connection = entry.connection.take()?;
        let session = entry.role.take_session()?;
        let RemovedEntry { side, .. } = self.remove(key.slot);
        Some(RemovedSession { session, connection, side })
    }

    /// Whether this connection is in the table. A key of an earlier connection in the same slot
    /// is not.
    #[inline]
    pub(super) fn contains(&self, key: ConnectionKey) -> bool {
        self.get(key.slot).is_some_and(|entry| entry.belongs_to(key))
    }

    /// The entry in this slot, if it is occupied.
    #[inline]
    pub(super) fn get(&self, slot: Slot) -> Option<&TableEntry<S>> {
        self.entries.get(slot.index())
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut TableEntry<S>> {
        self.entries.get_mut(slot.index())
    }

    /// The entry of this connection, to be changed, if it is in the table.
    #[inline]
    pub(super) fn find_mut(&mut self, key: ConnectionKey) -> Option<&mut TableEntry<S>> {
        self.get_mut(key.slot).filter(|entry| entry.belongs_to(key))
    }

    /// The connection in this slot, if there is one.
    #[inline]
    pub(super) fn connection(&self, slot: Slot) -> Option<&Connection<S>> {
        self.get(slot)?.connection.as_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn connection_mut(&mut self, slot: Slot) -> Option<&mut Connection<S>> {
        self.get_mut(slot)?.connection.as_mut()
    }

    /// The session in this slot, if there is one.
    #[inline]
    pub(super) fn session(&self, slot: Slot) -> Option<&Session> {
        self.get(slot)?.role.session()
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn session_mut(&mut self, slot: Slot) -> Option<&mut Session> {
        self.get_mut(slot)?.role.session_mut()
    }

    /// Whether the client of this session can be reached. `None` if there is no such session.
    pub(super) fn attachment(&self, key: ConnectionKey) -> Option<Attachment> {
        if !self.contains(key) {
            return None;
        }
        self.session(key.slot)?;
        let is_attached =
            self.connection(key.slot).is_some() && !self.is_marked_for_close(key.slot);
        Some(if is_attached { Attachment::Attached } else { Attachment::Detached })
    }

    /// The key of the entry in this slot, if it is occupied.
    pub(super) fn key_at(&self, slot: Slot) -> Option<ConnectionKey> {
        self.get(slot).map(|entry| ConnectionKey { slot, serial: entry.serial })
    }

    /// All entries.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionKey, &TableEntry<S>)> {
        self.entries.iter().map(|(slot, entry)| {
            (ConnectionKey { slot: Slot(slot as u32), serial: entry.serial }, entry)
        })
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many of the entries are connections to `--admin-listen`.
    pub(super) fn admin_connections(&self) -> usize {
        self.admin_connections
    }

    /// The slots that may be occupied.
    pub(super) fn slots(&self) -> std::ops::Range<usize> {
        0..self.slots_used
    }

    /// Drops vacant slots at the end, so that sweeps do not visit them after many connections have
    /// closed.
    pub(super) fn trim_slots(&mut self) {
        while self.slots_used > 0 && !self.entries.contains(self.slots_used - 1) {
            self.slots_used -= 1;
        }
    }

    /// Stores the address that the connection in this slot is counted for.
    pub(super) fn set_counted_address(&mut self, slot: Slot, address: Option<IpAddr>) {
        let Some(entry) = self.entries.get_mut(slot.index()) else { return };
        let mut record = self.side.remove(entry.side.take());
        record.counted_address = address;
        entry.side = self.side.insert(record);
    }

    /// The address for which the connection in this slot is counted.
    pub(super) fn counted_address(&self, slot: Slot) -> Option<IpAddr> {
        self.side.get(self.get(slot)?.side?)?.counted_address
    }

    /// Removes and returns the address for which the connection in this slot is counted.
    pub(super) fn take_counted_address(&mut self, slot: Slot) -> Option<IpAddr> {
        let address = self.counted_address(slot)?;
        self.set_counted_address(slot, None);
        Some(address)
    }

    /// What is logged when the session of this slot ends, if that is stored.
    pub(super) fn log_record(&self, slot: Slot) -> Option<LogRecord> {
        let record = self.side.get(self.get(slot)?.side?)?;
        record.log.as_deref().copied()
    }

    /// Stores what is logged when the session of this slot ends.
    pub(super) fn set_log_record(&mut self, slot: Slot, log: LogRecord) {
        let Some(entry) = self.entries.get_mut(slot.index()) else { return };
        let record = SideRecord { log: Some(Box::new(log)), ..self.side.remove(entry.side.take()) };
        entry.side = self.side.insert(record);
    }

    /// Marks a connection to be closed as soon as the one that is being handled has been.
    pub(super) fn mark_for_close(&mut self, key: ConnectionKey, reason: EndReason) {
        self.marked_for_close.push((key, reason));
    }

    /// The same for the connection in this slot.
    pub(super) fn mark_slot_for_close(&mut self, slot: Slot, reason: EndReason) {
        if let Some(key) = self.key_at(slot) {
            self.mark_for_close(key, reason);
        }
    }

    /// Whether the connection in this slot is marked.
    #[inline]
    pub(super) fn is_marked_for_close(&self, slot: Slot) -> bool {
        !self.marked_for_close.is_empty()
            && self.marked_for_close.iter().any(|(key, _)| key.slot == slot)
    }

    /// Takes the connection that was marked last, and why, if it is still in the table.
    pub(super) fn next_marked(&mut self) -> Option<(ConnectionKey, EndReason)> {
        loop {
            let marked = self.marked_for_close.pop()?;
            if self.contains(marked.0) {
                return Some(marked);
            }
        }
    }

    /// Checks what must hold between two calls of the core's entry points.
    ///
    /// # Errors
    /// Describes what does not hold.
    pub(super) fn audit(&self) -> Result<(), String> {
        if !self.marked_for_close.is_empty() {
            return Err(format!("still marked for close: {:?}", self.marked_for_close));
        }
        let keys = self.entries.iter().filter_map(|(_, entry)| entry.side);
        let dangling = keys.clone().filter(|key| self.side.get(*key).is_none()).count();
        if dangling > 0 || keys.count() != self.side.len() {
            return Err(format!("{dangling} side records are missing, {} exist", self.side.len()));
        }
        let admin = self.entries.iter().filter(|(_, entry)| entry.role.is_admin()).count();
        if admin != self.admin_connections {
            return Err(format!("{admin} administration connections, not as counted"));
        }
        Ok(())
    }
}

impl<S> Index<Slot> for ConnectionTable<S> {
    type Output = TableEntry<S>;

    #[inline]
    fn index(&self, slot: Slot) -> &TableEntry<S> {
        &self.entries[slot.index()]
    }
}

impl<S> IndexMut<Slot> for ConnectionTable<S> {
    #[inline]
    fn index_mut(&mut self, slot: Slot) -> &mut TableEntry<S> {
        &mut self.entries[slot.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionNo;

    fn insert(table: &mut ConnectionTable<u32>, role: Role) -> ConnectionKey {
        table.insert(Connection::new(0, 0), role, SideRecord::default())
    }

    /// Takes an entry out with its connection.
    fn remove(table: &mut ConnectionTable<u32>, slot: Slot) -> RemovedEntry {
        table[slot].connection = None;
        table.remove(slot)
    }

    #[test]
    fn distinguishes_a_connection_from_an_earlier_one_in_its_slot() {
        let mut table = ConnectionTable::new(4);
        let first = insert(&mut table, Role::Echo);
        remove(&mut table, first.slot);
        let second = insert(&mut table, Role::Echo);
        assert_eq!(first.slot, second.slot);
        assert!(!table.contains(first) && table.contains(second));
        assert_eq!(table.key_at(second.slot), Some(second));
    }

    #[test]
    fn skips_a_marked_connection_that_was_removed_meanwhile() {
        let mut table = ConnectionTable::new(4);
        let [first, second] = [(); 2].map(|()| insert(&mut table, Role::Echo));
        table.mark_for_close(first, EndReason::ClientGone);
        table.mark_for_close(second, EndReason::Silent);
        assert!(table.is_marked_for_close(first.slot) && table.audit().is_err());
        remove(&mut table, second.slot);
        assert_eq!(table.next_marked(), Some((first, EndReason::ClientGone)));
        assert_eq!(table.next_marked(), None);
    }

    #[test]
    fn counts_a_session_as_detached_once_its_connection_is_marked_for_close() {
        let mut table = ConnectionTable::new(4);
        let echo = insert(&mut table, Role::Echo);
        let user = insert(&mut table, Role::Session(Session::new(SessionNo(1))));
        assert_eq!(table.attachment(echo), None);
        assert_eq!(table.attachment(user), Some(Attachment::Attached));
        table.mark_for_close(user, EndReason::ClientGone);
        assert_eq!(table.attachment(user), Some(Attachment::Detached));
        remove(&mut table, user.slot);
        assert_eq!(table.attachment(user), None);
    }

    #[test]
    fn a_detached_session_keeps_its_slot_serial_and_side_record() {
        let mut table = ConnectionTable::new(4);
        let user = insert(&mut table, Role::Session(Session::new(SessionNo(1))));
        let address = Some(IpAddr::from([10, 0, 0, 1]));
        table.set_counted_address(user.slot, address);
        assert!(table[user.slot].connection.take().is_some());
        assert_eq!(table.attachment(user), Some(Attachment::Detached));
        assert!(table.contains(user) && table.connection_mut(user.slot).is_none());
        assert!(table.remove_session(user).is_none(), "it has no connection to take along");
        assert_eq!(table.session(user.slot).map(Session::number), Some(SessionNo(1)));
        assert_ne!(insert(&mut table, Role::Echo).slot, user.slot);
        assert_eq!(table.remove(user.slot).side.counted_address, address);
    }

    #[test]
    fn removes_a_session_with_its_connection_and_leaves_other_entries() {
        let mut table = ConnectionTable::new(4);
        let echo = insert(&mut table, Role::Echo);
        let user = insert(&mut table, Role::Session(Session::new(SessionNo(1))));
        assert!(table.remove_session(echo).is_none() && table.connection(echo.slot).is_some());
        let removed = table.remove_session(user).unwrap();
        assert_eq!((removed.session.number(), table.len()), (SessionNo(1), 1));
        assert!(table.remove_session(user).is_none());
    }

    #[test]
    fn keeps_a_counted_address_until_it_is_taken_or_its_entry_removed() {
        let mut table = ConnectionTable::new(4);
        let [first, second] = [(); 2].map(|()| insert(&mut table, Role::Echo));
        let address = |last| Some(IpAddr::from([10, 0, 0, last]));
        table.set_counted_address(first.slot, address(1));
        table.set_counted_address(second.slot, address(2));
        table.set_counted_address(first.slot, address(3));
        assert_eq!(table.take_counted_address(first.slot), address(3));
        assert_eq!(table.take_counted_address(first.slot), None);
        table.audit().unwrap();
        assert_eq!(remove(&mut table, second.slot).side.counted_address, address(2));
        table.audit().unwrap();
    }

    #[test]
    fn drops_vacant_slots_at_the_end_only() {
        let mut table = ConnectionTable::new(4);
        let keys = [(); 3].map(|()| insert(&mut table, Role::Echo));
        remove(&mut table, keys[0].slot);
        remove(&mut table, keys[2].slot);
        table.trim_slots();
        assert_eq!(table.slots(), 0..2);
    }
}
