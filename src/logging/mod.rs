//! Log lines on their way to standard error.
//!
//! A thread that logs never waits. It puts the line into a bounded queue; a thread of its own takes
//! lines from there and writes them. A line that finds the queue full is dropped and counted. So
//! shards keep running, and the process still ends, when nothing reads standard error any more.
//!
//! tracing-appender's non-blocking writer does not fit: when its queue is full at the end of the
//! process, it falls back to standard output, which often is the same blocked pipe. The last lines
//! of a process that fails, or of a thread that panics, have to go through the same queue, behind
//! everything that was logged before.

pub mod throttle;
pub mod throttled_lines;

use crate::config::LogFormat;
use crate::limits::{LOG_FLUSH_TIMEOUT, LOG_QUEUE_LINES};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines lost since the process started because standard error did not take them in time.
pub fn lines_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The queue in front of standard error. All clones feed the same writer thread.
#[derive(Clone, Debug)]
pub struct LogQueue {
    sender: Sender<LogItem>,
    format: LogFormat,
    destination: LogDestination,
}

/// What standard error is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogDestination {
    /// A terminal, a file or a pipe.
    Plain,
    /// The systemd journal, which reads a priority such as `<4>` in front of each line
    /// (sd-daemon(3)).
    Journal,
}

impl LogDestination {
    /// `JOURNAL_STREAM` holds the device and inode of the journal's socket (systemd.exec(5)). A
    /// process whose standard error was redirected later inherits the variable too, so the numbers
    /// are compared.
    fn detect(stderr: &File) -> Self {
        let actual = stderr.metadata().map(|file| format!("{}:{}", file.dev(), file.ino()));
        match (actual, std::env::var("JOURNAL_STREAM")) {
            (Ok(actual), Ok(journal)) if actual == journal => LogDestination::Journal,
            _ => LogDestination::Plain,
        }
    }

    fn prefix(self, level: Level) -> &'static str {
        match self {
            LogDestination::Plain => "",
            LogDestination::Journal if level == Level::ERROR => "<3>",
            LogDestination::Journal if level == Level::WARN => "<4>",
            LogDestination::Journal if level == Level::INFO => "<6>",
            LogDestination::Journal => "<7>",
        }
    }
}

#[derive(Debug)]
enum LogItem {
    Line(Vec<u8>),
    /// The writer thread drops this sender after it has written all earlier lines.
    Flush(#[expect(dead_code, reason = "only the drop is observed")] Sender<()>),
}

impl LogQueue {
    /// Starts the thread that writes to standard error.
    ///
    /// # Errors
    /// When there is no standard error, or no thread can be started.
    pub fn start(format: LogFormat) -> io::Result<Self> {
        // A separate handle: a blocked write through the standard library's handle would hold its
        // lock.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let destination = LogDestination::detect(&stderr);
        LogQueue::start_with(stderr, LOG_QUEUE_LINES, format, destination)
    }

    fn start_with(
        out: impl Write + Send + 'static,
        lines: usize,
        format: LogFormat,
        destination: LogDestination,
    ) -> io::Result<Self> {
        let (sender, receiver) = bounded(lines);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&receiver, out))?;
        Ok(LogQueue { sender, format, destination })
    }

    /// Logs every panic as one error line through this queue, whatever `--log-level` says.
    pub fn install_panic_hook(&self) {
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            log.write_error(&panic_line(panic));
            log.flush();
        }));
    }

    /// Writes `switchboard: {line}`, or a JSON object of level `ERROR`, whatever `--log-level` says.
    pub fn write_error(&self, line: &str) {
        let line = match self.format {
            LogFormat::Text => format!("switchboard: {line}\n"),
            LogFormat::Json => json_line(line),
        };
        let prefix = self.destination.prefix(Level::ERROR);
        self.enqueue([prefix, &line].concat().into_bytes());
    }

    /// Waits until all lines so far have been written, for at most [`LOG_FLUSH_TIMEOUT`].
    pub fn flush(&self) {
        let deadline = Instant::now() + LOG_FLUSH_TIMEOUT;
        let (written, flushed) = bounded(0);
        if self.sender.send_deadline(LogItem::Flush(written), deadline).is_ok() {
            // Nothing is ever sent: this returns when the writer thread drops the sender.
            let _disconnected = flushed.recv_deadline(deadline);
        }
    }

    fn enqueue(&self, line: Vec<u8>) {
        // guard: logging does not wait for its reader [call send]
        if self.sender.try_send(LogItem::Line(line)).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(items: &Receiver<LogItem>, mut out: impl Write) {
    for item in items {
        if let LogItem::Line(line) = item
            && out.write_all(&line).is_err()
        {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The format of tracing-subscriber for an event without fields.
fn json_line(message: &str) -> String {
    let mut timestamp = String::new();
    // If the time cannot be formatted, the line is still worth having.
    let _written = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let line = serde_json::json!({ "timestamp": timestamp, "level": "ERROR", "message": message });
    format!("{line}\n")
}

/// One line that names the thread, the source location and the reason of a panic.
fn panic_line(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("(unnamed)");
    let payload = panic.payload();
    let reason = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    format_panic(name, &location, reason)
}

/// Escapes the reason, which may quote anything, including bytes from a client.
fn format_panic(thread: &str, location: &str, reason: &str) -> String {
    // guard: a panic is logged as one line [skip]
    let reason = format!("{reason:?}");
    format!("thread {thread} panicked at {location}: {reason}")
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = LogEventWriter<'a>;

    fn make_writer(&'a self) -> LogEventWriter<'a> {
        LogEventWriter { log: self, prefix: self.destination.prefix(Level::INFO) }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> LogEventWriter<'a> {
        LogEventWriter { log: self, prefix: self.destination.prefix(*event.level()) }
    }
}

/// Passes one tracing event to the queue, with the priority prefix of its level.
#[derive(Debug)]
pub struct LogEventWriter<'a> {
    log: &'a LogQueue,
    prefix: &'static str,
}

/// tracing-subscriber writes each line with one call.
impl Write for LogEventWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.log.enqueue([self.prefix.as_bytes(), line].concat());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A sink whose writes block while the test holds the lock.
    #[derive(Clone, Default)]
    struct BlockableSink(Arc<Mutex<Vec<u8>>>);

    impl Write for BlockableSink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn logs_a_panic_as_one_escaped_line() {
        assert_eq!(
            format_panic("shard-0", "a.rs:1:2", "bad byte\r\nERROR \u{1b}[31m\u{9b}\"x\""),
            r#"thread shard-0 panicked at a.rs:1:2: "bad byte\r\nERROR \u{1b}[31m\u{9b}\"x\"""#
        );
    }

    #[test]
    fn writes_all_lines_in_order_before_flush_returns() {
        let out = BlockableSink::default();
        let log = LogQueue::start_with(out.clone(), 10_000, LogFormat::Text, LogDestination::Plain)
            .unwrap();
        for number in 0..5000 {
            log.write_error(&number.to_string());
        }
        log.flush();
        let expected: String = (0..5000).map(|number| format!("switchboard: {number}\n")).collect();
        assert_eq!(String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn drops_and_counts_lines_without_blocking_when_the_sink_blocks() {
        let out = BlockableSink::default();
        let log =
            LogQueue::start_with(out.clone(), 4, LogFormat::Text, LogDestination::Plain).unwrap();
        let before = lines_dropped();
        let blocked = out.0.lock().unwrap();
        for _ in 0..100 {
            log.write_error("a line that may not fit");
        }
        // The queue holds four lines, and the writer thread may hold one more.
        assert!((95..=96).contains(&(lines_dropped() - before)));
        let began = Instant::now();
        log.flush();
        assert!(began.elapsed() >= LOG_FLUSH_TIMEOUT, "flush returned before its timeout");
        drop(blocked);
        log.flush();
        assert_eq!(out.0.lock().unwrap().iter().filter(|&&byte| byte == b'\n').count(), {
            100 - (lines_dropped() - before) as usize
        });
    }

    #[test]
    fn writes_errors_as_json_when_the_log_format_is_json() {
        let out = BlockableSink::default();
        let log =
            LogQueue::start_with(out.clone(), 4, LogFormat::Json, LogDestination::Plain).unwrap();
        log.write_error("thread \"a\" panicked\u{1b}[2J\nat b");
        log.flush();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with('\n') && !text.trim_end().contains(char::is_control), "{text:?}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["message"], "thread \"a\" panicked\u{1b}[2J\nat b");
        assert_eq!(line["timestamp"].as_str().unwrap().len(), "2026-01-01T00:00:00.000000Z".len());
    }

    #[test]
    fn prefixes_each_line_with_its_priority_for_the_journal() {
        let out = BlockableSink::default();
        let log =
            LogQueue::start_with(out.clone(), 9, LogFormat::Text, LogDestination::Journal).unwrap();
        log.write_error("fatal");
        let builder = tracing_subscriber::fmt().with_writer(log.clone()).without_time();
        let plain = builder.with_target(false).with_ansi(false).with_max_level(Level::TRACE);
        tracing::subscriber::with_default(plain.finish(), || {
            tracing::error!("a");
            tracing::warn!("b");
            tracing::info!("c");
            tracing::debug!("d");
        });
        log.flush();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let expected = "<3>switchboard: fatal <3>ERROR a <4> WARN b <6> INFO c <7>DEBUG d";
        assert_eq!(words, expected.split_whitespace().collect::<Vec<_>>(), "{text}");
    }
}
