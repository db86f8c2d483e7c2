//! LogQueue lines on their way to standard error. Whoever logs never waits: a thread of its own
//! writes, and what is more than it can take is dropped and counted. So a shard goes on, and
//! the process ends when it is told to, though nobody reads standard error any more.
//!
//! What tracing-appender has for this waits for standard output, which often is the same pipe,
//! when its queue is full at the end; and the last words of a process that fails, or of a thread
//! that panics, have to go the same way, behind all that was logged before.

use crate::config::LogFormat;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Lines that may wait to be written; none holds anything that a client sent, so none is long.
const LINES: usize = 4096;
/// How long the last lines may take before the process ends without them.
const PATIENCE: Duration = Duration::from_secs(1);

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that were lost because standard error took no more, since the process started.
pub fn lines_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The way to standard error; all clones lead to the same thread.
#[derive(Clone, Debug)]
pub struct LogQueue {
    sender: Sender<LogItem>,
    format: LogFormat,
    reader: LogDestination,
}

/// Who reads standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogDestination {
    Anybody,
    /// The journal, which takes each line's priority from before it (sd-daemon(3)).
    Journal,
}

impl LogDestination {
    /// `JOURNAL_STREAM` names the device and inode that lead to the journal (systemd.exec(5)); a
    /// process that was given another standard error since then has that variable too.
    fn of(stderr: &File) -> Self {
        let there = stderr.metadata().map(|found| format!("{}:{}", found.dev(), found.ino()));
        match (there, std::env::var("JOURNAL_STREAM")) {
            (Ok(there), Ok(journal)) if there == journal => LogDestination::Journal,
            _ => LogDestination::Anybody,
        }
    }

    fn prefix(self, level: Level) -> &'static str {
        match self {
            LogDestination::Anybody => "",
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
    /// All that came before has been written when this is dropped.
    Flush(#[expect(dead_code, reason = "only its end counts")] Sender<()>),
}

impl LogQueue {
    /// Starts the thread that writes to standard error.
    ///
    /// # Errors
    /// When there is no standard error, or no thread can be started.
    pub fn start(format: LogFormat) -> io::Result<Self> {
        // A handle of its own: the one of the standard library has a lock that a blocked write
        // would hold.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let reader = LogDestination::of(&stderr);
        LogQueue::start_with(stderr, LINES, format, reader)
    }

    fn start_with(
        out: impl Write + Send + 'static,
        lines: usize,
        format: LogFormat,
        reader: LogDestination,
    ) -> io::Result<Self> {
        let (sender, receiver) = bounded(lines);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_out(&receiver, out))?;
        Ok(LogQueue { sender, format, reader })
    }

    /// Panics are told this way too, in one line, whatever the level is.
    pub fn tell_of_panics(&self) {
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            log.say(&panic_line(panic));
            log.finish();
        }));
    }

    /// Writes `switchboard: ` and a line, or the same as an error in JSON, whatever the level is.
    pub fn say(&self, line: &str) {
        let line = match self.format {
            LogFormat::Text => format!("switchboard: {line}\n"),
            LogFormat::Json => json_line(line),
        };
        let prefix = self.reader.prefix(Level::ERROR);
        self.queue([prefix, &line].concat().into_bytes());
    }

    /// Waits until all lines so far have been written, but not for long.
    pub fn finish(&self) {
        let deadline = Instant::now() + PATIENCE;
        let (written, flushed) = bounded(0);
        if self.sender.send_deadline(LogItem::Flush(written), deadline).is_ok() {
            // What is waited for is the end of the other side.
            let _ended = flushed.recv_deadline(deadline);
        }
    }

    fn queue(&self, line: Vec<u8>) {
        // guard: logging does not wait for its reader [call send]
        if self.sender.try_send(LogItem::Line(line)).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_out(entries: &Receiver<LogItem>, mut out: impl Write) {
    for entry in entries {
        if let LogItem::Line(line) = entry
            && out.write_all(&line).is_err()
        {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// As tracing-subscriber writes an event without fields.
fn json_line(message: &str) -> String {
    let mut timestamp = String::new();
    // Without a clock that can be written out the line is worth having, too.
    let _written = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let line = serde_json::json!({ "timestamp": timestamp, "level": "ERROR", "message": message });
    format!("{line}\n")
}

/// What panicked, where and why. The reason may quote anything, so it is escaped.
fn panic_line(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name");
    let payload = panic.payload();
    let reason = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    in_one_line(name, &place, reason)
}

/// The reason may quote anything, a client's bytes too, so it is escaped.
fn in_one_line(thread: &str, place: &str, reason: &str) -> String {
    // guard: a panic is logged as one line [skip]
    let reason = format!("{reason:?}");
    format!("thread {thread} panicked at {place}: {reason}")
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = LogEventWriter<'a>;

    fn make_writer(&'a self) -> LogEventWriter<'a> {
        LogEventWriter { log: self, prefix: self.reader.prefix(Level::INFO) }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> LogEventWriter<'a> {
        LogEventWriter { log: self, prefix: self.reader.prefix(*event.level()) }
    }
}

/// What one event is written with.
#[derive(Debug)]
pub struct LogEventWriter<'a> {
    log: &'a LogQueue,
    prefix: &'static str,
}

/// tracing-subscriber writes each line as a whole, with one call.
impl Write for LogEventWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.log.queue([self.prefix.as_bytes(), line].concat());
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

    /// Takes lines while it is not held up.
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
    fn a_panic_is_one_line_whatever_its_reason_quotes() {
        assert_eq!(
            in_one_line("shard-0", "a.rs:1:2", "bad byte\r\nERROR \u{1b}[31m\u{9b}\"x\""),
            r#"thread shard-0 panicked at a.rs:1:2: "bad byte\r\nERROR \u{1b}[31m\u{9b}\"x\"""#
        );
    }

    #[test]
    fn lines_come_out_in_their_order_and_all_of_them_at_the_end() {
        let out = BlockableSink::default();
        let log =
            LogQueue::start_with(out.clone(), 10_000, LogFormat::Text, LogDestination::Anybody)
                .unwrap();
        for number in 0..5000 {
            log.say(&number.to_string());
        }
        log.finish();
        let expected: String = (0..5000).map(|number| format!("switchboard: {number}\n")).collect();
        assert_eq!(String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn who_logs_does_not_wait_for_who_reads_and_what_is_lost_is_counted() {
        let out = BlockableSink::default();
        let log =
            LogQueue::start_with(out.clone(), 4, LogFormat::Text, LogDestination::Anybody).unwrap();
        let before = lines_dropped();
        let held_up = out.0.lock().unwrap();
        for _ in 0..100 {
            log.say("more than there is room for");
        }
        // Four wait, and one may be with the thread.
        assert!((95..=96).contains(&(lines_dropped() - before)));
        let began = Instant::now();
        log.finish();
        assert!(began.elapsed() >= PATIENCE, "it has waited, and gone on");
        drop(held_up);
        log.finish();
        assert_eq!(out.0.lock().unwrap().iter().filter(|&&byte| byte == b'\n').count(), {
            100 - (lines_dropped() - before) as usize
        });
    }

    #[test]
    fn the_last_words_are_json_too_where_the_log_is() {
        let out = BlockableSink::default();
        let log =
            LogQueue::start_with(out.clone(), 4, LogFormat::Json, LogDestination::Anybody).unwrap();
        log.say("thread \"a\" panicked\u{1b}[2J\nat b");
        log.finish();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with('\n') && !text.trim_end().contains(char::is_control), "{text:?}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["message"], "thread \"a\" panicked\u{1b}[2J\nat b");
        assert_eq!(line["timestamp"].as_str().unwrap().len(), "2026-01-01T00:00:00.000000Z".len());
    }

    #[test]
    fn the_journal_is_told_how_bad_it_is() {
        let out = BlockableSink::default();
        let log =
            LogQueue::start_with(out.clone(), 9, LogFormat::Text, LogDestination::Journal).unwrap();
        log.say("over");
        let builder = tracing_subscriber::fmt().with_writer(log.clone()).without_time();
        let plain = builder.with_target(false).with_ansi(false).with_max_level(Level::TRACE);
        tracing::subscriber::with_default(plain.finish(), || {
            tracing::error!("a");
            tracing::warn!("b");
            tracing::info!("c");
            tracing::debug!("d");
        });
        log.finish();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let expected = "<3>switchboard: over <3>ERROR a <4> WARN b <6> INFO c <7>DEBUG d";
        assert_eq!(words, expected.split_whitespace().collect::<Vec<_>>(), "{text}");
    }
}
