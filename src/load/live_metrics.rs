//! The figures of the present run in the Prometheus text format, and the HTTP endpoint that serves
//! them (`--metrics-listen`).
//!
//! The main thread renders the text once an interval; a thread of its own answers the requests. The
//! counters count from the start of the program, over all of its runs.

use super::interval_log::IntervalRow;
use super::measure::{CountMetric, LatencySummary, LoadFault, Recorder, TimeMetric};
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Beginning of the names of all metrics.
const PREFIX: &str = "switchboard_load";
/// Time that one request may take. Requests are answered one after the other.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest request head.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// What the metrics say about the run itself.
#[derive(Clone, Debug, Default)]
struct PresentRun {
    /// Number of the run, from 0.
    number: u32,
    name: String,
    length: Duration,
}

/// The endpoint, and the counters of the runs so far.
pub struct LiveMetrics {
    total: Recorder,
    run: PresentRun,
    text: Arc<Mutex<String>>,
    address: SocketAddr,
}

impl LiveMetrics {
    /// Listens on `address` and serves `/metrics` there, until the process ends.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the thread cannot start.
    pub fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let total = Recorder::default();
        let text = Arc::new(Mutex::new(render(None, &total)));
        let served = Arc::clone(&text);
        let serve = move || {
            for socket in listener.incoming().flatten() {
                let text = served.lock().map(|text| text.clone()).unwrap_or_default();
                // A client that has gone away needs no answer.
                let _ = answer(socket, &text);
            }
        };
        std::thread::Builder::new().name("load-metrics".to_owned()).spawn(serve)?;
        Ok(LiveMetrics { total, run: PresentRun::default(), text, address })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Run number `number`, counted from 0, begins and takes `length`.
    pub fn begin_run(&mut self, number: u32, name: &str, length: Duration) {
        self.run = PresentRun { number, name: name.to_owned(), length };
    }

    /// Adds an interval and renders the metrics again.
    pub fn publish(&mut self, row: &IntervalRow, recorder: &Recorder) {
        self.total.merge(recorder);
        let rendered = render(Some((&self.run, row)), &self.total);
        if let Ok(mut text) = self.text.lock() {
            *text = rendered;
        }
    }
}

/// Answers one request.
fn answer(mut socket: TcpStream, metrics: &str) -> io::Result<()> {
    socket.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    socket.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match socket.read(&mut buffer)? {
            0 => return Ok(()),
            len => head.extend_from_slice(&buffer[..len]),
        }
        if head.len() > MAX_HEAD_BYTES {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(&head);
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (status, body) = match (method, target.split('?').next()) {
        ("GET" | "HEAD", Some("/metrics")) => ("200 OK", metrics),
        ("GET" | "HEAD", _) => ("404 Not Found", "see /metrics\n"),
        (_, _) => ("405 Method Not Allowed", "only GET and HEAD\n"),
    };
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(response.as_bytes())?;
    if method != "HEAD" {
        socket.write_all(body.as_bytes())?;
    }
    Ok(())
}

/// The text being rendered.
struct MetricsText(String);

impl MetricsText {
    /// Begins a metric.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a `String` does not fail, here and below.
        let _ = writeln!(self.0, "# HELP {PREFIX}_{name} {help}\n# TYPE {PREFIX}_{name} {kind}");
    }

    /// A value; `labels` are empty or like `{kind="lost"}`.
    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let _ = writeln!(self.0, "{PREFIX}_{name}{labels} {value}");
    }

    /// A metric with one value, if that is known.
    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.family(name, "gauge", help);
            self.sample(name, "", value);
        }
    }
}

/// Renders the metrics: of the present run and its last interval, and the counters of all runs.
fn render(present: Option<(&PresentRun, &IntervalRow)>, total: &Recorder) -> String {
    let mut text = MetricsText(String::new());
    if let Some((run, row)) = present {
        render_run(&mut text, run, row);
        render_gauges(&mut text, row);
    }
    for counter in CountMetric::ALL {
        let name = format!("{}_total", counter.name());
        text.family(&name, "counter", super::figures::counter_meaning(*counter));
        text.sample(&name, "", total.get(*counter) as f64);
    }
    text.family("faults_total", "counter", "Faults by kind; --figures explains the kinds.");
    for fault in LoadFault::ALL {
        let labels = format!("{{kind=\"{}\"}}", fault.name());
        text.sample("faults_total", &labels, total.fault_stats(*fault).count as f64);
    }
    let help = "Latencies in seconds: quantiles of the last interval, sum and count of all.";
    text.family("latency_seconds", "summary", help);
    for metric in TimeMetric::ALL {
        let last = present.and_then(|(_, row)| row.times.get(metric.name()));
        render_latency(&mut text, *metric, last, total);
    }
    text.0
}

fn render_run(text: &mut MetricsText, run: &PresentRun, row: &IntervalRow) {
    text.family("run_info", "gauge", "Name of the present run.");
    let name = run.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
    text.sample("run_info", &format!("{{run=\"{name}\"}}"), 1.0);
    let length = run.length.as_secs_f64();
    for (name, help, value) in [
        ("run_number", "Number of the present run, counted from 1.", f64::from(run.number) + 1.0),
        ("run_elapsed_seconds", "Time since the present run began.", row.at_s),
        ("run_planned_seconds", "Planned time of the present run.", length),
    ] {
        text.gauge(name, help, Some(value));
    }
}

fn render_gauges(text: &mut MetricsText, row: &IntervalRow) {
    for (name, help, value) in [
        ("connecting", "Connections that are not sessions yet.", row.connecting),
        ("users", "Open sessions.", row.users),
        ("waiting", "Users that wait for a match.", row.waiting),
        ("in_rooms", "Users in rooms.", row.in_rooms),
    ] {
        text.gauge(name, help, Some(value as f64));
    }
    let (generator, server) = (&row.generator, &row.server);
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    for (name, help, value) in [
        (
            "generator_cpu_cores",
            "CPUs that the tester used in the last interval.",
            Some(generator.cpu_percent / 100.0),
        ),
        (
            "generator_loop_lag_seconds",
            "Longest iteration of an event loop of the tester in the last interval.",
            Some(generator.longest_iteration_ms / 1000.0),
        ),
        ("generator_memory_bytes", "Resident memory of the tester.", whole(generator.memory_bytes)),
        (
            "server_cpu_cores",
            "CPUs that the server used, as far as known.",
            server.cpu_percent.map(|percent| percent / 100.0),
        ),
        ("server_memory_bytes", "Resident memory of the server.", whole(server.memory_bytes)),
        (
            "server_connections",
            "Connections as the server reports them.",
            whole(server.connections),
        ),
    ] {
        text.gauge(name, help, value);
    }
}

fn render_latency(
    text: &mut MetricsText,
    metric: TimeMetric,
    last: Option<&LatencySummary>,
    total: &Recorder,
) {
    let operation = format!("operation=\"{}\"", metric.name());
    if let Some(q) = last {
        for (quantile, ms) in
            [("0.5", q.p50_ms), ("0.9", q.p90_ms), ("0.99", q.p99_ms), ("1", q.max_ms)]
        {
            let labels = format!("{{{operation},quantile=\"{quantile}\"}}");
            text.sample("latency_seconds", &labels, ms / 1000.0);
        }
    }
    let histogram = total.histogram(metric);
    let count = histogram.len() as f64;
    let sum = if histogram.is_empty() { 0.0 } else { histogram.mean() * count / 1e6 };
    text.sample("latency_seconds_sum", &format!("{{{operation}}}"), sum);
    text.sample("latency_seconds_count", &format!("{{{operation}}}"), count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The names of the metrics in a text, checked against the format: each family has one `HELP`
    /// and one `TYPE` line, its samples follow directly, and no sample occurs twice.
    fn families(text: &str) -> BTreeSet<String> {
        let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
        let (mut family, mut kind) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(families.insert(family.clone()), "{family} occurs twice");
                assert!(rest.len() > family.len() + 5, "{line}: no help");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, of) = rest.split_once(' ').unwrap();
                assert_eq!(name, family, "TYPE follows HELP");
                kind = of.to_owned();
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
                assert!(samples.insert(name.to_owned()), "{name} occurs twice");
                let base = name.split('{').next().unwrap();
                let of_summary = [format!("{family}_sum"), format!("{family}_count")];
                let belongs = base == family
                    || kind == "summary" && of_summary.iter().any(|name| name == base);
                assert!(belongs, "{line} does not belong to {family}");
            }
        }
        families
    }

    fn row() -> IntervalRow {
        let mut row = IntervalRow { at_s: 3.0, users: 7, ..IntervalRow::default() };
        row.generator.memory_bytes = Some(1);
        row.server.cpu_percent = Some(50.0);
        (row.server.memory_bytes, row.server.connections) = (Some(2), Some(3));
        row.times.insert("relay".to_owned(), LatencySummary::default());
        row
    }

    #[test]
    fn the_text_follows_the_format_and_its_counters_count_all_runs() {
        let mut recorder = Recorder::default();
        recorder.add(CountMetric::Sent, 5);
        recorder.record_time(TimeMetric::Relay, Duration::from_millis(2));
        let mut live = LiveMetrics::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        families(&live.text.lock().unwrap());
        live.begin_run(0, "first", Duration::from_secs(30));
        live.publish(&row(), &recorder);
        live.begin_run(1, "a \"b\"", Duration::from_secs(60));
        live.publish(&row(), &recorder);
        let text = live.text.lock().unwrap().clone();
        families(&text);
        for line in [
            "switchboard_load_run_info{run=\"a \\\"b\\\"\"} 1",
            "switchboard_load_run_number 2",
            "switchboard_load_run_planned_seconds 60",
            "switchboard_load_users 7",
            "switchboard_load_server_cpu_cores 0.5",
            "switchboard_load_sent_total 10",
            "switchboard_load_faults_total{kind=\"lost\"} 0",
            "switchboard_load_latency_seconds_count{operation=\"relay\"} 2",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is missing in\n{text}");
        }
    }

    /// The README names each metric; the counters are those of `--figures`.
    #[test]
    fn the_readme_names_every_metric() {
        let run = PresentRun::default();
        let rendered = families(&render(Some((&run, &row())), &Recorder::default()));
        let is_counter = |name: &&String| {
            let name = name.trim_start_matches(&format!("{PREFIX}_"));
            let counter = name.strip_suffix("_total");
            counter.is_none_or(|name| CountMetric::from_name(name).is_none())
        };
        let readme = include_str!("README.md");
        for name in rendered.iter().filter(is_counter) {
            assert!(readme.contains(&format!("`{name}`")), "{name} is not documented");
        }
        let documented = readme.split('`').filter(|word| word.starts_with("switchboard_load_"));
        for name in documented.filter(|name| !name.contains('<')) {
            assert!(rendered.contains(name), "{name} does not exist");
        }
    }
}
