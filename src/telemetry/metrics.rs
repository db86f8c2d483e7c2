//! `/metrics` in Prometheus' text format 0.0.4, and its documentation, from one table. Pure.
//!
//! Names follow Prometheus' rules: base units, `_total` for counters. A label is a shard's number, a
//! reason from a closed set, or a queue that the operator named; never a user, a room or an address.

use super::Telemetry;
use super::counter::{Label, LabelledFigures};
use super::counters::ShardFigures;
use super::histogram::HistogramFigures;
use std::fmt::{self, Display, Write};
use std::time::Duration;

/// The `Content-Type` of [`metrics_text`].
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric family.
struct MetricFamily {
    name: &'static str,
    help: &'static str,
    source: MetricSource,
}

/// How the values of a family are read, which also decides its type and its label.
enum MetricSource {
    Counter(fn(&MetricsSnapshot<'_>) -> f64),
    Gauge(fn(&MetricsSnapshot<'_>) -> f64),
    /// A gauge that is omitted while its value is unknown.
    MaybeGauge(fn(&MetricsSnapshot<'_>) -> Option<u64>),
    CounterByShard(fn(&ShardFigures) -> f64),
    GaugeByShard(fn(&ShardFigures) -> f64),
    /// A counter with one label, of this name.
    CounterBy(&'static str, fn(&ShardFigures) -> Vec<(&'static str, u64)>),
    WaitingByQueue,
    Version,
    Histogram(&'static [Duration], for<'a> fn(&'a MetricsSnapshot<'a>) -> &'a HistogramFigures),
}

/// The values of one rendering.
struct MetricsSnapshot<'a> {
    telemetry: &'a Telemetry,
    shards: Vec<ShardFigures>,
    totals: ShardFigures,
    matcher_iteration: HistogramFigures,
}

/// Bounds for waits of users: 1 ms to 10 minutes.
const WAIT_BOUNDS: &[Duration] = &[
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(600),
];

/// Bounds for work within the process: 5 µs to 1 s.
const WORK_BOUNDS: &[Duration] = &[
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

const fn family(name: &'static str, help: &'static str, source: MetricSource) -> MetricFamily {
    MetricFamily { name, help, source }
}

fn pairs<L: Label>(figures: &LabelledFigures<L>) -> Vec<(&'static str, u64)> {
    figures.named().collect()
}

/// Every family, in the order of the output.
const FAMILIES: &[MetricFamily] = &[
    family(
        "websocket_active_connections",
        "Open WebSocket sessions.",
        MetricSource::Gauge(|view| view.totals.sessions as f64),
    ),
    family(
        "matchmaking_duration_seconds",
        "Time from find_match to match_found, for each of the two matched users.",
        MetricSource::Histogram(WAIT_BOUNDS, |view| &view.totals.match_wait),
    ),
    family("switchboard_build_info", "Always 1; the label is the version.", MetricSource::Version),
    family(
        "switchboard_draining",
        "1 while the server is shutting down, 0 otherwise.",
        MetricSource::Gauge(|view| view.telemetry.draining.get() as f64),
    ),
    family(
        "switchboard_stalled_threads",
        "Threads (shards and the matcher) whose event loop is stalled.",
        MetricSource::Gauge(|view| view.telemetry.stalled_threads.get() as f64),
    ),
    family(
        "switchboard_connections",
        "Open connections, HTTP and WebSocket.",
        MetricSource::GaugeByShard(|shard| shard.connections as f64),
    ),
    family(
        "switchboard_max_connections",
        "Limit of open connections (--max-connections).",
        MetricSource::Gauge(|view| f64::from(view.telemetry.about.max_connections)),
    ),
    family(
        "switchboard_connections_accepted_total",
        "Connections accepted.",
        MetricSource::CounterByShard(|shard| shard.accepted as f64),
    ),
    family(
        "switchboard_connections_closed_total",
        "Connections closed, by reason.",
        MetricSource::CounterBy("reason", |totals| pairs(&totals.closed)),
    ),
    family(
        "switchboard_close_timeouts_total",
        "Connections reset because the client had not closed them within --close-timeout.",
        MetricSource::Counter(|view| view.totals.close_timeouts as f64),
    ),
    family(
        "switchboard_unacknowledged_resets_total",
        "Connections reset at their end because the client had not acknowledged what it was sent.",
        MetricSource::Counter(|view| view.totals.unacknowledged_resets as f64),
    ),
    family(
        "switchboard_accept_errors_total",
        "Failed calls of accept(2).",
        MetricSource::Counter(|view| view.totals.accept_errors as f64),
    ),
    family(
        "switchboard_accept_paused_shards",
        "Shards on which accepting is paused because file descriptors have run out.",
        MetricSource::Gauge(|view| view.totals.accept_paused as f64),
    ),
    family(
        "switchboard_sessions_opened_total",
        "WebSocket sessions opened.",
        MetricSource::Counter(|view| view.totals.sessions_opened as f64),
    ),
    family(
        "switchboard_http_requests_total",
        "HTTP requests answered, including upgrades and refusals.",
        MetricSource::Counter(|view| view.totals.http_requests as f64),
    ),
    family(
        "switchboard_http_rejected_total",
        "HTTP requests refused, by reason.",
        MetricSource::CounterBy("reason", |totals| pairs(&totals.rejected)),
    ),
    family(
        "switchboard_reloads_total",
        "Times that SIGHUP replaced the settings that come from files.",
        MetricSource::Counter(|view| view.telemetry.reloads.get() as f64),
    ),
    family(
        "switchboard_reload_failures_total",
        "Times that SIGHUP left the settings in force, because a file could not be used.",
        MetricSource::Counter(|view| view.telemetry.reload_failures.get() as f64),
    ),
    family(
        "switchboard_log_lines_dropped_total",
        "Log lines dropped because standard error was blocked and the queue was full.",
        MetricSource::Counter(|view| view.telemetry.log_lines_dropped.get() as f64),
    ),
    family(
        "switchboard_waiting_users",
        "Users waiting for a partner.",
        MetricSource::Gauge(|view| view.totals.waiting as f64),
    ),
    family(
        "switchboard_queue_waiting_users",
        "Users waiting for a partner, for each queue of --stats-queue.",
        MetricSource::WaitingByQueue,
    ),
    family(
        "switchboard_queues",
        "Queues with at least one waiting user.",
        MetricSource::Gauge(|view| view.telemetry.matcher.queues.get() as f64),
    ),
    family(
        "switchboard_active_rooms",
        "Open rooms.",
        MetricSource::Gauge(|view| view.totals.rooms as f64),
    ),
    family(
        "switchboard_matches_total",
        "Rooms created.",
        MetricSource::Counter(|view| view.totals.matches as f64),
    ),
    family(
        "switchboard_matches_failed_total",
        "Pairings that created no room because one of the two users had left or was silent.",
        MetricSource::Counter(|view| view.totals.matches_failed as f64),
    ),
    family(
        "switchboard_match_requests_withheld_total",
        "Times that a waiting user was withheld from matching, silent for --liveness-window.",
        MetricSource::Counter(|view| view.totals.match_requests_withheld as f64),
    ),
    family(
        "switchboard_pings_sent_total",
        "Ping frames sent to clients.",
        MetricSource::Counter(|view| view.totals.pings_sent as f64),
    ),
    family(
        "switchboard_probes_sent_total",
        "Of the ping frames, those that look for dead connections while connections are refused.",
        MetricSource::Counter(|view| view.totals.probes_sent as f64),
    ),
    family(
        "switchboard_matcher_commands_total",
        "Commands that the matcher received from the shards.",
        MetricSource::Counter(|view| view.telemetry.matcher.commands.get() as f64),
    ),
    family(
        "switchboard_migrations_out_total",
        "Sessions that migrated from this shard to another.",
        MetricSource::CounterByShard(|shard| shard.migrated_out as f64),
    ),
    family(
        "switchboard_migrations_in_total",
        "Sessions that migrated from another shard to this one.",
        MetricSource::CounterByShard(|shard| shard.migrated_in as f64),
    ),
    family(
        "switchboard_migrations_in_flight",
        "Sessions sent to another shard that has not acknowledged them yet.",
        MetricSource::Gauge(|view| view.totals.migrations_in_flight as f64),
    ),
    family(
        "switchboard_migrations_rejected_total",
        "Migrations that the receiving shard rejected for lack of descriptors or memory.",
        MetricSource::CounterByShard(|shard| shard.migrations_rejected as f64),
    ),
    family(
        "switchboard_messages_received_total",
        "Messages received from clients, including those that were refused.",
        MetricSource::Counter(|view| view.totals.messages_received as f64),
    ),
    family(
        "switchboard_messages_relayed_total",
        "Messages relayed to the other member of a room.",
        MetricSource::CounterByShard(|shard| shard.messages_relayed as f64),
    ),
    family(
        "switchboard_messages_dropped_total",
        "Messages dropped because they exceeded --max-messages-per-second.",
        MetricSource::Counter(|view| view.totals.messages_dropped as f64),
    ),
    family(
        "switchboard_message_errors_total",
        "Messages answered with an error, by error code.",
        MetricSource::CounterBy("code", |totals| pairs(&totals.errors)),
    ),
    family(
        "switchboard_relayed_bytes_total",
        "Payload bytes of relayed messages.",
        MetricSource::Counter(|view| view.totals.bytes_relayed as f64),
    ),
    family(
        "switchboard_wire_received_bytes_total",
        "Bytes received from sockets.",
        MetricSource::Counter(|view| view.totals.wire_bytes_received as f64),
    ),
    family(
        "switchboard_wire_sent_bytes_total",
        "Bytes sent to sockets.",
        MetricSource::Counter(|view| view.totals.wire_bytes_sent as f64),
    ),
    family(
        "switchboard_unsent_bytes",
        "Bytes queued for clients because their sockets have not accepted them yet.",
        MetricSource::Gauge(|view| view.totals.unsent_bytes as f64),
    ),
    family(
        "switchboard_held_bytes",
        "Bytes of messages and request heads that have arrived only in part.",
        MetricSource::Gauge(|view| view.totals.held_bytes as f64),
    ),
    family(
        "switchboard_relay_duration_seconds",
        "Time from the poll that reported a message to the end of the send that relayed it.",
        MetricSource::Histogram(WORK_BOUNDS, |view| &view.totals.relay_time),
    ),
    family(
        "switchboard_loop_iteration_duration_seconds",
        "Duration of an iteration of a shard's event loop, without the time in poll.",
        MetricSource::Histogram(WORK_BOUNDS, |view| &view.totals.iteration_time),
    ),
    family(
        "switchboard_matcher_iteration_duration_seconds",
        "Duration of an iteration of the matcher's event loop, without the time in poll.",
        MetricSource::Histogram(WORK_BOUNDS, |view| &view.matcher_iteration),
    ),
    family(
        "switchboard_loop_iterations_total",
        "Iterations of a shard's event loop.",
        MetricSource::CounterByShard(|shard| shard.iterations as f64),
    ),
    family(
        "switchboard_shard_cpu_seconds_total",
        "CPU time of a shard's thread.",
        MetricSource::CounterByShard(|shard| shard.cpu_nanos as f64 / 1e9),
    ),
    family(
        "process_cpu_seconds_total",
        "CPU time of the process, user and system.",
        MetricSource::Counter(|view| {
            let process = view.telemetry.sample.process();
            (process.cpu_user + process.cpu_system).as_secs_f64()
        }),
    ),
    family(
        "process_resident_memory_bytes",
        "Resident memory of the process.",
        MetricSource::MaybeGauge(|view| view.telemetry.sample.process().resident_bytes),
    ),
    family(
        "process_virtual_memory_bytes",
        "Virtual memory of the process.",
        MetricSource::MaybeGauge(|view| view.telemetry.sample.process().virtual_bytes),
    ),
    family(
        "process_open_fds",
        "Open file descriptors of the process, in all its descriptor tables.",
        MetricSource::MaybeGauge(|view| view.telemetry.sample.process().descriptors),
    ),
    family(
        "process_max_fds",
        "Limit of open file descriptors, in all descriptor tables.",
        MetricSource::Gauge(|view| view.telemetry.about.descriptors_of_all_tables() as f64),
    ),
    family(
        "switchboard_table_open_fds",
        "Open file descriptors in the fullest descriptor table (--fd-tables).",
        MetricSource::MaybeGauge(|view| view.telemetry.sample.fullest_table()),
    ),
    family(
        "switchboard_table_max_fds",
        "Limit of open file descriptors in one descriptor table.",
        MetricSource::Gauge(|view| view.telemetry.about.descriptors_allowed as f64),
    ),
    family(
        "process_threads",
        "Threads of the process.",
        MetricSource::MaybeGauge(|view| view.telemetry.sample.process().threads),
    ),
    family(
        "process_start_time_seconds",
        "Start time of the process in seconds since the Unix epoch.",
        MetricSource::Gauge(|view| view.telemetry.about.started_unix.as_secs_f64()),
    ),
];

impl MetricSource {
    fn kind(&self) -> &'static str {
        match self {
            MetricSource::Counter(_)
            | MetricSource::CounterByShard(_)
            | MetricSource::CounterBy(..) => "counter",
            MetricSource::Gauge(_)
            | MetricSource::MaybeGauge(_)
            | MetricSource::GaugeByShard(_)
            | MetricSource::WaitingByQueue
            | MetricSource::Version => "gauge",
            MetricSource::Histogram(..) => "histogram",
        }
    }

    fn label(&self) -> &'static str {
        match self {
            MetricSource::Counter(_) | MetricSource::Gauge(_) | MetricSource::MaybeGauge(_) => "",
            MetricSource::CounterByShard(_) | MetricSource::GaugeByShard(_) => "shard",
            MetricSource::CounterBy(label, _) => label,
            MetricSource::WaitingByQueue => "queue",
            MetricSource::Version => "version",
            MetricSource::Histogram(..) => "le",
        }
    }
}

/// The body of `GET /metrics`.
pub fn metrics_text(telemetry: &Telemetry) -> Vec<u8> {
    let (shards, totals) = telemetry.figures();
    let matcher_iteration = telemetry.matcher.iteration_time.read();
    let view = MetricsSnapshot { telemetry, shards, totals, matcher_iteration };
    let mut text = String::with_capacity(16 * 1024);
    for family in FAMILIES {
        write_family(&mut text, family, &view).expect("because writing to a string cannot fail");
    }
    text.into_bytes()
}

/// All families as a Markdown table: name, type, label, meaning. Ends with a newline.
pub fn metrics_table() -> String {
    let mut table = String::from("| name | type | label | meaning |\n| --- | --- | --- | --- |\n");
    for MetricFamily { name, help, source } in FAMILIES {
        let label = match source.label() {
            "" => "–".to_owned(),
            label => format!("`{label}`"),
        };
        writeln!(table, "| `{name}` | {} | {label} | {help} |", source.kind())
            .expect("because writing to a string cannot fail");
    }
    table
}

fn write_family(
    text: &mut String,
    family: &MetricFamily,
    view: &MetricsSnapshot<'_>,
) -> fmt::Result {
    let MetricFamily { name, help, source } = family;
    writeln!(text, "# HELP {name} {help}")?;
    writeln!(text, "# TYPE {name} {}", source.kind())?;
    let label = source.label();
    match source {
        MetricSource::Counter(value) | MetricSource::Gauge(value) => {
            writeln!(text, "{name} {}", value(view))
        }
        MetricSource::MaybeGauge(value) => match value(view) {
            Some(value) => writeln!(text, "{name} {value}"),
            None => Ok(()),
        },
        MetricSource::CounterByShard(value) | MetricSource::GaugeByShard(value) => view
            .shards
            .iter()
            .enumerate()
            .try_for_each(|(nth, shard)| write_labelled(text, name, label, nth, value(shard))),
        MetricSource::CounterBy(_, values) => values(&view.totals)
            .into_iter()
            .try_for_each(|(reason, count)| write_labelled(text, name, label, reason, count)),
        MetricSource::WaitingByQueue => view
            .telemetry
            .about
            .stats_queues
            .iter()
            .zip(&view.totals.waiting_by_queue)
            .try_for_each(|(queue, waiting)| write_labelled(text, name, label, queue, waiting)),
        MetricSource::Version => write_labelled(text, name, label, view.telemetry.about.version, 1),
        MetricSource::Histogram(bounds, figures) => {
            write_histogram(text, name, bounds, figures(view))
        }
    }
}

/// Label values need no escaping: they are numbers, fixed names, a version, and queue names, which
/// contain neither quotes nor backslashes by rule.
fn write_labelled(
    text: &mut String,
    name: &str,
    label: &str,
    label_value: impl Display,
    value: impl Display,
) -> fmt::Result {
    writeln!(text, "{name}{{{label}=\"{label_value}\"}} {value}")
}

fn write_histogram(
    text: &mut String,
    name: &str,
    bounds: &[Duration],
    figures: &HistogramFigures,
) -> fmt::Result {
    for (bound, count) in bounds.iter().zip(figures.cumulative(bounds)) {
        writeln!(text, "{name}_bucket{{le=\"{}\"}} {count}", bound.as_secs_f64())?;
    }
    let count = figures.count();
    writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}")?;
    writeln!(text, "{name}_sum {}", figures.sum().as_secs_f64())?;
    writeln!(text, "{name}_count {count}")
}

#[cfg(test)]
mod tests;
