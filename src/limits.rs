//! Every constant, its unit in its name. Pure. What an operator can change is in
//! [`crate::config`]; the defaults it starts from are here.

use std::time::Duration;

/// Largest control frame payload (RFC 6455 §5.5).
pub const CONTROL_PAYLOAD_BYTES: usize = 125;
/// Longest header a server sends: two bytes and a 64-bit length (RFC 6455 §5.2).
pub const SERVER_HEADER_BYTES: usize = 10;
/// Longest header a client sends: the server's and the mask key (RFC 6455 §5.2).
pub const CLIENT_HEADER_BYTES: usize = SERVER_HEADER_BYTES + 4;
/// Most fragments of one message, empty ones counted.
pub const MESSAGE_FRAGMENTS: u32 = 1024;
/// Largest message on `/echo`, whatever the limit elsewhere: what conformance suites send.
pub const ECHO_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Most fragments of one message on `/echo`.
pub const ECHO_FRAGMENTS: u32 = 100_000;
/// Deepest nesting of JSON that is always accepted, the outermost object counted.
pub const JSON_DEPTH: usize = 100;
/// Longest queue name.
pub const QUEUE_NAME_BYTES: usize = 64;
/// Most header fields of a request head.
pub const HEAD_FIELDS: usize = 100;
/// Longest line with a chunk's size and extensions, its end included: what the load tester takes
/// of a response. A size has 16 digits at most, and an extension is rare.
pub const CHUNK_LINE_BYTES: usize = 1024;
/// Longest trailer section behind the last chunk, its end included.
pub const CHUNK_TRAILER_BYTES: usize = 16 * 1024;
/// Size of the receive buffer that all connections of a shard share.
pub const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
/// Reads one connection may have in one turn before the others come first. One that fills the
/// receive buffer is the last of them.
pub const READS_PER_ITERATION: u32 = 4;
/// Bytes that the events of one turn share, and one round of the run-list: where many connections
/// have something to read, each brings less at first. What a share does not hold is read from the
/// run-list.
pub const EVENT_BYTES_PER_ITERATION: usize = 512 * 1024;
/// The least of these shares: a read for every event must be worth its system call.
pub const MIN_EVENT_BYTES: usize = 4 * 1024;
/// Bytes read from the run-list in one turn before the others come first: a message of one who
/// sends little waits for no more of those who send without end.
pub const RUN_LIST_BYTES_PER_ITERATION: usize = 4 * RECEIVE_BUFFER_BYTES;
/// Connections of the run-list that are read in one turn, if each brings little.
pub const RUN_LIST_CONNECTIONS_PER_ITERATION: usize = 64;
/// A byte of a session's counts for so many of them: its messages are parsed, and answered or passed
/// on one by one.
pub const SESSION_BYTE_COST_BYTES: usize = 4;
/// A request that is answered from the run-list counts for so many bytes: its answer costs more
/// than it does.
pub const REQUEST_COST_BYTES: usize = 4 * 1024;
/// Requests of one connection answered in one turn before the others come first.
pub const REQUESTS_PER_ITERATION: u32 = 16;
/// Requests of all connections answered in one turn, upgrades apart. Beyond them each connection
/// is answered one.
pub const TOTAL_REQUESTS_PER_ITERATION: u32 = 64;
/// Connections one listener accepts in one turn before the others come first.
pub const ACCEPTS_PER_ITERATION: u32 = 64;
/// Letters one thread takes from its mailbox in one turn.
pub const COMMANDS_PER_ITERATION: usize = 1024;
/// Commands that the matcher prefetches before it handles the first of them. The best of 8 to 256:
/// with a million queues a command costs 61 ns, against 96 ns with 8 and 75 ns with 256.
pub const COMMANDS_PER_PREFETCH: usize = 32;
/// Commands a batch sender adds to a mailbox before it wakes the receiver although the batch goes
/// on: the receiver may have a CPU of its own.
pub const COMMANDS_PER_WAKE_UP: u32 = 64;
/// Events one poll reports at most.
pub const EVENTS_PER_POLL: usize = 1024;
/// Pending connections the kernel keeps for a listener; it takes the lesser of this and
/// `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 65_535;
/// The same for the listeners of `--admin-listen`.
pub const ADMIN_BACKLOG: i32 = 128;
/// Connections that a shard which ends still takes from each of its listeners to tell them that the
/// server shuts down: a full queue, and as many again who come meanwhile. Whoever comes without
/// end is reset with the listener; he must not keep the process from ending.
pub const SHUTDOWN_ACCEPTS: usize = 2 * LISTEN_BACKLOG as usize;
/// After a Close frame or a refusal, bytes that are read and dropped before the end.
pub const LINGER_BYTES: u32 = 1024 * 1024;
/// Most bytes of a slab entry: what an idle user costs.
pub const CONNECTION_ENTRY_BYTES: usize = 64;
/// Blocks of memory of so many bytes have pages of their own: parts of messages above it cost what
/// they hold, however many grow at once.
pub const MAPPED_ALLOCATION_BYTES: u32 = 8 * 1024;
/// A part of a message that grows beyond so many bytes moves to pages of its own.
pub const HEAP_ALLOCATION_BYTES: usize = 1024;
/// Room identifiers that a shard remembers.
pub const CACHED_ROOM_TOKENS: usize = 1024;
/// What each of them takes, in bytes: the room's number is kept with it.
pub const CACHED_ROOM_TOKEN_BYTES: usize = 32;
/// Longest time between two sweeps of the same connection; shorter if a time limit asks for it.
pub const SWEEP_PERIOD_MS: u64 = 1000;
/// Shortest time between two sweeps of the same connection.
pub const MIN_SWEEP_PERIOD_MS: u64 = 50;
/// Connections above `--max-connections`, or above a limit of one address, that are still heard,
/// so that a full server answers health checks and refuses politely. Beyond them a connection is refused unheard.
pub const SURPLUS_CONNECTIONS: usize = 64;
/// The same for a shard that has a descriptor table of its own, above what its table is meant to
/// hold; the rest of what it has to spare is for sessions that come from other shards.
pub const TABLE_SURPLUS_CONNECTIONS: usize = 32;
/// Connections that `--admin-listen` takes, beside `--max-connections`. Beyond them a connection
/// is refused unheard.
pub const ADMIN_CONNECTIONS: usize = 64;
/// Addresses whose new connections are counted within a second, of those that come: 2 MiB.
pub const TRACKED_ADDRESSES: usize = 64 * 1024;
/// Parts of the slab that are swept one after the other within [`SWEEP_PERIOD_MS`].
// guard: a sweep looks at a part of the connections [value 1]
pub const SWEEP_PARTS: usize = 10;
/// Neighbouring slots that are in the same part: a KiB of connections, read in one go.
pub const SWEEP_BLOCK: usize = 16;
/// Pause before accepting is tried again when descriptors have run out.
pub const ACCEPT_RETRY_MS: u64 = 50;
/// Two of whom one could not be brought to the other's shard meet others first for so long, when
/// they are tried again.
pub const REJECTED_MIGRATION_DELAY_MS: u64 = 50;
/// Shortest time between two log lines for the same reason.
pub const LOG_THROTTLE_PERIOD_S: u64 = 60;
/// Seconds named in `Retry-After` when a limit or a shutdown refuses somebody.
pub const RETRY_AFTER_S: u32 = 5;
/// Shards one process may have.
pub const MAX_SHARDS: usize = 1024;
/// Queues whose figures `/stats` and `/metrics` may name.
pub const MAX_STATS_QUEUES: usize = 64;
/// Origins that `--allow-origin` may name, and networks that `--trusted-proxy` may: each is
/// compared with at every upgrade.
pub const MAX_ACCESS_LIST_ENTRIES: usize = 256;
/// Addresses one process may listen on.
pub const MAX_LISTEN_ADDRESSES: usize = 64;

/// Descriptors that one shard needs beside its listeners and connections: poll, waker and
/// reserve are three; the rest lets refused newcomers linger until their answer has arrived.
pub const DESCRIPTORS_PER_SHARD: u64 = 16;
/// Descriptors in the table of a shard that has one of its own, for each shard of the process:
/// copies of its poll and waker, and the handle by which sockets are taken over from it.
pub const DESCRIPTORS_PER_PEER: u64 = 3;
/// Descriptors that the process needs beside its shards: standard streams, signals, the
/// matcher, handles on `/proc`, and whoever attaches a tool.
pub const DESCRIPTORS_PER_PROCESS: u64 = 64;
/// Most connections the limit is derived to when nobody names one, however many descriptors
/// there are: each shard reserves address space for all of them.
pub const MAX_DERIVED_CONNECTIONS: u32 = 1 << 20;
/// Most connections anybody may ask for.
pub const MAX_CONNECTIONS: u32 = 1 << 26;

/// Bounds of `--max-message-bytes`.
pub const MESSAGE_BYTES_BOUNDS: (usize, usize) = (1024, 16 * 1024 * 1024);
/// Bounds of `--max-unsent-bytes`.
pub const UNSENT_BYTES_BOUNDS: (usize, usize) = (4 * 1024, 1024 * 1024 * 1024);
/// Bounds of `--socket-send-buffer`; below the first the kernel would round up in silence.
pub const SOCKET_SEND_BUFFER_BOUNDS: (usize, usize) = (4 * 1024, 512 * 1024 * 1024);
/// Longest `--busy-poll`: beyond it a shard that has nothing to do never sleeps.
pub const MAX_BUSY_POLL_MICROS: usize = 10_000;
/// Bounds of `--max-head-bytes`.
pub const HEAD_BYTES_BOUNDS: (usize, usize) = (1024, 1024 * 1024);
/// Bounds of every time limit that may not be zero.
pub const TIME_LIMIT_BOUNDS: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));

/// Port of the default listeners.
pub const DEFAULT_PORT: u16 = 8080;
/// Default of `--max-message-bytes`.
pub const DEFAULT_MESSAGE_BYTES: usize = 64 * 1024;
/// Default of `--max-unsent-bytes`.
pub const DEFAULT_UNSENT_BYTES: usize = 256 * 1024;
/// Default of `--socket-send-buffer`.
pub const DEFAULT_SOCKET_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Default of `--max-head-bytes`.
pub const DEFAULT_HEAD_BYTES: usize = 16 * 1024;
/// Default of `--close-timeout`.
pub const DEFAULT_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of `--handshake-timeout`.
pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of `--ping-interval`.
pub const DEFAULT_PING_INTERVAL: Duration = Duration::from_secs(25);
/// Default of `--silence-limit`.
pub const DEFAULT_SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// Default of `--rematch-delay`.
pub const DEFAULT_REMATCH_DELAY: Duration = Duration::from_millis(800);
/// Default of `--turn-ttl`.
pub const DEFAULT_TURN_TTL: Duration = Duration::from_secs(24 * 3600);
/// Default of `--drain-timeout`.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

const _: () = {
    assert!(DEFAULT_MESSAGE_BYTES + SERVER_HEADER_BYTES <= DEFAULT_UNSENT_BYTES);
    assert!(MESSAGE_BYTES_BOUNDS.1 + SERVER_HEADER_BYTES <= UNSENT_BYTES_BOUNDS.1);
    assert!(CONTROL_PAYLOAD_BYTES <= MESSAGE_BYTES_BOUNDS.0);
    assert!(DEFAULT_PING_INTERVAL.as_nanos() < DEFAULT_SILENCE_LIMIT.as_nanos());
    assert!(MAX_DERIVED_CONNECTIONS <= MAX_CONNECTIONS);
    assert!(MAX_SHARDS <= u16::MAX as usize + 1);
    assert!(MIN_EVENT_BYTES <= RECEIVE_BUFFER_BYTES);
    assert!(COMMANDS_PER_ITERATION.is_multiple_of(COMMANDS_PER_PREFETCH));
    assert!(HEAP_ALLOCATION_BYTES < MAPPED_ALLOCATION_BYTES as usize);
    assert!(SWEEP_PERIOD_MS.is_multiple_of(SWEEP_PARTS as u64));
};
