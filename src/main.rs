//! `switchboard`: reads the arguments, runs the server, returns the exit status.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;
use switchboard::config::{
    Arguments, Config, DescriptorTables, EarlyExit, LogFormat, MachineCapabilities, SessionLog,
    UnknownVariable, all_values, unknown_variables,
};
use switchboard::health_check;
use switchboard::limits;
use switchboard::logging::LogQueue;
use switchboard::preflight::{self, CapacityDemand, PlannedServer};
use switchboard::server::{self, Server, ServerExit};
use switchboard::sys::descriptor_tables::PrivateTableSupport;
use switchboard::sys::{machine, memory};
use switchboard::telemetry::{SessionCounts, Telemetry};

/// Exit status: wrong usage, such as an unknown flag or settings that contradict each other.
const USAGE: u8 = 2;
/// Exit status: the server could not start, or ended without a signal.
const FAILURE: u8 = 1;
/// Exit status after a second signal: the shell's number for a process ended by SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(EarlyExit::Help(text)) => return print_text(&text, ExitCode::SUCCESS),
        Err(EarlyExit::UsageError(line)) => return fail(USAGE, &line),
    };
    if let Some(connections) = arguments.monitoring.check {
        return check(connections, &arguments);
    }
    let machine = match MachineCapabilities::prepare() {
        Ok(machine) => machine,
        Err(error) => {
            return fail(FAILURE, &format!("cannot raise the limit of open files: {error}"));
        }
    };
    let config = match arguments.validate(&machine) {
        Ok(config) => config,
        Err(error) => return fail(USAGE, &arguments.explain(&error)),
    };
    if arguments.monitoring.health_check {
        return match health_check::check(config.listen[0]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(FAILURE, &error.to_string()),
        };
    }
    let log = match LogQueue::start(config.log_format) {
        Ok(log) => log,
        Err(error) => return fail(FAILURE, &format!("cannot start the log: {error}")),
    };
    log.install_panic_hook();
    init_tracing(&log, &config);
    log_doubtful_settings(&config, &arguments);
    let status = match arguments.monitoring.check_config {
        true => check_config(&config, &arguments, &log),
        false => serve(&config, &arguments, &log),
    };
    log.flush();
    status
}

/// Prints the result of `--check-config`. The settings are valid so far; what they name may not be.
fn check_config(config: &Config, arguments: &Arguments, log: &LogQueue) -> ExitCode {
    match server::check_files(config) {
        Ok(()) => print_text(&"ok\n", ExitCode::SUCCESS),
        Err(error) => {
            log.write_error(&arguments.explain(&error));
            ExitCode::from(USAGE)
        }
    }
}

/// Runs the server until it ends. From here on all output goes through the log queue, which never
/// blocks the caller.
fn serve(config: &Config, arguments: &Arguments, log: &LogQueue) -> ExitCode {
    // Without this setting (other C libraries) the server only needs more memory.
    let _is_set = memory::set_mmap_threshold(limits::MAPPED_ALLOCATION_BYTES);
    let server = match Server::start(config) {
        Ok(server) => server,
        Err(error) => {
            log.write_error(&arguments.explain(&error));
            return ExitCode::from(FAILURE);
        }
    };
    log_startup(config, &server);
    let telemetry = server.telemetry();
    match server.run() {
        Ok(ServerExit::Graceful) => {
            log_summary(&telemetry);
            ExitCode::SUCCESS
        }
        Ok(ServerExit::Immediate) => {
            let SessionCounts { sessions, waiting, rooms } = telemetry.session_counts();
            tracing::warn!(sessions, waiting, rooms, "ended at once: a second signal was received");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            log.write_error(&error.to_string());
            ExitCode::from(FAILURE)
        }
    }
}

/// Prints the report of `--check`.
fn check(connections: u32, arguments: &Arguments) -> ExitCode {
    let readings = machine::read();
    let server = PlannedServer {
        shards: arguments.listening.shards.unwrap_or(readings.cpus),
        addresses: all_values(&arguments.listening.listen).len(),
        admin_addresses: all_values(&arguments.listening.admin_listen).len(),
        fd_tables: arguments.limits.fd_tables,
        max_connections: arguments.limits.max_connections,
    };
    let demand = CapacityDemand::new(connections, &server, &readings);
    let report = preflight::report(&readings, &demand);
    let status = if report.is_short() { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS };
    print_text(&report, status)
}

/// Prints to standard output and returns `status`. A reader that has closed the pipe has read as much as
/// it wanted, so the status is the same (`print!` would panic); any other error is a failure.
fn print_text(text: &dyn Display, status: ExitCode) -> ExitCode {
    let mut output = std::io::stdout().lock();
    match write!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(FAILURE, &format!("cannot write to standard output: {error}"))
        }
        _written_or_closed => status,
    }
}

/// Prints one line to standard error, if it can be written, and returns the exit status.
fn fail(status: u8, line: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "switchboard: {line}");
    ExitCode::from(status)
}

fn init_tracing(log: &LogQueue, config: &Config) {
    let builder = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_target(false)
        .with_max_level(config.log_level);
    match config.log_format {
        LogFormat::Text => {
            use std::io::IsTerminal as _;
            builder.with_ansi(std::io::stderr().is_terminal()).init();
        }
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

fn log_startup(config: &Config, server: &Server) {
    for address in server.addresses() {
        tracing::info!("listening on {address}");
    }
    for address in server.admin_addresses() {
        tracing::info!("/stats and /metrics are at {address}");
    }
    let limit = config.descriptors_allowed;
    match (config.descriptor_tables, config.private_table_support) {
        (DescriptorTables::Private { connections_each }, _) => tracing::info!(
            "each shard has its own descriptor table of {limit}, for {connections_each} connections"
        ),
        (DescriptorTables::Shared, PrivateTableSupport::Supported) => {
            tracing::info!("one descriptor table of {limit} for all threads");
        }
        (DescriptorTables::Shared, PrivateTableSupport::Missing(call)) => tracing::info!(
            "one descriptor table of {limit} for all threads; private tables are not available: \
             {call} does not work here"
        ),
    }
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(
        shards = config.shards,
        pinned = config.pin,
        max_connections = config.limits.max_connections,
        open_files_limit = config.descriptors_allowed,
        "switchboard {version}"
    );
    let local = server.addresses().iter().find(|a| a.ip().is_unspecified() || a.ip().is_loopback());
    if let Some(address) = local {
        let port = address.port();
        tracing::info!("open http://localhost:{port} in two tabs to talk to yourself");
    }
}

/// Warns of settings that are valid and probably not what the operator wants.
fn log_doubtful_settings(config: &Config, arguments: &Arguments) {
    for UnknownVariable { name, nearest } in unknown_variables(std::env::vars_os()) {
        tracing::warn!(
            variable = name,
            did_you_mean = nearest,
            "an environment variable has no effect: no flag has this name"
        );
    }
    for (flag, limit) in config.limits.below_one_browser() {
        tracing::warn!(
            flag,
            limit,
            "a limit of one address is below 8, the number of connections that one browser opens"
        );
    }
    if arguments.monitoring.log_addresses && config.session_log == SessionLog::Off {
        tracing::warn!(
            log_level = %config.log_level,
            "--log-addresses has no effect: sessions are logged only with --log-level debug"
        );
    }
}

/// Logs the totals since the start.
fn log_summary(telemetry: &Telemetry) {
    let sum = |read: fn(&switchboard::telemetry::ShardCounters) -> u64| -> u64 {
        telemetry.shards.iter().map(|shard| read(shard)).sum()
    };
    let started = telemetry.about.started;
    let uptime = switchboard::sys::clock::monotonic().since(started);
    tracing::info!(
        uptime = ?Duration::from_secs(uptime.as_secs()),
        connections = sum(|shard| shard.accepted.get()),
        sessions = sum(|shard| shard.sessions_opened.get()),
        rooms = sum(|shard| shard.matches.get()),
        messages_relayed = sum(|shard| shard.messages_relayed.get()),
        "ended gracefully"
    );
}
