//! Every constant, its unit in its name. Pure. What an operator can change is in
//! [`crate::config`]; the defaults it starts from are here.

/// Largest control frame payload (RFC 6455 §5.5).
pub const CONTROL_PAYLOAD_BYTES: usize = 125;
/// Longest header a server sends: two bytes and a 64-bit length (RFC 6455 §5.2).
pub const SERVER_HEADER_BYTES: usize = 10;
/// Longest header a client sends: the server's and the mask key (RFC 6455 §5.2).
pub const CLIENT_HEADER_BYTES: usize = SERVER_HEADER_BYTES + 4;
/// Most fragments of one message, empty ones counted.
pub const MESSAGE_FRAGMENTS: u32 = 1024;
/// Deepest nesting of JSON that is always accepted, the outermost object counted.
pub const JSON_DEPTH: usize = 100;
/// Longest queue name.
pub const QUEUE_NAME_BYTES: usize = 64;
/// Most header fields of a request head.
pub const HEAD_FIELDS: usize = 100;
/// Size of the receive buffer that all connections of a shard share.
pub const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
/// Reads one connection may have in one turn before the others come first.
pub const READS_PER_TURN: u32 = 4;
/// Connections one listener accepts in one turn before the others come first.
pub const ACCEPTS_PER_TURN: u32 = 64;
/// Letters one thread takes from its mailbox in one turn.
pub const LETTERS_PER_TURN: usize = 1024;
/// Events one poll reports at most.
pub const EVENTS_PER_POLL: usize = 1024;
/// Pending connections the kernel keeps for a listener; it takes the lesser of this and
/// `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 65_535;
/// After a Close frame or a refusal, bytes that are read and dropped before the end.
pub const LINGER_BYTES: u32 = 1024 * 1024;
/// Between two sweeps of the same connection.
pub const SWEEP_PERIOD_MS: u64 = 1000;
/// Parts of the slab that are swept one after the other within [`SWEEP_PERIOD_MS`].
pub const SWEEP_PARTS: usize = 10;
/// Pause before accepting is tried again when descriptors have run out.
pub const ACCEPT_RETRY_MS: u64 = 50;
/// Seconds named in `Retry-After` when a limit or a shutdown refuses somebody.
pub const RETRY_AFTER_S: u32 = 5;
