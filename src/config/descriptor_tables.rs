//! How many connections the descriptors there are can carry, and whether each shard needs a
//! table of its own for that. Pure.

use crate::limits;
use crate::sys::descriptor_tables::PrivateTableSupport;
use clap::ValueEnum;

/// What `--fd-tables` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FdTables {
    /// `private` if `--max-connections` does not fit one table and the machine can do it, else
    /// `shared`.
    Auto,
    /// One table for all threads.
    Shared,
    /// One table for each shard.
    Private,
}

/// The descriptor tables of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptorTables {
    /// One for all threads.
    Shared,
    /// One for each shard, and one for the other threads.
    Private {
        /// Connections that each shard's table is meant to hold.
        connections_each: u32,
    },
}

impl DescriptorTables {
    /// How many there are, with so many shards.
    pub fn count(self, shards: usize) -> u64 {
        match self {
            DescriptorTables::Shared => 1,
            DescriptorTables::Private { .. } => shards as u64 + 1,
        }
    }

    /// Connections that one shard may come to hold, of so many in all.
    pub fn max_of_shard(self, max_connections: u32) -> u32 {
        match self {
            DescriptorTables::Shared => max_connections,
            DescriptorTables::Private { connections_each } => connections_each.min(max_connections),
        }
    }
}

/// Descriptors that the process needs for itself in one table for all threads, whoever connects:
/// streams, signals, matcher and `/proc` once, and for each shard its poll, waker, reserve and
/// listeners.
pub fn descriptors_of_server(shards: usize, addresses: usize) -> u64 {
    let per_shard = limits::DESCRIPTORS_PER_SHARD + addresses as u64;
    limits::DESCRIPTORS_PER_PROCESS + shards as u64 * per_shard
}

/// The same in the table that a shard has for itself: copies of what the process had when the
/// table was made, handles on all other shards' tables, and its own listeners.
pub fn descriptors_of_table(shards: usize, addresses: usize) -> u64 {
    limits::DESCRIPTORS_PER_PROCESS
        + limits::DESCRIPTORS_PER_SHARD
        + shards as u64 * limits::DESCRIPTORS_PER_PEER
        + addresses as u64
}

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorBudget {
    /// Descriptors that a table may hold.
    pub allowed: u64,
    /// Shards.
    pub shards: usize,
    /// Addresses that each of them listens on.
    pub addresses: usize,
    /// Addresses of `--admin-listen`.
    pub admin_addresses: usize,
    /// Whether shards can have tables of their own.
    pub support: PrivateTableSupport,
}

impl DescriptorBudget {
    /// Connections that one table for all threads holds.
    pub fn shared(&self) -> u64 {
        self.allowed.saturating_sub(self.own(DescriptorTables::Shared))
    }

    /// Connections that a shard's own table holds.
    pub fn each(&self) -> u64 {
        self.allowed.saturating_sub(self.own(DescriptorTables::Private { connections_each: 0 }))
    }

    /// Connections that all shards' own tables hold.
    pub fn private(&self) -> u64 {
        self.each() * self.shards as u64
    }

    /// The tables for `wanted` connections; without a match_request, for as many as the flag allows.
    ///
    /// # Errors
    /// The call that is missing where `private` is demanded.
    pub fn choose(
        &self,
        flag: FdTables,
        wanted: Option<u32>,
    ) -> Result<DescriptorTables, &'static str> {
        let connections_each = u32::try_from(self.each()).unwrap_or(u32::MAX);
        let private = DescriptorTables::Private { connections_each };
        match (flag, self.support) {
            (FdTables::Private, PrivateTableSupport::Lacks(call)) => Err(call),
            (FdTables::Private, PrivateTableSupport::Works) => Ok(private),
            (FdTables::Auto, PrivateTableSupport::Works) if self.needs_private(wanted) => {
                Ok(private)
            }
            (
                FdTables::Auto | FdTables::Shared,
                PrivateTableSupport::Works | PrivateTableSupport::Lacks(_),
            ) => Ok(DescriptorTables::Shared),
        }
    }

    /// Whether only private tables hold so many, or anybody at all.
    fn needs_private(&self, wanted: Option<u32>) -> bool {
        let wanted = u64::from(wanted.unwrap_or(1));
        wanted > self.shared() && wanted <= self.private()
    }

    /// The most connections that may be asked for with this flag.
    pub fn most(&self, flag: FdTables) -> u64 {
        match (flag, self.support) {
            (FdTables::Private, PrivateTableSupport::Works | PrivateTableSupport::Lacks(_)) => {
                self.private()
            }
            (FdTables::Auto, PrivateTableSupport::Works) => self.shared().max(self.private()),
            (
                FdTables::Auto | FdTables::Shared,
                PrivateTableSupport::Works | PrivateTableSupport::Lacks(_),
            ) => self.shared(),
        }
    }

    /// Descriptors that each table has to hold for so many connections.
    pub fn needed(&self, tables: DescriptorTables, connections: u64) -> u64 {
        let most_in_one = match tables {
            DescriptorTables::Shared => connections,
            DescriptorTables::Private { .. } => connections.div_ceil(self.shards.max(1) as u64),
        };
        most_in_one + self.own(tables)
    }

    /// Descriptors that each table has to hold for everything else.
    fn own(&self, tables: DescriptorTables) -> u64 {
        let admin = match self.admin_addresses {
            0 => 0,
            addresses => (addresses + limits::ADMIN_CONNECTIONS) as u64,
        };
        admin
            + match tables {
                DescriptorTables::Shared => descriptors_of_server(self.shards, self.addresses),
                DescriptorTables::Private { .. } => {
                    descriptors_of_table(self.shards, self.addresses)
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: DescriptorBudget = DescriptorBudget {
        allowed: 20_000,
        shards: 3,
        addresses: 2,
        admin_addresses: 0,
        support: PrivateTableSupport::Works,
    };
    const OLD: DescriptorBudget =
        DescriptorBudget { support: PrivateTableSupport::Lacks("pidfd_getfd"), ..ROOM };

    #[test]
    fn auto_takes_private_tables_only_where_nothing_else_will_do() {
        let private = DescriptorTables::Private { connections_each: ROOM.each() as u32 };
        let shared = ROOM.shared() as u32;
        let most = ROOM.private() as u32;
        for (wanted, tables) in [
            (None, DescriptorTables::Shared),
            (Some(1), DescriptorTables::Shared),
            (Some(shared), DescriptorTables::Shared),
            (Some(shared + 1), private),
            (Some(most), private),
            // Neither will do: the arithmetic of one table is the one to be told.
            (Some(most + 1), DescriptorTables::Shared),
        ] {
            assert_eq!(ROOM.choose(FdTables::Auto, wanted), Ok(tables), "{wanted:?}");
        }
        assert!(most > 59_000 && shared < 20_000, "{most} {shared}");
        assert_eq!(
            (ROOM.most(FdTables::Auto), OLD.most(FdTables::Auto)),
            (most.into(), shared.into())
        );
    }

    #[test]
    fn where_they_cannot_be_had_auto_falls_back_and_private_is_refused() {
        for wanted in [None, Some(50_000)] {
            assert_eq!(OLD.choose(FdTables::Auto, wanted), Ok(DescriptorTables::Shared));
            assert_eq!(OLD.choose(FdTables::Shared, wanted), Ok(DescriptorTables::Shared));
            assert_eq!(OLD.choose(FdTables::Private, wanted), Err("pidfd_getfd"));
        }
    }

    #[test]
    fn what_is_asked_for_is_done_where_it_can_be() {
        let private = DescriptorTables::Private { connections_each: ROOM.each() as u32 };
        assert_eq!(ROOM.choose(FdTables::Private, None), Ok(private));
        assert_eq!(ROOM.choose(FdTables::Shared, Some(50_000)), Ok(DescriptorTables::Shared));
        assert_eq!((private.count(3), DescriptorTables::Shared.count(3)), (4, 1));
    }

    #[test]
    fn the_last_descriptor_of_the_last_table_is_counted() {
        let private = DescriptorTables::Private { connections_each: ROOM.each() as u32 };
        assert_eq!(ROOM.needed(private, ROOM.private()), 20_000);
        assert_eq!(ROOM.needed(private, ROOM.private() + 1), 20_001);
        assert_eq!(ROOM.needed(DescriptorTables::Shared, ROOM.shared()), 20_000);
    }

    #[test]
    fn a_table_has_to_spare_for_the_surplus_and_for_those_who_move() {
        // What a shard's table really holds beside its connections: what the process had when
        // it was made, two for each shard then and one handle for each, and its own few.
        let spare = limits::DESCRIPTORS_PER_PROCESS + limits::DESCRIPTORS_PER_SHARD - 24;
        assert!(spare >= limits::TABLE_SURPLUS_CONNECTIONS as u64 + 16);
    }
}
