//! [`Arguments`] + [`MachineCapabilities`] → [`Config`] or the first contradiction. Pure.

use super::{
    Arguments, Config, ConfigError, ConnectionSteering, DescriptorBudget, DescriptorTables,
    HumanDuration, Limits, MachineCapabilities, TurnConfig,
};
use crate::access::AccessPolicy;
use crate::limits;
use crate::wire::message::is_queue_name;
use crate::wire::proxy::Networks;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

impl Arguments {
    /// Fills in what depends on the machine, and checks every value and their relations.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn validate(&self, machine: &MachineCapabilities) -> Result<Config, ConfigError> {
        let listen = self.listen_addresses(machine)?;
        let shards = self.shards.unwrap_or(machine.default_shards.clamp(1, limits::MAX_SHARDS));
        within("--shards", shards, (1, limits::MAX_SHARDS))?;
        let access = self.access(&listen)?;
        let room = DescriptorBudget {
            allowed: machine.descriptors_allowed,
            shards,
            addresses: listen.len(),
            admin_addresses: access.admin_listen.len(),
            support: machine.private_tables,
        };
        let (max_connections, tables) = self.connection_limit(machine, &room)?;
        let send_buffer = match self.socket_send_buffer {
            0 => None,
            bytes => {
                within("--socket-send-buffer", bytes, limits::SOCKET_SEND_BUFFER_BOUNDS)?;
                Some(bytes)
            }
        };
        if !self.resume_window.0.is_zero() {
            return Err(ConfigError::ResumeWindow { given: self.resume_window.0 });
        }
        Ok(Config {
            listen,
            shards,
            pin: !self.no_pin,
            steer: self.steering(machine, shards)?,
            busy_poll_micros: self.busy_poll()?,
            limits: self.limits(max_connections)?,
            socket_send_buffer_bytes: send_buffer,
            echo: self.echo,
            access,
            ice_servers: self.ice_server.clone(),
            turn: self.turn()?,
            stats_queues: self.stats_queues()?,
            log_format: self.log_format,
            log_level: self.log_level,
            descriptors_allowed: machine.descriptors_allowed,
            tables,
            private_tables: machine.private_tables,
        })
    }

    fn steering(
        &self,
        machine: &MachineCapabilities,
        shards: usize,
    ) -> Result<ConnectionSteering, ConfigError> {
        let cpus = machine.cpus;
        if self.steer == ConnectionSteering::Cpu && (self.no_pin || shards > cpus) {
            return Err(ConfigError::SteerWithoutCpus { pin: !self.no_pin, shards, cpus });
        }
        Ok(self.steer)
    }

    fn busy_poll(&self) -> Result<Option<NonZeroU32>, ConfigError> {
        within("--busy-poll", self.busy_poll as usize, (0, limits::MAX_BUSY_POLL_MICROS))?;
        Ok(NonZeroU32::new(self.busy_poll))
    }

    fn access(&self, listen: &[SocketAddr]) -> Result<AccessPolicy, ConfigError> {
        let allowed_origins = self.allow_origin.clone();
        within(
            "the number of --allow-origin",
            allowed_origins.len(),
            (0, limits::MAX_ACCESS_LIST_ENTRIES),
        )?;
        let trusted_proxies = Networks(self.trusted_proxy.clone());
        within(
            "the number of --trusted-proxy",
            trusted_proxies.0.len(),
            (0, limits::MAX_ACCESS_LIST_ENTRIES),
        )?;
        Ok(AccessPolicy {
            allowed_origins,
            trusted_proxies,
            admin_listen: self.admin_addresses(listen)?,
        })
    }

    fn admin_addresses(&self, listen: &[SocketAddr]) -> Result<Vec<SocketAddr>, ConfigError> {
        let admin = &self.admin_listen;
        within("the number of --admin-listen", admin.len(), (0, limits::MAX_LISTEN_ADDRESSES))?;
        if let Some(&address) = first_repeated(admin, |address| address.port() != 0) {
            return Err(ConfigError::AdminListenTwice { address });
        }
        match admin.iter().find(|address| address.port() != 0 && listen.contains(address)) {
            Some(&address) => Err(ConfigError::AdminListensPublicly { address }),
            None => Ok(admin.clone()),
        }
    }

    fn turn(&self) -> Result<Option<TurnConfig>, ConfigError> {
        let bounds = limits::TURN_TTL_BOUNDS;
        let ttl = time_within("--turn-ttl", self.turn_ttl, bounds)?;
        match &self.turn_secret_file {
            None if self.turn_url.is_empty() => Ok(None),
            Some(file) if !self.turn_url.is_empty() => {
                Ok(Some(TurnConfig { urls: self.turn_url.clone(), secret_file: file.clone(), ttl }))
            }
            None | Some(_) => Err(ConfigError::HalfATurnServer),
        }
    }

    fn listen_addresses(
        &self,
        machine: &MachineCapabilities,
    ) -> Result<Vec<SocketAddr>, ConfigError> {
        if self.listen.is_empty() {
            let mut everywhere = vec![(Ipv4Addr::UNSPECIFIED, limits::DEFAULT_PORT).into()];
            if machine.ipv6 {
                everywhere.push((Ipv6Addr::UNSPECIFIED, limits::DEFAULT_PORT).into());
            }
            return Ok(everywhere);
        }
        within("the number of --listen", self.listen.len(), (1, limits::MAX_LISTEN_ADDRESSES))?;
        // Port 0 is another port each time, so it may be named more than once.
        match first_repeated(&self.listen, |address| address.port() != 0) {
            Some(&address) => Err(ConfigError::ListenTwice { address }),
            None => Ok(self.listen.clone()),
        }
    }

    fn connection_limit(
        &self,
        machine: &MachineCapabilities,
        room: &DescriptorBudget,
    ) -> Result<(u32, DescriptorTables), ConfigError> {
        let tables = room
            .choose(self.fd_tables, self.max_connections)
            .map_err(|call| ConfigError::NoPrivateTables { call })?;
        let fits = match tables {
            DescriptorTables::Shared => room.shared(),
            DescriptorTables::Private { .. } => room.private(),
        };
        let asked = self.max_connections.unwrap_or_else(|| {
            let most = limits::MAX_DERIVED_CONNECTIONS;
            u32::try_from(fits).unwrap_or(most).clamp(1, most)
        });
        within("--max-connections", asked as usize, (1, limits::MAX_CONNECTIONS as usize))?;
        if u64::from(asked) > fits {
            return Err(ConfigError::Descriptors {
                connections: asked,
                tables,
                needed: room.needed(tables, asked.into()),
                allowed: machine.descriptors_allowed,
                possible: room.most(self.fd_tables),
                ceiling: machine.descriptors_ceiling,
            });
        }
        let per_address = self.max_connections_per_address;
        if per_address > asked {
            return Err(ConfigError::AddressLimitAboveAll { per_address, in_all: asked });
        }
        Ok((asked, tables))
    }

    fn limits(&self, max_connections: u32) -> Result<Limits, ConfigError> {
        within("--max-message-bytes", self.max_message_bytes, limits::MESSAGE_BYTES_BOUNDS)?;
        within("--max-unsent-bytes", self.max_unsent_bytes, limits::UNSENT_BYTES_BOUNDS)?;
        within("--max-head-bytes", self.max_head_bytes, limits::HEAD_BYTES_BOUNDS)?;
        let least_bytes = self.max_message_bytes + limits::SERVER_HEADER_BYTES;
        if self.max_unsent_bytes < least_bytes {
            let unsent_bytes = self.max_unsent_bytes;
            return Err(ConfigError::UnsentBelowMessage { unsent_bytes, least_bytes });
        }
        let (ping, silence) = (self.ping_interval, self.silence_limit);
        let some = limits::TIME_LIMIT_BOUNDS;
        let none_or_some = (Duration::ZERO, some.1);
        let limits = Limits {
            max_connections,
            max_connections_per_address: NonZeroU32::new(self.max_connections_per_address),
            max_new_connections_per_address: NonZeroU32::new(self.max_new_connections_per_address),
            max_messages_per_second: NonZeroU32::new(self.max_messages_per_second),
            max_message_bytes: self.max_message_bytes,
            max_unsent_bytes: self.max_unsent_bytes,
            close_timeout: time_within("--close-timeout", self.close_timeout, some)?,
            handshake_timeout: time_within("--handshake-timeout", self.handshake_timeout, some)?,
            ping_interval: time_within("--ping-interval", ping, some)?,
            silence_limit: time_within("--silence-limit", silence, some)?,
            max_head_bytes: self.max_head_bytes,
            rematch_delay: time_within("--rematch-delay", self.rematch_delay, none_or_some)?,
            drain_timeout: time_within("--drain-timeout", self.drain_timeout, none_or_some)?,
        };
        if silence <= ping {
            return Err(ConfigError::SilenceWithinPing {
                silence_limit: silence.0,
                ping_interval: ping.0,
            });
        }
        Ok(limits)
    }

    fn stats_queues(&self) -> Result<Vec<String>, ConfigError> {
        let names = &self.stats_queue;
        within("the number of --stats-queue", names.len(), (0, limits::MAX_STATS_QUEUES))?;
        if let Some(name) = names.iter().find(|name| !is_queue_name(name.as_bytes())) {
            return Err(ConfigError::QueueName { name: name.clone() });
        }
        match first_repeated(names, |_| true) {
            Some(name) => Err(ConfigError::QueueTwice { name: name.clone() }),
            None => Ok(names.clone()),
        }
    }
}

fn within(
    flag: &'static str,
    given: usize,
    (least, most): (usize, usize),
) -> Result<(), ConfigError> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    let (given, least, most) = (given as u64, least as u64, most as u64);
    Err(ConfigError::OutOfBounds { flag, given, least, most })
}

fn time_within(
    flag: &'static str,
    HumanDuration(given): HumanDuration,
    (least, most): (Duration, Duration),
) -> Result<Duration, ConfigError> {
    if (least..=most).contains(&given) {
        return Ok(given);
    }
    Err(ConfigError::TimeOutOfBounds { flag, given, least, most })
}

/// The first value that stands a second time, among those that `counts` admits.
fn first_repeated<T: PartialEq>(values: &[T], counts: impl Fn(&T) -> bool) -> Option<&T> {
    values.iter().enumerate().find_map(|(place, value)| {
        (counts(value) && values[..place].contains(value)).then_some(value)
    })
}
