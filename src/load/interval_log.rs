//! The interval log: a file with one JSON line for each interval. With it the tester's memory does
//! not grow during a run, and an interrupted run can be resumed.
//!
//! Written by the main thread.

mod notes;

pub use notes::{LogEntry, LogNote, RunEnd, RunHead, TestHead};

use super::encoded_histogram::{decode, encode};
use super::engine::LoadGauges;
use super::machine_load::MachineSample;
use super::measure::{
    CountMetric, FaultStats, HttpPathSample, LatencySummary, LoadFault, Recorder, TimeMetric,
};
use crate::sys::lock::try_lock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Name of the file in the report directory.
pub const FILE_NAME: &str = "intervals.jsonl";

/// The server's figures at one time. A value that could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerSample {
    /// CPU seconds since the server started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<f64>,
    /// CPU since the previous sample, in percent of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// CPU of the busiest shard as `/stats` reports it, in percent of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busiest_shard_percent: Option<f64>,
    /// Resident memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Open descriptors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<u64>,
    /// Open connections as `/stats` reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// Waiting users as `/stats` reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// Rooms as `/stats` reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<u64>,
    /// Messages relayed since the server started, as `/stats` reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relayed: Option<u64>,
    /// Bytes received from the network since the server started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// Bytes sent since the server started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    /// Threads of the server's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// CPU of each shard, in percent of one CPU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shard_cpu_percent: Vec<f64>,
    /// Percentiles that `/stats` reports, by name, in milliseconds; since the server started.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub latency_ms: BTreeMap<String, f64>,
    /// Connections closed and requests rejected by reason, and errors sent by code, by name; since
    /// the server started. Zeros are left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// Whether the server says that it is shutting down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining: Option<bool>,
}

impl ServerSample {
    /// Whether this sample comes from a later process than `before`: its totals are lower.
    pub fn is_younger(&self, before: &ServerSample) -> bool {
        let is_lower =
            |now: Option<f64>, then: Option<f64>| now.zip(then).is_some_and(|(n, t)| n < t);
        let relayed = |sample: &ServerSample| sample.relayed.map(|count| count as f64);
        is_lower(self.cpu_s, before.cpu_s) || is_lower(relayed(self), relayed(before))
    }
}

/// The generator's figures in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorSample {
    /// CPU of the whole process, in percent of one CPU.
    pub cpu_percent: f64,
    /// The longest iteration of an event loop.
    // The name in reports of 0.1.0.
    #[serde(alias = "longest_turn_ms")]
    pub longest_iteration_ms: f64,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
    /// The other load of the machine.
    #[serde(default)]
    pub machine: MachineSample,
}

/// One line of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IntervalRow {
    /// Number of the run in the test, counted from 0.
    pub run: u32,
    /// Seconds from the start of the run to the end of the interval.
    pub at_s: f64,
    /// Length of the interval.
    pub length_s: f64,
    /// Whether the interval counts: it lies after the warm-up and before the end of the run.
    pub measured: bool,
    /// Connections that are not sessions yet, at the end of the interval.
    pub connecting: u64,
    /// Open sessions at the end of the interval.
    pub users: u64,
    /// Waiting users at the end of the interval.
    pub waiting: u64,
    /// Most users waiting at the same time; with several threads, the sum of their peaks.
    #[serde(default)]
    pub waiting_peak: u64,
    /// Users in rooms at the end of the interval.
    pub in_rooms: u64,
    /// Counters by name; zeros are left out.
    pub counts: BTreeMap<String, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<String, FaultStats>,
    /// Latencies by name.
    pub times: BTreeMap<String, LatencySummary>,
    /// The server at the end of the interval.
    pub server: ServerSample,
    /// The generator during the interval.
    pub generator: GeneratorSample,
    /// The encoded histograms of the latencies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub histograms: BTreeMap<String, String>,
    /// HTTP requests by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub http_paths: BTreeMap<String, HttpPathSample>,
    /// The histograms of a log of 0.1.0, as pairs of microseconds and count.
    #[serde(default, skip_serializing)]
    pub buckets: BTreeMap<String, Vec<(u64, u64)>>,
}

impl IntervalRow {
    /// Fills in the content of a recorder.
    pub fn record(&mut self, recorder: &Recorder, gauges: &LoadGauges) {
        (self.connecting, self.users) = (gauges.connecting, gauges.users);
        (self.waiting, self.in_rooms) = (gauges.waiting, gauges.in_rooms);
        self.waiting_peak = gauges.waiting_peak;
        let name = |what: &CountMetric| (what.name().to_owned(), recorder.get(*what));
        self.counts = CountMetric::ALL.iter().map(name).filter(|(_, count)| *count > 0).collect();
        let name = |fault: &LoadFault| (fault.name().to_owned(), recorder.fault_stats(*fault));
        let seen = LoadFault::ALL.iter().map(name).filter(|(_, seen)| seen.count > 0);
        self.faults = seen.map(|(name, seen)| (name, seen.clone())).collect();
        for metric in TimeMetric::ALL {
            let histogram = recorder.histogram(*metric);
            if let Some(quantiles) = LatencySummary::of(histogram) {
                self.times.insert(metric.name().to_owned(), quantiles);
                self.histograms.insert(metric.name().to_owned(), encode(histogram));
            }
        }
        self.http_paths = recorder.http_paths.to_samples();
    }

    /// Adds the content of this row to a recorder.
    pub fn restore(&self, into: &mut Recorder) {
        for (name, count) in &self.counts {
            if let Some(what) = CountMetric::from_name(name) {
                into.add(what, *count);
            }
        }
        for (name, seen) in &self.faults {
            if let Some(fault) = LoadFault::from_name(name) {
                into.merge_fault(fault, seen);
            }
        }
        for (name, text) in &self.histograms {
            if let (Some(metric), Ok(times)) = (TimeMetric::from_name(name), decode(text)) {
                into.add_times(metric, &times);
            }
        }
        for (path, sample) in &self.http_paths {
            // Like above, a histogram that cannot be read is left out.
            let _ = sample.add_to(into.http_paths.of(path));
        }
        for (name, buckets) in &self.buckets {
            if let Some(metric) = TimeMetric::from_name(name) {
                for (value, count) in buckets {
                    into.histogram_mut(metric).saturating_record_n(*value, *count);
                }
            }
        }
    }

    /// A counter of this interval, per second.
    pub fn rate(&self, what: CountMetric) -> f64 {
        let count = self.counts.get(what.name()).copied().unwrap_or_default();
        if self.length_s > 0.0 { count as f64 / self.length_s } else { 0.0 }
    }
}

/// The log, open for writing.
#[derive(Debug)]
pub struct IntervalLog {
    file: File,
    path: PathBuf,
}

impl IntervalLog {
    /// Opens the log in `directory`; without `append` it is truncated. The file is locked, so that
    /// two testers cannot mix their rows.
    ///
    /// # Errors
    /// When the file cannot be written, or another tester has it open.
    pub fn open(directory: &Path, append: bool) -> io::Result<Self> {
        let path = directory.join(FILE_NAME);
        let mut options = OpenOptions::new();
        let file = options.create(true).read(true).append(true).open(&path)?;
        // Without locks in the file system, the test runs without this protection.
        if matches!(try_lock(&file), Ok(false)) {
            return Err(io::Error::other("another load test is still running in this directory"));
        }
        if !append && file.metadata()?.len() > 0 {
            file.set_len(0)?;
        }
        let mut log = IntervalLog { file, path };
        if append && log.ends_within_line()? {
            // The process was killed while it wrote a line; the next row needs a new one.
            log.file.write_all(b"\n")?;
        }
        Ok(log)
    }

    fn ends_within_line(&self) -> io::Result<bool> {
        use std::os::unix::fs::FileExt as _;
        let len = self.file.metadata()?.len();
        let mut last = [b'\n'];
        if len > 0 {
            self.file.read_exact_at(&mut last, len - 1)?;
        }
        Ok(last != *b"\n")
    }

    /// Appends a row without buffering, so that it survives a crash of the tester.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, row: &IntervalRow) -> io::Result<()> {
        self.write_line(serde_json::to_vec(row))
    }

    /// Appends what is not a row.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_note(&mut self, note: &LogNote) -> io::Result<()> {
        self.write_line(serde_json::to_vec(note))
    }

    fn write_line(&mut self, line: serde_json::Result<Vec<u8>>) -> io::Result<()> {
        let mut line = line.map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a log. A line that a crash has truncated is skipped.
///
/// # Errors
/// When the file cannot be opened.
pub fn entries(path: &Path) -> io::Result<impl Iterator<Item = LogEntry> + use<>> {
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.map_while(Result::ok).filter_map(|line| LogEntry::parse(&line)))
}

/// Reads the rows of a log.
///
/// # Errors
/// When the file cannot be opened.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = IntervalRow> + use<>> {
    let row = |entry| match entry {
        LogEntry::Row(row) => Some(*row),
        LogEntry::Note(_) => None,
    };
    Ok(entries(path)?.filter_map(row))
}

/// An evenly spaced subset of the rows of a run, for the charts. When the limit is exceeded, every
/// second row is dropped.
#[derive(Clone, Debug)]
pub struct ThinnedRows {
    rows: Vec<IntervalRow>,
    /// Every how many rows one is kept.
    stride: u64,
    pushed: u64,
    max_rows: usize,
}

impl ThinnedRows {
    /// Keeps at most `max_rows` rows.
    pub fn new(max_rows: usize) -> Self {
        ThinnedRows { rows: Vec::new(), stride: 1, pushed: 0, max_rows }
    }

    /// Adds a row, without its histograms.
    pub fn push(&mut self, row: &IntervalRow) {
        if self.pushed.is_multiple_of(self.stride) {
            // Histograms are large, and no chart shows them.
            let mut row = row.clone();
            row.histograms.clear();
            row.http_paths.clear();
            row.buckets.clear();
            self.rows.push(row);
        }
        self.pushed += 1;
        if self.rows.len() > self.max_rows {
            let mut keep = false;
            self.rows.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
    }

    /// The rows that were kept, in order.
    pub fn into_rows(self) -> Vec<IntervalRow> {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;
    use std::time::Duration;

    fn row(at_s: f64) -> IntervalRow {
        let mut recorder = Recorder::default();
        recorder.add(CountMetric::Sent, 10);
        recorder.record_fault(LoadFault::Lost, Timestamp::from_nanos(77));
        let at = Timestamp::from_nanos(78);
        recorder.record_fault_with_cause(LoadFault::UpgradeRefused, "404 not found", at);
        for ms in 1..50 {
            recorder.record_time(TimeMetric::Relay, Duration::from_millis(ms));
        }
        let mut row = IntervalRow { at_s, length_s: 2.0, measured: true, ..IntervalRow::default() };
        row.record(&recorder, &LoadGauges { users: 3, ..LoadGauges::default() });
        row
    }

    #[test]
    fn a_log_restores_what_was_recorded_after_a_crash_within_a_line() {
        let directory = std::env::temp_dir().join(format!("interval-log-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut log = IntervalLog::open(&directory, false).unwrap();
        log.write(&row(1.0)).unwrap();
        let path = log.path().to_owned();
        drop(log);
        let truncated = [std::fs::read(&path).unwrap(), b"{\"run\":0,\"at_s\":2".to_vec()].concat();
        std::fs::write(&path, truncated).unwrap();
        let mut log = IntervalLog::open(&directory, true).unwrap();
        log.write(&row(3.0)).unwrap();
        let mut whole = Recorder::default();
        let rows: Vec<IntervalRow> = read(&path).unwrap().collect();
        rows.iter().for_each(|row| row.restore(&mut whole));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(rows.iter().map(|row| row.at_s).collect::<Vec<_>>(), [1.0, 3.0]);
        assert_eq!(whole.get(CountMetric::Sent), 20);
        let lost = FaultStats { count: 2, first_ns: 77, last_ns: 77, ..FaultStats::default() };
        assert_eq!(*whole.fault_stats(LoadFault::Lost), lost);
        assert_eq!(whole.fault_stats(LoadFault::UpgradeRefused).causes.count("404"), 2);
        let relay = LatencySummary::of(whole.histogram(TimeMetric::Relay)).unwrap();
        assert_eq!(relay.count, 98);
        assert!((24.9..25.1).contains(&relay.p50_ms), "{relay:?}");
        assert_eq!(rows[0].rate(CountMetric::Sent), 5.0);
    }

    #[test]
    fn a_log_has_one_writer_at_a_time() {
        let directory = std::env::temp_dir().join(format!("one-writer-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut first = IntervalLog::open(&directory, false).unwrap();
        first.write(&row(1.0)).unwrap();
        for append in [false, true] {
            let refused = IntervalLog::open(&directory, append).unwrap_err();
            assert!(refused.to_string().contains("still running"), "{refused}");
        }
        assert_eq!(read(first.path()).unwrap().count(), 1, "the rows are still there");
        drop(first);
        IntervalLog::open(&directory, true).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn reads_a_log_of_an_older_version_without_waiting_peak() {
        let mut older = serde_json::to_value(row(1.0)).unwrap();
        older.as_object_mut().unwrap().remove("waiting_peak").unwrap();
        assert_eq!(serde_json::from_value::<IntervalRow>(older).unwrap(), row(1.0));
    }

    #[test]
    fn thinned_rows_are_bounded_and_evenly_spaced() {
        let mut thinned = ThinnedRows::new(100);
        (0..10_000).for_each(|i| {
            thinned.push(&IntervalRow { at_s: f64::from(i), ..IntervalRow::default() })
        });
        let rows = thinned.into_rows();
        assert!((50..=100).contains(&rows.len()), "{}", rows.len());
        let gaps: Vec<f64> = rows.windows(2).map(|pair| pair[1].at_s - pair[0].at_s).collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "{gaps:?}");
    }
}
