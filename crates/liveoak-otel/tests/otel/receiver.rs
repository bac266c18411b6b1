//! A small receiver of OTLP over HTTP.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What came so far.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) spans: Vec<Span>,
    pub(crate) records: Vec<LogRecord>,
    /// The metrics of each request.
    pub(crate) metrics: Vec<Vec<Metric>>,
    /// The attributes of the resource of the last request.
    pub(crate) resource: Vec<KeyValue>,
    pub(crate) requests: usize,
}

/// How the receiver answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// At once.
    Well,
    /// Never.
    Never,
}

pub(crate) struct Receiver {
    pub(crate) endpoint: String,
    received: Arc<(Mutex<Received>, Condvar)>,
}

impl Receiver {
    pub(crate) fn new(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::<(Mutex<Received>, Condvar)>::default();
        let shared = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream.unwrap(), answers, &shared));
            }
        });
        Self { endpoint, received }
    }

    /// Returns what `look` makes of what came so far.
    pub(crate) fn now<T>(&self, look: impl FnOnce(&Received) -> T) -> T {
        look(&self.received.0.lock().unwrap())
    }

    /// Waits until `look` finds something in what came.
    pub(crate) fn wait<T>(&self, mut look: impl FnMut(&Received) -> Option<T>) -> T {
        let mut received = self.received.0.lock().unwrap();
        loop {
            if let Some(found) = look(&received) {
                return found;
            }
            let (next, waited) = self.received.1.wait_timeout(received, Duration::from_secs(60)).unwrap();
            assert!(!waited.timed_out(), "nothing comes any more");
            received = next;
        }
    }
}

/// Serves one connection until its peer closes it.
fn serve(stream: &TcpStream, answers: Answers, shared: &(Mutex<Received>, Condvar)) {
    let mut reader = BufReader::new(stream);
    while let Some((path, body)) = request(&mut reader) {
        let mut received = shared.0.lock().unwrap();
        received.requests += 1;
        if answers == Answers::Well {
            take(&mut received, &path, &body);
        }
        drop(received);
        shared.1.notify_all();
        if answers == Answers::Never {
            continue;
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        let mut stream = stream;
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads a request, and returns its path and its body.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

fn take(received: &mut Received, path: &str, body: &[u8]) {
    match path {
        "/v1/traces" => {
            for of in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
                received.resource = of.resource.unwrap_or_default().attributes;
                received.spans.extend(of.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        "/v1/logs" => {
            for of in ExportLogsServiceRequest::decode(body).unwrap().resource_logs {
                received.records.extend(of.scope_logs.into_iter().flat_map(|scope| scope.log_records));
            }
        }
        "/v1/metrics" => {
            let resources = ExportMetricsServiceRequest::decode(body).unwrap().resource_metrics;
            let scopes = resources.into_iter().flat_map(|of| of.scope_metrics);
            received.metrics.push(scopes.flat_map(|scope| scope.metrics).collect());
        }
        path => panic!("a request to {path}"),
    }
}

/// Returns a value as text.
pub(crate) fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

/// Returns the value of an attribute as text; empty if there is none.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> String {
    text(attributes.iter().find(|attribute| attribute.key == key).and_then(|found| found.value.as_ref()))
}

/// Returns the series of metrics: for each name and its labels, the value.
pub(crate) fn series(metrics: &[Metric]) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for metric in metrics {
        let points = match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => &gauge.data_points,
            Data::Sum(sum) => {
                assert!(sum.is_monotonic, "{} only grows", metric.name);
                &sum.data_points
            }
            other => panic!("{other:?}"),
        };
        for point in points {
            let mut labels: Vec<_> = point.attributes.iter().collect();
            labels.sort_by_key(|label| &label.key);
            let labels = labels.iter().map(|label| format!("{}={}", label.key, text(label.value.as_ref())));
            let name = format!("{}{{{}}}", metric.name, labels.collect::<Vec<_>>().join(","));
            let value = match point.value.unwrap() {
                number_data_point::Value::AsDouble(value) => value,
                #[expect(clippy::cast_precision_loss, reason = "the counts of a test are small")]
                number_data_point::Value::AsInt(value) => value as f64,
            };
            all.insert(name, value);
        }
    }
    all
}
