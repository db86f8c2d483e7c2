//! Constants that express a limit, or that an operator might ask about. Private constants of an
//! implementation are next to their use. Pure. The unit is the last word of a name; where a name
//! has no unit, the constant is a count. What an operator can change is in [`crate::config`]; its
//! defaults and bounds are here.

use std::time::Duration;

// WebSocket

/// Largest payload of a control frame (RFC 6455 §5.5).
pub const CONTROL_PAYLOAD_BYTES: usize = 125;
/// Longest frame header that a server sends: two bytes and a 64-bit length (RFC 6455 §5.2).
pub const SERVER_HEADER_BYTES: usize = 10;
/// Longest frame header that a client sends: a server's and the mask key (RFC 6455 §5.2).
pub const CLIENT_HEADER_BYTES: usize = SERVER_HEADER_BYTES + 4;
/// Most fragments of one message, empty ones included.
pub const MESSAGE_FRAGMENTS: u32 = 1024;
/// Highest limit of matches per minute of one session: one in a millisecond, the unit in which the
/// bucket of a session is kept.
pub const MAX_MATCHES_PER_MINUTE: u32 = 60_000;
/// Largest message on `/echo`, independent of `--max-message-bytes`: the largest that conformance
/// suites send.
pub const ECHO_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Most fragments of one message on `/echo`.
pub const ECHO_FRAGMENTS: u32 = 100_000;

// TLS

/// Largest content of a TLS record (RFC 8446 §5.1).
pub const TLS_PLAINTEXT_BYTES: usize = 1 << 14;
/// Largest body of a protected TLS record: content, content type, padding and tag (RFC 8446 §5.2).
pub const TLS_CIPHERTEXT_BYTES: usize = TLS_PLAINTEXT_BYTES + 256;
/// Most TLS records in a row without application data, KeyUpdates not counted. Empty records hide when data is
/// sent (RFC 8446 §5.4), but each costs a decryption. OpenSSL has the same limit.
pub const TLS_EMPTY_RECORDS: u8 = 32;
/// Most KeyUpdates that a client sends without application data in between: each costs two key derivations.
/// BoringSSL and rustls have the same limit.
pub const TLS_KEY_UPDATES: u8 = 32;
/// Most bytes of TLS records that a client sends in a handshake. A ClientHello with a post-quantum key share
/// and a ticket has about 2 KiB, a Finished less than 100 bytes; up to 16 KiB of early data are discarded.
pub const TLS_HANDSHAKE_BYTES: usize = 32 * 1024;
/// Most records that a client sends in a handshake. It sends three, or more if it fragments a ClientHello.
pub const TLS_HANDSHAKE_RECORDS: u32 = 128;
/// Size of the TLS state of a connection, allocated apart from its slab entry.
pub const TLS_STATE_BYTES: usize = 128;

// Messages

/// Deepest nesting of JSON that is accepted, the outermost object included.
pub const JSON_DEPTH: usize = 100;
/// Messages that a connection may send at once under `--max-messages-per-second`, and as many state
/// changes, even if the rate is lower: an offer with all its candidates comes within a second.
pub const MESSAGE_BURST: u32 = 40;
/// Partners of a session that it does not meet again at once: those of its last rooms.
pub const RECENT_PARTNERS: usize = 3;
/// Longest queue name.
pub const QUEUE_NAME_BYTES: usize = 64;

/// Part of a client's backlog that is not for relayed messages: what the server sends without being
/// asked, such as `peer_left`, must not overfill a backlog that the partner filled.
pub const OWN_MESSAGES_BYTES: usize = 1024;

// HTTP

/// Most header fields of a request or response head.
pub const HEAD_FIELDS: usize = 100;
/// Most empty lines that may precede a request line. RFC 9112 §2.2 asks servers to ignore at least
/// one, because old clients send one after a body.
pub const LEADING_EMPTY_LINES: usize = 4;
/// While a request line is incomplete, the method is checked within this many bytes. A TLS
/// ClientHello, an SSH banner or a binary protocol is recognised in them.
pub const METHOD_CHECK_BYTES: usize = 32;
/// Longest line with the size and the extensions of a chunk, line end included, that the load
/// tester accepts in a response. A size has at most 16 digits, and extensions are rare.
pub const CHUNK_LINE_BYTES: usize = 1024;
/// Longest trailer section after the last chunk, line ends included.
pub const CHUNK_TRAILER_BYTES: usize = 16 * 1024;
/// Value of `Retry-After` when a limit or a shutdown refuses a connection.
pub const RETRY_AFTER_S: u32 = 5;

// Budgets of one iteration of an event loop. What exceeds a budget waits for the next iteration,
// so that no connection starves the others.

/// Most events that one poll returns.
pub const EVENTS_PER_POLL: usize = 1024;
/// Connections that one listener accepts in one iteration.
pub const ACCEPTS_PER_ITERATION: u32 = 64;
/// Commands that a thread takes from its mailbox in one iteration.
pub const COMMANDS_PER_ITERATION: usize = 1024;
/// Commands that the matcher prefetches before it handles the first of them. The best of 8 to 256:
/// with a million queues a command costs 61 ns, against 96 ns with 8 and 75 ns with 256.
pub const COMMANDS_PER_PREFETCH: usize = 32;
/// Commands that a batch sender adds to a mailbox before it wakes the receiver, although the batch
/// goes on: the receiver may run on another CPU.
pub const COMMANDS_PER_WAKE_UP: u32 = 64;
/// Size of the receive buffer that all connections of a shard share.
pub const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
/// Space for a message of the server to one connection, so that no buffer grows while the message
/// is written: a ping and a `match_found` without ICE servers are 145 bytes.
pub const SERVER_MESSAGE_BYTES: usize = 256;
/// Reads of one connection in one iteration. A read that fills the receive buffer is the last.
pub const READS_PER_ITERATION: u32 = 4;
/// Bytes that the events of one iteration share, and so does one round of the run list: when many
/// connections are readable, each is read a smaller part at first. The rest is read from the run
/// list.
pub const EVENT_BYTES_PER_ITERATION: usize = 512 * 1024;
/// Smallest of these shares: below it, the system call costs more than handling the bytes.
pub const MIN_EVENT_BYTES: usize = 4 * 1024;
/// Bytes read from the run list in one iteration. It bounds how long a message of a connection
/// that sends little waits for connections that send without pause.
pub const RUN_LIST_BYTES_PER_ITERATION: usize = 4 * RECEIVE_BUFFER_BYTES;
/// Connections of the run list that are read in one iteration, if each has little to read.
pub const RUN_LIST_CONNECTIONS_PER_ITERATION: usize = 64;
/// Cost of one byte from a session, in bytes of the run list's budget: its messages are parsed,
/// and answered or relayed one by one.
pub const SESSION_BYTE_COST_BYTES: usize = 4;
/// Cost of one HTTP request, in bytes of the run list's budget: its response costs more than its
/// bytes do.
pub const REQUEST_COST_BYTES: usize = 4 * 1024;
/// HTTP requests of one connection that are answered in one iteration.
pub const REQUESTS_PER_ITERATION: u32 = 16;
/// HTTP requests of all connections that are answered in one iteration, upgrades not counted.
/// Beyond that, one request of each connection is answered.
pub const TOTAL_REQUESTS_PER_ITERATION: u32 = 64;

// Accepting and ending connections

/// Port of the default listeners.
pub const DEFAULT_PORT: u16 = 8080;
/// Length of the kernel's accept queue of a listener; the kernel takes the smaller of this and
/// `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 65_535;
/// The same for a listener of `--admin-listen`.
pub const ADMIN_BACKLOG: i32 = 128;
/// Pause before the next accept when descriptors have run out.
pub const ACCEPT_RETRY_MS: u64 = 50;
/// Connections that a shard accepts from each listener when it ends, to answer them that the
/// server shuts down: a full accept queue, and as many connections that arrive meanwhile. Later
/// ones are reset with the listener, so that an endless stream of connections cannot keep the
/// process alive.
pub const SHUTDOWN_ACCEPTS: usize = 2 * LISTEN_BACKLOG as usize;
/// Connections above `--max-connections`, or above a limit of one address, whose requests are
/// still read, so that a full server answers health checks and refuses with a response. Beyond
/// that, connections are refused before anything is read.
pub const SURPLUS_CONNECTIONS: usize = 64;
/// The same for a shard with a descriptor table of its own, above the number of connections that
/// its table is meant for. The other spare descriptors are for sessions from other shards.
pub const TABLE_SURPLUS_CONNECTIONS: usize = 32;
/// Connections to `--admin-listen`, not counted in `--max-connections`. Beyond that, connections
/// are refused before anything is read.
pub const ADMIN_CONNECTIONS: usize = 64;
/// Addresses for which new connections within a second are counted; they take 2 MiB.
pub const TRACKED_ADDRESSES: usize = 64 * 1024;
/// Partitions of the addresses of clients, each with a lock of its own.
pub const ADDRESS_PARTITIONS: usize = 64;
/// Connections that one browser opens to load the page and open a session. A smaller limit of one
/// address refuses ordinary users.
pub const BROWSER_CONNECTIONS: u32 = 8;
/// At least the bytes of all pings that a client is sent before it is closed or withheld because it
/// has not answered them: one with `match_found`, and two in each of two liveness windows. If more
/// bytes are unacknowledged, others are ahead of the pings.
pub const LIVENESS_PINGS_BYTES: usize = 16;
/// The age of a client's progress is this precise: the kernel counts in ticks of up to 10 ms.
pub const PROGRESS_AGE_PRECISION_MS: u32 = 20;
/// Connections of one part of the table that are remembered for eviction at a full server: idle HTTP
/// connections, and sessions whose clients owe an answer to a ping. A sweep pings each session that it
/// adds, also if another one displaces it.
pub const SUSPECTS_PER_PART: usize = 16;
/// Idle HTTP connections that are closed for one refused connection, if so many are above the limit:
/// those that one browser opens.
pub const IDLE_EVICTIONS_PER_REFUSAL: usize = BROWSER_CONNECTIONS as usize;
/// Evicted sessions of a shard whose connections still linger, and no longer count as connections.
/// Beyond that the shard evicts no more until some have ended.
pub const LINGERING_EVICTIONS: usize = 64;
/// Contended addresses that are remembered: connections from them were refused.
pub const CONTENDED_ADDRESSES: usize = 64;
/// How long an address is contended after the last refusal of a connection from it: longer than a
/// client that was refused waits before it tries again.
pub const CONTENTION_TIME: Duration = Duration::from_secs(30);
/// Bytes that are read and dropped after a Close frame or a refusal, before the connection is
/// closed.
pub const LINGER_BYTES: u32 = 1024 * 1024;
/// Close timeouts after which a connection ends whose last HTTP response its client still takes,
/// however slowly: a minute with the default.
pub const RESPONSE_CLOSE_TIMEOUTS: u32 = 12;

// Memory

/// Size of a connection's slab entry: what an idle plain connection costs.
pub const CONNECTION_ENTRY_BYTES: usize = 64;
/// Most that an idle plain connection may cost where the rate of its messages is limited.
pub const LIMITED_CONNECTION_BYTES: usize = 80;
/// Allocations of at least this size get pages of their own (`M_MMAP_THRESHOLD`, mallopt(3)), and
/// untouched pages cost nothing. So large partial messages cost what has arrived of them, however
/// many grow at once.
pub const MAPPED_ALLOCATION_BYTES: u32 = 8 * 1024;
/// A partial message that grows beyond this size moves to an allocation with pages of its own.
pub const PARTIAL_MESSAGE_HEAP_BYTES: usize = 1024;
/// Room identifiers that a shard caches.
pub const CACHED_ROOM_TOKENS: usize = 1024;
/// Size of a cached room identifier, together with the room's number.
pub const CACHED_ROOM_TOKEN_BYTES: usize = 32;

// Timers

/// Time between two sweeps of the same connection; shorter if a time limit requires it.
pub const SWEEP_PERIOD_MS: u64 = 1000;
/// Shortest time between two sweeps of the same connection.
pub const MIN_SWEEP_PERIOD_MS: u64 = 50;
/// Parts of the slab, one of which is swept at a time, so that no iteration sweeps everything.
// guard: a sweep looks at a part of the connections [value 1]
pub const SWEEP_PARTS: usize = 10;
/// Neighbouring slots in the same part: 1 KiB of slab entries, which are read sequentially.
pub const SWEEP_BLOCK: usize = 16;
/// When a session could not migrate to its partner, the two are not paired again for this time if
/// that can be avoided.
pub const REJECTED_MIGRATION_DELAY_MS: u64 = 50;
/// After this time a room has half its weight in the expected wait of its queue.
pub const EXPECTED_WAIT_HALF_LIFE: Duration = Duration::from_secs(60);
/// After this time without a room, nothing is said about the expected wait of a queue.
pub const EXPECTED_WAIT_MEMORY: Duration = Duration::from_secs(600);
/// Longest expected wait that clients are told.
pub const MAX_EXPECTED_WAIT: Duration = Duration::from_secs(3600);
/// Shortest time between two log lines for the same reason.
pub const LOG_THROTTLE_PERIOD_S: u64 = 60;

// Logging and shutdown

/// Time that `--health-check` waits for a connection, and then for the answer. A supervisor's own
/// limit is longer (Docker's default is 30 s).
pub const HEALTH_CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Log lines that may wait to be written. No line contains bytes from a client, so all are short.
pub const LOG_QUEUE_LINES: usize = 4096;
/// Longest wait for the last log lines to be written. After it the process ends without them.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// A second SIGINT or SIGTERM ends the process at once, unless it follows the first within this time:
/// a terminal and a wrapper may both pass on one Ctrl-C.
pub const REPEATED_SIGNAL_TIME: Duration = Duration::from_secs(1);
/// How often the main thread checks whether all connections have ended while the server drains.
pub const DRAIN_CHECK_PERIOD: Duration = Duration::from_millis(20);
/// Longest wait for the shards to close their connections after a second signal.
pub const IMMEDIATE_CLOSE_TIME: Duration = Duration::from_millis(250);
/// The port stays open for at least this long after the signal, so that a health check sees
/// `draining` even if there are no connections.
pub const MIN_DRAIN_TIME: Duration = Duration::from_secs(1);

// Bounds of what an operator may configure

/// Most shards.
pub const MAX_SHARDS: usize = 1024;
/// Most queues whose figures `/stats` and `/metrics` show.
pub const MAX_STATS_QUEUES: usize = 64;
/// Most origins of `--allow-origin`, and most networks of `--trusted-proxy`: every upgrade is
/// compared with each.
pub const MAX_ACCESS_LIST_ENTRIES: usize = 256;
/// Most addresses that the process listens on.
pub const MAX_LISTEN_ADDRESSES: usize = 64;
/// Largest `--max-connections`.
pub const MAX_CONNECTIONS: u32 = 1 << 26;
/// Largest limit that is derived when `--max-connections` is not given, however many descriptors
/// are available: each shard reserves address space for all of them.
pub const MAX_DERIVED_CONNECTIONS: u32 = 1 << 20;
/// Longest `--busy-poll`, in microseconds: with more, an idle shard would never sleep.
pub const MAX_BUSY_POLL_MICROS: usize = 10_000;
/// Smallest and largest `--max-message-bytes`.
pub const MESSAGE_BYTES_BOUNDS: (usize, usize) = (1024, 16 * 1024 * 1024);
/// Smallest and largest `--max-unsent-bytes`.
pub const UNSENT_BYTES_BOUNDS: (usize, usize) = (4 * 1024, 1024 * 1024 * 1024);
/// Smallest and largest `--socket-send-buffer`, in bytes; the kernel rounds smaller values up
/// without an error (socket(7)).
pub const SOCKET_SEND_BUFFER_BOUNDS: (usize, usize) = (4 * 1024, 512 * 1024 * 1024);
/// Smallest and largest `--max-head-bytes`.
pub const HEAD_BYTES_BOUNDS: (usize, usize) = (1024, 1024 * 1024);
/// Shortest and longest value of a time limit that cannot be turned off.
pub const TIME_LIMIT_BOUNDS: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
/// Shortest `--liveness-window` that is not 0: a waiting client is pinged after half of it, which is
/// the shortest period of a sweep.
pub const MIN_LIVENESS_WINDOW: Duration = Duration::from_millis(2 * MIN_SWEEP_PERIOD_MS);
/// Shortest and longest `--turn-ttl` and `--turn-match-ttl`. A credential must live long enough for a
/// call to begin, and a year is longer than any session.
pub const TURN_TTL_BOUNDS: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(366 * 24 * 3600));

/// Descriptors of a shard beside its listeners and connections: three for poll, waker and reserve;
/// the others are for refused connections that linger until their response has arrived.
pub const DESCRIPTORS_PER_SHARD: u64 = 16;
/// Descriptors for each shard of the process in the descriptor table of a shard that has one of
/// its own: copies of the shard's poll and waker, and the handle for duplicating sockets from it.
pub const DESCRIPTORS_PER_PEER: u64 = 3;
/// Descriptors of the process beside its shards: standard streams, signals, the matcher, files
/// under `/proc`, and a reserve for attached tools.
pub const DESCRIPTORS_PER_PROCESS: u64 = 64;

// Defaults

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
/// Default of `--idle-timeout`: longer than the 60 s for which load balancers keep a connection by
/// default. One that closes later than the server may send a request that meets the close.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Default of `--ping-interval`.
pub const DEFAULT_PING_INTERVAL: Duration = Duration::from_secs(25);
/// Default of `--silence-limit`.
pub const DEFAULT_SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// Default of `--liveness-window`.
pub const DEFAULT_LIVENESS_WINDOW: Duration = Duration::from_secs(5);
/// Default of `--message-timeout`.
pub const DEFAULT_MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Default of `--rematch-delay`.
pub const DEFAULT_REMATCH_DELAY: Duration = Duration::from_millis(800);
/// Default of `--turn-ttl`.
pub const DEFAULT_TURN_TTL: Duration = Duration::from_secs(24 * 3600);
/// Default of `--turn-match-ttl`. A TURN server may refuse to refresh the allocation of a call whose
/// password has ended, so it is longer than nearly all calls.
pub const DEFAULT_TURN_MATCH_TTL: Duration = Duration::from_secs(3600);
/// Default of `--drain-timeout`.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

const fn is_within(value: usize, bounds: (usize, usize)) -> bool {
    bounds.0 <= value && value <= bounds.1
}

const fn is_time_within(value: Duration, bounds: (Duration, Duration)) -> bool {
    bounds.0.as_nanos() <= value.as_nanos() && value.as_nanos() <= bounds.1.as_nanos()
}

/// Relations that the code relies on.
const _: () = {
    // Each match costs a session a millisecond or more.
    assert!(60_000 / MAX_MATCHES_PER_MINUTE >= 1);
    // A message that is accepted fits into the backlog of its receiver.
    assert!(DEFAULT_MESSAGE_BYTES + SERVER_HEADER_BYTES <= DEFAULT_UNSENT_BYTES);
    assert!(MESSAGE_BYTES_BOUNDS.1 + SERVER_HEADER_BYTES <= UNSENT_BYTES_BOUNDS.1);
    assert!(CONTROL_PAYLOAD_BYTES <= MESSAGE_BYTES_BOUNDS.0);
    assert!(ECHO_MESSAGE_BYTES <= MESSAGE_BYTES_BOUNDS.1 && MESSAGE_FRAGMENTS <= ECHO_FRAGMENTS);
    assert!(CHUNK_LINE_BYTES <= CHUNK_TRAILER_BYTES);
    assert!(2 * LEADING_EMPTY_LINES + METHOD_CHECK_BYTES <= HEAD_BYTES_BOUNDS.0);

    assert!(COMMANDS_PER_ITERATION.is_multiple_of(COMMANDS_PER_PREFETCH));
    assert!(COMMANDS_PER_WAKE_UP as usize <= COMMANDS_PER_ITERATION);
    assert!(MIN_EVENT_BYTES <= RECEIVE_BUFFER_BYTES);
    assert!(RECEIVE_BUFFER_BYTES <= EVENT_BYTES_PER_ITERATION);
    assert!(REQUESTS_PER_ITERATION <= TOTAL_REQUESTS_PER_ITERATION);
    assert!(TABLE_SURPLUS_CONNECTIONS <= SURPLUS_CONNECTIONS);
    assert!(ADMIN_BACKLOG <= LISTEN_BACKLOG);
    assert!(CONTENTION_TIME.as_secs() > RETRY_AFTER_S as u64);

    assert!(PARTIAL_MESSAGE_HEAP_BYTES < MAPPED_ALLOCATION_BYTES as usize);
    assert!(SWEEP_BLOCK * CONNECTION_ENTRY_BYTES == 1024);
    assert!(SWEEP_PERIOD_MS.is_multiple_of(SWEEP_PARTS as u64));
    assert!(MIN_SWEEP_PERIOD_MS <= SWEEP_PERIOD_MS);

    assert!(EXPECTED_WAIT_HALF_LIFE.as_nanos() < EXPECTED_WAIT_MEMORY.as_nanos());
    assert!(EXPECTED_WAIT_MEMORY.as_nanos() <= MAX_EXPECTED_WAIT.as_nanos());

    assert!(MAX_DERIVED_CONNECTIONS <= MAX_CONNECTIONS);
    // Shard numbers are of 16 bits (`ShardId`).
    assert!(MAX_SHARDS <= u16::MAX as usize + 1);
    assert!(is_within(DEFAULT_MESSAGE_BYTES, MESSAGE_BYTES_BOUNDS));
    assert!(is_within(DEFAULT_UNSENT_BYTES, UNSENT_BYTES_BOUNDS));
    assert!(is_within(DEFAULT_SOCKET_SEND_BUFFER_BYTES, SOCKET_SEND_BUFFER_BOUNDS));
    assert!(is_within(DEFAULT_HEAD_BYTES, HEAD_BYTES_BOUNDS));
    assert!(is_time_within(DEFAULT_CLOSE_TIMEOUT, TIME_LIMIT_BOUNDS));
    // The whole time of the last response is counted in 32 bits.
    assert!(
        TIME_LIMIT_BOUNDS.1.as_millis() * (RESPONSE_CLOSE_TIMEOUTS as u128) < u32::MAX as u128 / 2
    );
    assert!(is_time_within(DEFAULT_HANDSHAKE_TIMEOUT, TIME_LIMIT_BOUNDS));
    assert!(is_time_within(DEFAULT_IDLE_TIMEOUT, TIME_LIMIT_BOUNDS));
    assert!(is_time_within(DEFAULT_SILENCE_LIMIT, TIME_LIMIT_BOUNDS));
    assert!(is_time_within(DEFAULT_LIVENESS_WINDOW, (MIN_LIVENESS_WINDOW, TIME_LIMIT_BOUNDS.1)));
    assert!(DEFAULT_LIVENESS_WINDOW.as_nanos() * 2 < DEFAULT_SILENCE_LIMIT.as_nanos());
    assert!(is_time_within(DEFAULT_DRAIN_TIMEOUT, TIME_LIMIT_BOUNDS));
    assert!(is_time_within(DEFAULT_TURN_TTL, TURN_TTL_BOUNDS));
    assert!(is_time_within(DEFAULT_TURN_MATCH_TTL, TURN_TTL_BOUNDS));
    assert!(DEFAULT_PING_INTERVAL.as_nanos() < DEFAULT_SILENCE_LIMIT.as_nanos());
};
