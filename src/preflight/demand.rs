//! What a machine must provide for a number of connections. Pure.

use crate::config::{DescriptorBudget, DescriptorTables, FdTables};
use crate::limits;
use crate::sys::descriptor_tables::PrivateTableSupport;
use crate::sys::machine::MachineReadings;

/// What the machine must provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityDemand {
    /// Concurrent connections.
    pub connections: u64,
    /// File descriptors of the whole process, connections included.
    pub descriptors: u64,
    /// File descriptors in the fullest descriptor table.
    pub descriptors_in_fullest_table: u64,
    /// Number of shards.
    pub shards: u64,
    /// With `--fd-tables private`: whether the machine supports that.
    pub private_tables: Option<bool>,
    /// Connections that a server with these settings accepts if all limits are high enough.
    pub accepted_by_server: u64,
}

/// The settings that affect what the server needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedServer {
    /// Number of shards.
    pub shards: usize,
    /// Number of addresses of `--listen`; 0 means the defaults.
    pub addresses: usize,
    /// Number of addresses of `--admin-listen`.
    pub admin_addresses: usize,
    /// `--fd-tables`.
    pub fd_tables: FdTables,
    /// `--max-connections`, if given.
    pub max_connections: Option<u32>,
}

impl CapacityDemand {
    /// The demand of `connections` connections to a server with these settings on this machine.
    pub fn new(connections: u32, server: &PlannedServer, readings: &MachineReadings) -> Self {
        let &PlannedServer { shards, admin_addresses, fd_tables, max_connections, .. } = server;
        let addresses = if server.addresses == 0 { 2 } else { server.addresses };
        let allowed = readings.nofile.map_or(u64::MAX, |(_, hard)| hard);
        let support = readings.private_table_support;
        let budget = DescriptorBudget { allowed, shards, addresses, admin_addresses, support };
        // Without support a server with `--fd-tables private` does not start; the report shows that
        // as a limit that is short.
        let private = DescriptorTables::Private { connections_each: 0 };
        let tables = budget.choose(fd_tables, Some(connections)).unwrap_or(private);
        let default_limit = match (tables, budget.choose(fd_tables, None)) {
            // Without `--max-connections` the server uses a shared table.
            (DescriptorTables::Private { .. }, Ok(DescriptorTables::Shared)) => budget.fit_shared(),
            _ => u64::MAX,
        };
        let default_limit = default_limit.min(limits::MAX_DERIVED_CONNECTIONS.into());
        let accepted_by_server = max_connections.map_or(default_limit, u64::from);
        let connections = u64::from(connections);
        let descriptors_in_fullest_table = budget.needed(tables, connections);
        let descriptors = match tables {
            DescriptorTables::Shared => descriptors_in_fullest_table,
            DescriptorTables::Private { .. } => {
                connections + tables.count(shards) * budget.needed(tables, 0)
            }
        };
        let private_tables = match fd_tables {
            FdTables::Private => Some(support == PrivateTableSupport::Supported),
            FdTables::Auto | FdTables::Shared => None,
        };
        CapacityDemand {
            connections,
            descriptors,
            descriptors_in_fullest_table,
            shards: shards as u64,
            private_tables,
            accepted_by_server,
        }
    }
}
