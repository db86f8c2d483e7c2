//! Records for what only some connections have, so that it costs the others nothing. Pure.

use crate::timestamp::Timestamp;
use slab::Slab;
use std::net::IpAddr;
use std::num::NonZeroU32;

/// The index of a record in the [`SideTable`], plus one, so that an `Option` of it takes no more
/// than the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SideKey(NonZeroU32);

impl SideKey {
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// What only some connections have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SideRecord {
    /// The address for which the connection is counted, if addresses are counted.
    pub(super) counted_address: Option<IpAddr>,
    /// What is logged when the session ends, if the ends of sessions are logged.
    pub(super) log: Option<Box<LogRecord>>,
}

/// What the log line about the end of a session needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogRecord {
    /// When the session began; `None` while there is none.
    pub(super) began: Option<Timestamp>,
    /// The address of the client, if addresses are logged and a proxy or the peer has named it.
    pub(super) client: Option<IpAddr>,
}

impl SideRecord {
    fn is_empty(&self) -> bool {
        *self == SideRecord::default()
    }
}

/// The records of a shard. A record without content does not exist.
#[derive(Debug, Default)]
pub(super) struct SideTable {
    records: Slab<SideRecord>,
}

impl SideTable {
    /// Stores a record, if there is something in it.
    pub(super) fn insert(&mut self, record: SideRecord) -> Option<SideKey> {
        if record.is_empty() {
            return None;
        }
        let index = self.records.insert(record) as u32 + 1;
        NonZeroU32::new(index).map(SideKey)
    }

    /// Takes a record out. Without a key the record is empty.
    pub(super) fn remove(&mut self, key: Option<SideKey>) -> SideRecord {
        key.and_then(|key| self.records.try_remove(key.index())).unwrap_or_default()
    }

    /// The record of this key, if there is one.
    pub(super) fn get(&self, key: SideKey) -> Option<&SideRecord> {
        self.records.get(key.index())
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_only_records_with_content_and_gives_each_back_once() {
        let mut table = SideTable::default();
        assert_eq!(table.insert(SideRecord::default()), None);
        let counted_address = Some(IpAddr::from([10, 0, 0, 1]));
        let record = SideRecord { counted_address, ..SideRecord::default() };
        let key = table.insert(record.clone());
        assert_eq!((key.and_then(|key| table.get(key)), table.len()), (Some(&record), 1));
        assert_eq!(table.remove(key), record);
        assert_eq!(table.remove(key), SideRecord::default());
        assert_eq!((table.remove(None), table.len()), (SideRecord::default(), 0));
    }

    #[test]
    fn costs_four_bytes_in_an_entry() {
        assert_eq!(size_of::<Option<SideKey>>(), 4);
    }
}
