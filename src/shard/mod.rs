//! A shard: one thread with its connections, their sessions and rooms.
//!
//! [`core`] makes all decisions and is pure, given a [`host`]. [`event_loop`] is the loop around it,
//! and [`socket_host`] the host with sockets and mailboxes.
//!
//! The core consists of parts, each with data of its own: the connections ([`table`]), what may be
//! read when ([`read_scheduler`]), the replies to what is being handled ([`replies`]), the clock
//! and the sweep ([`timeouts`]), [`sessions`], [`rooms`], sessions in flight ([`migration`]) and
//! the [`shutdown`]. What sets the core off is handled in files by topic: input ([`reading`],
//! [`http`], [`frames`], [`echo`], [`proxied`]), the matcher and other shards ([`matching`],
//! [`migration`]), time ([`sweep`]). Bytes leave through [`output`], connections through
//! [`closing`].

pub mod acceptor;
#[doc(hidden)]
pub mod audit;
mod backlog;
mod closing;
pub mod core;
mod echo;
mod entry;
pub mod event_loop;
mod eviction;
mod frames;
pub mod host;
mod http;
mod liveness;
mod match_rate;
mod matching;
mod message_rate;
mod message_timeout;
pub mod migration;
mod numbers;
mod output;
mod proxied;
mod read_scheduler;
mod reading;
mod refusal;
mod relay_batch;
mod replies;
mod room_tokens;
mod rooms;
mod run_list;
mod session_log;
mod sessions;
mod shutdown;
mod side_table;
pub mod socket;
pub mod socket_host;
pub mod suspects;
mod sweep;
mod table;
mod timeouts;
