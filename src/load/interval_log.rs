//! The interval log: one JSON line for each interval, on disk, so that the tester's memory
//! does not grow and an interrupted run can go on.

use super::engine::LoadGauges;
use super::measure::{CountMetric, FaultStats, LatencySummary, LoadFault, Recorder, TimeMetric};
use crate::sys::lock::try_lock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Name of the log in the report directory.
pub const FILE_NAME: &str = "intervals.jsonl";

/// The server's figures at one moment. What nobody tells is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerSample {
    /// CPU time it has used since it started, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<f64>,
    /// CPU since the sample before, in percent of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// CPU of its busiest shard, by its own account, in percent of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busiest_shard_percent: Option<f64>,
    /// Resident memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Open descriptors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<u64>,
    /// Open connections, by its own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// Waiting users, by its own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// Rooms, by its own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<u64>,
    /// Messages it has relayed, by its own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relayed: Option<u64>,
    /// Bytes it has received from the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// Bytes it has sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
}

impl ServerSample {
    /// Whether this is another process than `before`: its totals have begun again.
    pub fn is_younger(&self, before: &ServerSample) -> bool {
        let fell = |now: Option<f64>, then: Option<f64>| now.zip(then).is_some_and(|(n, t)| n < t);
        let relayed = |sample: &ServerSample| sample.relayed.map(|count| count as f64);
        fell(self.cpu_s, before.cpu_s) || fell(relayed(self), relayed(before))
    }
}

/// The generator's own figures in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorSample {
    /// CPU of the whole process, in percent of one CPU.
    pub cpu_percent: f64,
    /// The longest turn of a loop, in milliseconds.
    pub longest_turn_ms: f64,
    /// Resident memory in bytes.
    pub memory_bytes: Option<u64>,
}

/// One line of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IntervalRow {
    /// Which run of the programme, counted from 0.
    pub run: u32,
    /// Seconds from the start of the run to the end of the interval.
    pub at_s: f64,
    /// Length of the interval in seconds.
    pub length_s: f64,
    /// Whether it counts: warming up is over, and the end has not begun.
    pub measured: bool,
    /// Sessions, waiting users and so on at its end.
    pub connecting: u64,
    /// Sessions at its end.
    pub users: u64,
    /// Waiting users at its end.
    pub waiting: u64,
    /// Most users who waited at once in it; of several threads, the sum of their peaks.
    #[serde(default)]
    pub waiting_peak: u64,
    /// Users in rooms at its end.
    pub in_rooms: u64,
    /// What was counted in it; zeros are left out.
    pub counts: BTreeMap<String, u64>,
    /// What went wrong in it.
    pub faults: BTreeMap<String, FaultStats>,
    /// Times measured in it.
    pub times: BTreeMap<String, LatencySummary>,
    /// The server at its end.
    pub server: ServerSample,
    /// The generator in it.
    pub generator: GeneratorSample,
    /// The histograms themselves, as values in microseconds and how often; only where a run
    /// is to be resumable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub buckets: BTreeMap<String, Vec<(u64, u64)>>,
}

impl IntervalRow {
    /// Fills in what a recorder holds.
    pub fn record(&mut self, recorder: &Recorder, gauges: &LoadGauges, with_buckets: bool) {
        (self.connecting, self.users) = (gauges.connecting, gauges.users);
        (self.waiting, self.in_rooms) = (gauges.waiting, gauges.in_rooms);
        self.waiting_peak = gauges.waiting_peak;
        let name = |what: &CountMetric| (what.name().to_owned(), recorder.get(*what));
        self.counts = CountMetric::ALL.iter().map(name).filter(|(_, count)| *count > 0).collect();
        let name = |fault: &LoadFault| (fault.name().to_owned(), recorder.seen(*fault));
        self.faults = LoadFault::ALL.iter().map(name).filter(|(_, seen)| seen.count > 0).collect();
        for metric in TimeMetric::ALL {
            let histogram = recorder.histogram(*metric);
            if let Some(quantiles) = LatencySummary::of(histogram) {
                self.times.insert(metric.name().to_owned(), quantiles);
                if with_buckets {
                    let values = histogram.iter_recorded();
                    let buckets =
                        values.map(|v| (v.value_iterated_to(), v.count_at_value())).collect();
                    self.buckets.insert(metric.name().to_owned(), buckets);
                }
            }
        }
    }

    /// Puts what this row recorded back into a recorder. Without buckets the times are lost.
    pub fn restore(&self, into: &mut Recorder) {
        for (name, count) in &self.counts {
            if let Some(what) = CountMetric::named(name) {
                into.add(what, *count);
            }
        }
        for (name, seen) in &self.faults {
            if let Some(fault) = LoadFault::named(name) {
                into.merge_fault(fault, *seen);
            }
        }
        for (name, buckets) in &self.buckets {
            if let Some(metric) = TimeMetric::named(name) {
                for (value, count) in buckets {
                    into.histogram_mut(metric).saturating_record_n(*value, *count);
                }
            }
        }
    }

    /// A count of this interval, a second.
    pub fn rate(&self, what: CountMetric) -> f64 {
        let count = self.counts.get(what.name()).copied().unwrap_or_default();
        if self.length_s > 0.0 { count as f64 / self.length_s } else { 0.0 }
    }
}

/// Writes the log.
#[derive(Debug)]
pub struct IntervalLog {
    file: File,
    path: PathBuf,
}

impl IntervalLog {
    /// Begins a new log in `directory`, or goes on with the one that is there. Nobody else can
    /// write to it as long as this is open: the rows of two testers would be nobody's.
    ///
    /// # Errors
    /// When the file cannot be written, or another tester is writing to it.
    pub fn open(directory: &Path, go_on: bool) -> io::Result<Self> {
        let path = directory.join(FILE_NAME);
        let mut options = OpenOptions::new();
        let file = options.create(true).read(true).append(true).open(&path)?;
        // A file system without locks is no reason not to measure.
        if matches!(try_lock(&file), Ok(false)) {
            return Err(io::Error::other("another load test is still running there"));
        }
        if !go_on && file.metadata()?.len() > 0 {
            file.set_len(0)?;
        }
        let mut journal = IntervalLog { file, path };
        if go_on && journal.ends_in_mid_line()? {
            // The run was killed in the middle of a line; what follows begins a new one.
            journal.file.write_all(b"\n")?;
        }
        Ok(journal)
    }

    fn ends_in_mid_line(&self) -> io::Result<bool> {
        use std::os::unix::fs::FileExt as _;
        let len = self.file.metadata()?.len();
        let mut last = [b'\n'];
        if len > 0 {
            self.file.read_exact_at(&mut last, len - 1)?;
        }
        Ok(last != *b"\n")
    }

    /// Appends a row, at once: what is written survives a crash of the tester.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&mut self, row: &IntervalRow) -> io::Result<()> {
        let mut line = serde_json::to_vec(row).map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a log row by row. Lines that a crash has cut off are skipped.
///
/// # Errors
/// When the file cannot be opened.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = IntervalRow> + use<>> {
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()))
}

/// Keeps at most `most` rows of a run, evenly, however many come: every time there are too
/// many, every other one goes. For charts, which need no more.
#[derive(Clone, Debug)]
pub struct ThinnedRows {
    rows: Vec<IntervalRow>,
    every: u64,
    seen: u64,
    most: usize,
}

impl ThinnedRows {
    /// Keeps at most `most` rows.
    pub fn new(most: usize) -> Self {
        ThinnedRows { rows: Vec::new(), every: 1, seen: 0, most }
    }

    /// One more row has come.
    pub fn push(&mut self, row: &IntervalRow) {
        // Buckets are for resuming, and large.
        let slim = IntervalRow { buckets: BTreeMap::new(), ..row.clone() };
        if self.seen.is_multiple_of(self.every) {
            self.rows.push(slim);
        }
        self.seen += 1;
        if self.rows.len() > self.most {
            let mut keep = false;
            self.rows.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
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
        recorder.fault(LoadFault::Lost, Timestamp::from_nanos(77));
        recorder.fault(LoadFault::UpgradeRefused, Timestamp::from_nanos(78));
        recorder.note_status(LoadFault::UpgradeRefused, 404);
        for ms in 1..50 {
            recorder.time(TimeMetric::Relay, Duration::from_millis(ms));
        }
        let mut row = IntervalRow { at_s, length_s: 2.0, measured: true, ..IntervalRow::default() };
        row.record(&recorder, &LoadGauges { users: 3, ..LoadGauges::default() }, true);
        row
    }

    #[test]
    fn a_log_gives_back_what_was_recorded_even_after_a_crash() {
        let directory = std::env::temp_dir().join(format!("journal-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut journal = IntervalLog::open(&directory, false).unwrap();
        journal.write(&row(1.0)).unwrap();
        let path = journal.path().to_owned();
        drop(journal);
        let torn = [std::fs::read(&path).unwrap(), b"{\"run\":0,\"at_s\":2".to_vec()].concat();
        std::fs::write(&path, torn).unwrap();
        let mut journal = IntervalLog::open(&directory, true).unwrap();
        journal.write(&row(3.0)).unwrap();
        let mut whole = Recorder::default();
        let rows: Vec<IntervalRow> = read(&path).unwrap().collect();
        rows.iter().for_each(|row| row.restore(&mut whole));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(rows.iter().map(|row| row.at_s).collect::<Vec<_>>(), [1.0, 3.0]);
        assert_eq!(whole.get(CountMetric::Sent), 20);
        let lost = FaultStats { count: 2, first_ns: 77, last_ns: 77, status: None };
        assert_eq!(whole.seen(LoadFault::Lost), lost);
        assert_eq!(whole.seen(LoadFault::UpgradeRefused).status, Some(404));
        let relay = LatencySummary::of(whole.histogram(TimeMetric::Relay)).unwrap();
        assert_eq!(relay.count, 98);
        assert!((24.9..25.1).contains(&relay.p50_ms), "{relay:?}");
        assert_eq!(rows[0].rate(CountMetric::Sent), 5.0);
    }

    #[test]
    fn a_log_has_one_writer() {
        let directory = std::env::temp_dir().join(format!("one-writer-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut first = IntervalLog::open(&directory, false).unwrap();
        first.write(&row(1.0)).unwrap();
        for go_on in [false, true] {
            let refused = IntervalLog::open(&directory, go_on).unwrap_err();
            assert!(refused.to_string().contains("still running"), "{refused}");
        }
        assert_eq!(read(first.path()).unwrap().count(), 1, "and nothing of it was cut off");
        drop(first);
        IntervalLog::open(&directory, true).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }

    /// What an earlier version did not write, a run that goes on does without.
    #[test]
    fn an_older_log_is_read() {
        let mut older = serde_json::to_value(row(1.0)).unwrap();
        older.as_object_mut().unwrap().remove("waiting_peak").unwrap();
        assert_eq!(serde_json::from_value::<IntervalRow>(older).unwrap(), row(1.0));
    }

    #[test]
    fn thinning_is_bounded_and_even() {
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
