//! Checks [`Arguments`] against each other and against [`MachineCapabilities`], and builds the
//! [`Config`]. Pure.

use super::{
    Arguments, Config, ConfigError, ConnectionSteering, DescriptorBudget, DescriptorTables, Limits,
    MachineCapabilities, SessionLog, TurnConfig, all_values, bounds,
};
use crate::access::AccessPolicy;
use crate::ice::CredentialLifetimes;
use crate::limits;
use crate::wire::message::is_queue_name;
use crate::wire::proxy::Networks;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use tracing::level_filters::LevelFilter;

impl Arguments {
    /// Checks every value and the relations between values, and fills in the defaults that depend on
    /// the machine.
    ///
    /// # Errors
    /// The first error found.
    pub fn validate(&self, machine: &MachineCapabilities) -> Result<Config, ConfigError> {
        let listen = self.listen_addresses(machine)?;
        let default_shards = machine.default_shards.clamp(1, limits::MAX_SHARDS);
        let shards = bounds::SHARDS.check(self.listening.shards.unwrap_or(default_shards))?;
        let access = self.access(&listen)?;
        let budget = DescriptorBudget {
            allowed: machine.descriptors_allowed,
            shards,
            addresses: listen.len(),
            admin_addresses: access.admin_listen.len(),
            support: machine.private_table_support,
        };
        let (max_connections, descriptor_tables) = self.connection_limit(machine, &budget)?;
        let send_buffer_bytes = bounds::SOCKET_SEND_BUFFER.check(self.limits.socket_send_buffer)?;
        if !self.timeouts.resume_window.0.is_zero() {
            return Err(ConfigError::ResumeUnsupported { given: self.timeouts.resume_window.0 });
        }
        Ok(Config {
            listen,
            shards,
            pin: self.pins(machine),
            steering: self.steering(machine, shards)?,
            busy_poll_micros: NonZeroU32::new(bounds::BUSY_POLL.check(self.listening.busy_poll)?),
            limits: self.limits(max_connections)?,
            socket_send_buffer_bytes: (send_buffer_bytes != 0).then_some(send_buffer_bytes),
            echo: self.listening.echo,
            access,
            ice_servers: all_values(&self.ice.ice_server),
            turn: self.turn()?,
            relay_only: self.relay_only()?,
            stats_queues: self.stats_queues()?,
            log_format: self.monitoring.log_format,
            log_level: self.monitoring.log_level,
            session_log: self.session_log(),
            descriptors_allowed: machine.descriptors_allowed,
            descriptor_tables,
            private_table_support: machine.private_table_support,
        })
    }

    /// A shard stores nothing for log lines that the level leaves out.
    fn session_log(&self) -> SessionLog {
        match (self.monitoring.log_level >= LevelFilter::DEBUG, self.monitoring.log_addresses) {
            (false, _) => SessionLog::Off,
            (true, false) => SessionLog::WithoutAddress,
            (true, true) => SessionLog::WithAddress,
        }
    }

    fn pins(&self, machine: &MachineCapabilities) -> bool {
        // guard: shards under a CPU quota are not pinned [operand 2 true]
        !self.listening.no_pin && !machine.has_cpu_quota()
    }

    fn steering(
        &self,
        machine: &MachineCapabilities,
        shards: usize,
    ) -> Result<ConnectionSteering, ConfigError> {
        let cpus = machine.cpus;
        let (steer, pin) = (self.listening.steer, self.pins(machine));
        if steer == ConnectionSteering::Cpu && (!pin || shards > cpus) {
            return Err(ConfigError::SteeringWithoutCpus { pin, shards, cpus });
        }
        Ok(steer)
    }

    fn access(&self, listen: &[SocketAddr]) -> Result<AccessPolicy, ConfigError> {
        let allowed_origins = bounds::ALLOW_ORIGIN.check(all_values(&self.access.allow_origin))?;
        let trusted_proxies =
            bounds::TRUSTED_PROXY.check(all_values(&self.access.trusted_proxy))?;
        Ok(AccessPolicy {
            allowed_origins,
            trusted_proxies: Networks(trusted_proxies),
            admin_listen: self.admin_addresses(listen)?,
        })
    }

    fn admin_addresses(&self, listen: &[SocketAddr]) -> Result<Vec<SocketAddr>, ConfigError> {
        let admin = bounds::ADMIN_LISTEN.check(all_values(&self.listening.admin_listen))?;
        if let Some(&address) = first_duplicate(&admin, |address| address.port() != 0) {
            return Err(ConfigError::DuplicateAdminAddress { address });
        }
        match admin.iter().find(|address| address.port() != 0 && listen.contains(address)) {
            Some(&address) => Err(ConfigError::AdminAddressIsPublic { address }),
            None => Ok(admin),
        }
    }

    fn turn(&self) -> Result<Option<TurnConfig>, ConfigError> {
        let lifetimes = CredentialLifetimes {
            session: bounds::TURN_TTL.check(self.ice.turn_ttl)?,
            call: bounds::TURN_MATCH_TTL.check(self.ice.turn_match_ttl)?,
        };
        match &self.ice.turn_secret_file {
            None if self.ice.turn_url.is_empty() => Ok(None),
            Some(file) if !self.ice.turn_url.is_empty() => Ok(Some(TurnConfig {
                urls: all_values(&self.ice.turn_url),
                secret_file: file.clone(),
                lifetimes,
            })),
            None | Some(_) => Err(ConfigError::IncompleteTurnConfig),
        }
    }

    fn relay_only(&self) -> Result<bool, ConfigError> {
        let has_turn_server = !self.ice.turn_url.is_empty()
            || all_values(&self.ice.ice_server).iter().any(|server| server.url().is_turn());
        if self.ice.relay_only && !has_turn_server {
            return Err(ConfigError::RelayOnlyWithoutTurn);
        }
        Ok(self.ice.relay_only)
    }

    fn listen_addresses(
        &self,
        machine: &MachineCapabilities,
    ) -> Result<Vec<SocketAddr>, ConfigError> {
        if self.listening.listen.is_empty() {
            let mut addresses = vec![(Ipv4Addr::UNSPECIFIED, limits::DEFAULT_PORT).into()];
            if machine.ipv6 {
                addresses.push((Ipv6Addr::UNSPECIFIED, limits::DEFAULT_PORT).into());
            }
            return Ok(addresses);
        }
        let listen = bounds::LISTEN.check(all_values(&self.listening.listen))?;
        // Port 0 is another port each time, so it may be given more than once.
        match first_duplicate(&listen, |address| address.port() != 0) {
            Some(&address) => Err(ConfigError::DuplicateListenAddress { address }),
            None => Ok(listen),
        }
    }

    fn connection_limit(
        &self,
        machine: &MachineCapabilities,
        budget: &DescriptorBudget,
    ) -> Result<(u32, DescriptorTables), ConfigError> {
        let tables = budget
            .choose(self.limits.fd_tables, self.limits.max_connections)
            .map_err(|call| ConfigError::PrivateTablesUnsupported { call })?;
        let fit = match tables {
            DescriptorTables::Shared => budget.fit_shared(),
            DescriptorTables::Private { .. } => budget.fit_private(),
        };
        let derived = || {
            let max = limits::MAX_DERIVED_CONNECTIONS;
            u32::try_from(fit).unwrap_or(max).clamp(1, max)
        };
        let connections =
            bounds::MAX_CONNECTIONS.check(self.limits.max_connections.unwrap_or_else(derived))?;
        if u64::from(connections) > fit {
            return Err(ConfigError::TooFewDescriptors {
                connections,
                tables,
                needed: budget.needed(tables, connections.into()),
                allowed: machine.descriptors_allowed,
                possible: budget.max_connections(self.limits.fd_tables),
                ceiling: machine.descriptors_ceiling,
            });
        }
        let per_address = self.limits.max_connections_per_address;
        if per_address > connections {
            return Err(ConfigError::AddressLimitAboveTotal { per_address, total: connections });
        }
        Ok((connections, tables))
    }

    fn limits(&self, max_connections: u32) -> Result<Limits, ConfigError> {
        let (arguments, times) = (&self.limits, &self.timeouts);
        let limits = Limits {
            max_connections,
            max_connections_per_address: NonZeroU32::new(arguments.max_connections_per_address),
            max_new_connections_per_address: NonZeroU32::new(
                arguments.max_new_connections_per_address,
            ),
            max_messages_per_second: NonZeroU32::new(arguments.max_messages_per_second),
            max_matches_per_minute: NonZeroU32::new(
                bounds::MAX_MATCHES_PER_MINUTE.check(arguments.max_matches_per_minute)?,
            ),
            max_matches_per_minute_per_address: NonZeroU32::new(
                arguments.max_matches_per_minute_per_address,
            ),
            max_message_bytes: bounds::MAX_MESSAGE_BYTES.check(arguments.max_message_bytes)?,
            max_unsent_bytes: bounds::MAX_UNSENT_BYTES.check(arguments.max_unsent_bytes)?,
            close_timeout: bounds::CLOSE_TIMEOUT.check(times.close_timeout)?,
            handshake_timeout: bounds::HANDSHAKE_TIMEOUT.check(times.handshake_timeout)?,
            idle_timeout: bounds::IDLE_TIMEOUT.check(times.idle_timeout)?,
            ping_interval: bounds::PING_INTERVAL.check(times.ping_interval)?,
            silence_limit: bounds::SILENCE_LIMIT.check(times.silence_limit)?,
            liveness_window: bounds::LIVENESS_WINDOW.check(times.liveness_window)?,
            message_timeout: bounds::MESSAGE_TIMEOUT.check(times.message_timeout)?,
            max_head_bytes: bounds::MAX_HEAD_BYTES.check(arguments.max_head_bytes)?,
            rematch_delay: bounds::REMATCH_DELAY.check(times.rematch_delay)?,
            drain_timeout: bounds::DRAIN_TIMEOUT.check(times.drain_timeout)?,
        };
        let unsent_bytes = limits.max_unsent_bytes;
        let min_bytes = limits.max_message_bytes + limits::SERVER_HEADER_BYTES;
        if unsent_bytes < min_bytes {
            return Err(ConfigError::BacklogBelowMessage { unsent_bytes, min_bytes });
        }
        let (silence_limit, ping_interval) = (limits.silence_limit, limits.ping_interval);
        if silence_limit <= ping_interval {
            return Err(ConfigError::SilenceLimitBelowPing { silence_limit, ping_interval });
        }
        Ok(limits)
    }

    fn stats_queues(&self) -> Result<Vec<String>, ConfigError> {
        let names = bounds::STATS_QUEUE.check(all_values(&self.monitoring.stats_queue))?;
        if let Some(name) = names.iter().find(|name| !is_queue_name(name.as_bytes())) {
            return Err(ConfigError::InvalidQueueName { name: name.clone() });
        }
        match first_duplicate(&names, |_| true) {
            Some(name) => Err(ConfigError::DuplicateStatsQueue { name: name.clone() }),
            None => Ok(names),
        }
    }
}

/// The first value that occurs a second time, among those that `counts` accepts.
fn first_duplicate<T: PartialEq>(values: &[T], counts: impl Fn(&T) -> bool) -> Option<&T> {
    values.iter().enumerate().find_map(|(index, value)| {
        (counts(value) && values[..index].contains(value)).then_some(value)
    })
}
