//! How many connections the file descriptors of a process allow, and whether each shard needs a
//! descriptor table of its own for that. It reads nothing: what the machine supports is an argument.

use crate::limits;
use crate::sys::descriptor_tables::PrivateTableSupport;
use clap::ValueEnum;

/// The value of `--fd-tables`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FdTables {
    /// private if --max-connections does not fit one table and the kernel supports it, shared
    /// otherwise.
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
        /// Connections that each shard's table is dimensioned for.
        connections_each: u32,
    },
}

impl DescriptorTables {
    /// Number of tables of a server with `shards` shards.
    pub fn count(self, shards: usize) -> u64 {
        match self {
            DescriptorTables::Shared => 1,
            DescriptorTables::Private { .. } => shards as u64 + 1,
        }
    }

    /// The most connections that one shard may have, if the server may have `max_connections`.
    pub fn max_of_shard(self, max_connections: u32) -> u32 {
        match self {
            DescriptorTables::Shared => max_connections,
            DescriptorTables::Private { connections_each } => connections_each.min(max_connections),
        }
    }
}

/// Descriptors in a shared table that are not connections: streams, signals, matcher and `/proc`
/// once, and for each shard its poll, waker, reserve and listeners.
pub fn shared_table_overhead(shards: usize, addresses: usize) -> u64 {
    let per_shard = limits::DESCRIPTORS_PER_SHARD + addresses as u64;
    limits::DESCRIPTORS_PER_PROCESS + shards as u64 * per_shard
}

/// Descriptors in a shard's private table that are not connections: copies of what the process had
/// open when the table was made, handles on all other shards' tables, and the shard's own listeners.
pub fn private_table_overhead(shards: usize, addresses: usize) -> u64 {
    limits::DESCRIPTORS_PER_PROCESS
        + limits::DESCRIPTORS_PER_SHARD
        + shards as u64 * limits::DESCRIPTORS_PER_PEER
        + addresses as u64
}

/// What the number of connections depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorBudget {
    /// Descriptors that a table may hold.
    pub allowed: u64,
    /// Number of shards.
    pub shards: usize,
    /// Number of addresses of `--listen`; each shard listens on all of them.
    pub addresses: usize,
    /// Number of addresses of `--admin-listen`.
    pub admin_addresses: usize,
    /// Whether shards can have private tables.
    pub support: PrivateTableSupport,
}

impl DescriptorBudget {
    /// Connections that fit a shared table.
    pub fn fit_shared(&self) -> u64 {
        self.allowed.saturating_sub(self.overhead(DescriptorTables::Shared))
    }

    /// Connections that fit the private table of one shard.
    pub fn fit_one_private(&self) -> u64 {
        let private = DescriptorTables::Private { connections_each: 0 };
        self.allowed.saturating_sub(self.overhead(private))
    }

    /// Connections that fit the private tables of all shards.
    pub fn fit_private(&self) -> u64 {
        self.fit_one_private() * self.shards as u64
    }

    /// The tables for `wanted` connections; if that is `None`, for as many as the flag allows.
    ///
    /// # Errors
    /// The missing system call, if the flag demands private tables that are not supported.
    pub fn choose(
        &self,
        flag: FdTables,
        wanted: Option<u32>,
    ) -> Result<DescriptorTables, &'static str> {
        use PrivateTableSupport::{Missing, Supported};
        let connections_each = u32::try_from(self.fit_one_private()).unwrap_or(u32::MAX);
        let private = DescriptorTables::Private { connections_each };
        match (flag, self.support) {
            (FdTables::Private, Missing(call)) => Err(call),
            (FdTables::Private, Supported) => Ok(private),
            (FdTables::Auto, Supported) if self.needs_private(wanted) => Ok(private),
            (FdTables::Auto | FdTables::Shared, Supported | Missing(_)) => {
                Ok(DescriptorTables::Shared)
            }
        }
    }

    /// Whether `wanted` connections, or even one, fit only private tables.
    fn needs_private(&self, wanted: Option<u32>) -> bool {
        let wanted = u64::from(wanted.unwrap_or(1));
        wanted > self.fit_shared() && wanted <= self.fit_private()
    }

    /// The most connections that may be asked for with this flag.
    pub fn max_connections(&self, flag: FdTables) -> u64 {
        use PrivateTableSupport::{Missing, Supported};
        match (flag, self.support) {
            (FdTables::Private, Supported | Missing(_)) => self.fit_private(),
            (FdTables::Auto, Supported) => self.fit_shared().max(self.fit_private()),
            (FdTables::Auto | FdTables::Shared, Supported | Missing(_)) => self.fit_shared(),
        }
    }

    /// Descriptors that each table has to hold for `connections` connections.
    pub fn needed(&self, tables: DescriptorTables, connections: u64) -> u64 {
        let in_fullest = match tables {
            DescriptorTables::Shared => connections,
            DescriptorTables::Private { .. } => connections.div_ceil(self.shards.max(1) as u64),
        };
        in_fullest + self.overhead(tables)
    }

    /// Descriptors in each table that are not public connections.
    fn overhead(&self, tables: DescriptorTables) -> u64 {
        let admin = match self.admin_addresses {
            0 => 0,
            addresses => (addresses + limits::ADMIN_CONNECTIONS) as u64,
        };
        let rest = match tables {
            DescriptorTables::Shared => shared_table_overhead(self.shards, self.addresses),
            DescriptorTables::Private { .. } => private_table_overhead(self.shards, self.addresses),
        };
        admin + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPPORTED: DescriptorBudget = DescriptorBudget {
        allowed: 20_000,
        shards: 3,
        addresses: 2,
        admin_addresses: 0,
        support: PrivateTableSupport::Supported,
    };
    const UNSUPPORTED: DescriptorBudget =
        DescriptorBudget { support: PrivateTableSupport::Missing("pidfd_getfd"), ..SUPPORTED };

    fn private() -> DescriptorTables {
        DescriptorTables::Private { connections_each: SUPPORTED.fit_one_private() as u32 }
    }

    #[test]
    fn auto_chooses_private_tables_only_when_a_shared_one_is_too_small() {
        let in_shared = SUPPORTED.fit_shared() as u32;
        let in_private = SUPPORTED.fit_private() as u32;
        for (wanted, tables) in [
            (None, DescriptorTables::Shared),
            (Some(1), DescriptorTables::Shared),
            (Some(in_shared), DescriptorTables::Shared),
            (Some(in_shared + 1), private()),
            (Some(in_private), private()),
            // Neither is large enough: the error is to show the arithmetic of a shared table.
            (Some(in_private + 1), DescriptorTables::Shared),
        ] {
            assert_eq!(SUPPORTED.choose(FdTables::Auto, wanted), Ok(tables), "{wanted:?}");
        }
        assert!(in_private > 59_000 && in_shared < 20_000, "{in_private} {in_shared}");
        assert_eq!(SUPPORTED.max_connections(FdTables::Auto), u64::from(in_private));
        assert_eq!(UNSUPPORTED.max_connections(FdTables::Auto), u64::from(in_shared));
    }

    #[test]
    fn without_support_auto_falls_back_to_shared_and_private_is_refused() {
        let shared = Ok(DescriptorTables::Shared);
        assert_eq!(UNSUPPORTED.choose(FdTables::Auto, Some(50_000)), shared);
        assert_eq!(UNSUPPORTED.choose(FdTables::Private, Some(9)), Err("pidfd_getfd"));
        assert_eq!(SUPPORTED.choose(FdTables::Private, None), Ok(private()));
        assert_eq!(SUPPORTED.choose(FdTables::Shared, Some(50_000)), shared);
        assert_eq!((private().count(3), DescriptorTables::Shared.count(3)), (4, 1));
    }

    #[test]
    fn counts_the_last_descriptor_of_the_last_table() {
        assert_eq!(SUPPORTED.needed(private(), SUPPORTED.fit_private()), 20_000);
        assert_eq!(SUPPORTED.needed(private(), SUPPORTED.fit_private() + 1), 20_001);
        assert_eq!(SUPPORTED.needed(DescriptorTables::Shared, SUPPORTED.fit_shared()), 20_000);
    }

    #[test]
    fn a_private_table_has_spare_descriptors_for_surplus_and_migrating_connections() {
        // What a shard's table actually holds beside its connections: what the process had open
        // when it was made, then two for each shard and one handle for each, and its own few.
        let spare = limits::DESCRIPTORS_PER_PROCESS + limits::DESCRIPTORS_PER_SHARD - 24;
        assert!(spare >= limits::TABLE_SURPLUS_CONNECTIONS as u64 + 16);
    }
}
