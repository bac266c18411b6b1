//! The log of `liveoak up` on stderr: the library's events about children, in three formats.
//!
//! It also keeps the reasons why children were not ready, because the report at the end names them. Messages about the
//! run as a whole are in `status.rs`.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use liveoak_config::one_line;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::status::pretty;
use super::writer::{Room, StreamWriter};
use crate::args::{LogFormat, LogLevel};
use crate::output::escaped_json;

/// The event that says why a child was not ready when it was stopped.
const NOT_READY: &str = "not-ready";

/// Starts to write the library's events to `stderr`, and to keep the reasons why children were not ready.
pub(crate) fn init(
    format: LogFormat,
    level: LogLevel,
    stderr: StreamWriter,
    began: Instant,
    colour: bool,
) -> Arc<NotReadyReasons> {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // The status messages of `liveoak up` say when the tree starts and how it has ended. A log of all details has the events
    // without a gap.
    let of_tree = if level >= LevelFilter::DEBUG { level } else { LevelFilter::OFF };
    let level = Targets::new().with_default(level).with_target("liveoak::tree", of_tree);
    let stderr = LineWriter { stderr: stderr.with_room(Room::Log), format };
    let base = tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(move || stderr.clone());
    let log = match format {
        LogFormat::Pretty => base.event_format(Pretty { began, colour }).with_filter(level).boxed(),
        LogFormat::Compact => base.compact().with_target(false).with_filter(level).boxed(),
        LogFormat::Json => base.json().flatten_event(true).with_filter(level).boxed(),
    };
    let reasons = Arc::new(NotReadyReasons::default());
    let kept = ReasonLayer(Arc::clone(&reasons)).with_filter(LevelFilter::WARN);
    // This fails only if a subscriber was set before, and this program sets only one.
    let _ = tracing_subscriber::registry().with(log).with(kept).try_init();
    reasons
}

/// Writes each event to stderr as one line without control characters. The subscriber writes an event as a whole.
#[derive(Clone)]
struct LineWriter {
    stderr: StreamWriter,
    format: LogFormat,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let event = String::from_utf8_lossy(bytes);
        let line = match self.format {
            LogFormat::Pretty => event,
            LogFormat::Compact => one_compact_line(&event).into(),
            LogFormat::Json => escaped_json(&event).into_owned().into(),
        };
        self.stderr.write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stderr.flush()
    }
}

/// Escapes the control characters that the compact format of the subscriber leaves in an event, such as line ends. It has escaped
/// ESC in messages itself; any other ESC belongs to a colour.
fn one_compact_line(event: &str) -> String {
    let escaped = |piece: &str| one_line(piece).into_owned();
    let pieces = event.trim_end_matches('\n').split('\u{1b}').map(escaped);
    pieces.collect::<Vec<_>>().join("\u{1b}") + "\n"
}

/// For each child, the latest reason why it was not ready.
#[derive(Debug, Default)]
pub(crate) struct NotReadyReasons {
    /// The reasons by path. Their number is bounded by the number of declared children.
    latest: Mutex<HashMap<String, String>>,
}

impl NotReadyReasons {
    /// Returns why the child at `path` was not ready when it was last stopped before it was ready.
    pub(crate) fn of(&self, path: &str) -> Option<String> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

/// Collects the reasons at every log level, even if the log is off.
struct ReasonLayer(Arc<NotReadyReasons>);

impl<S: Subscriber> Layer<S> for ReasonLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "liveoak" {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.event == NOT_READY && !fields.reason.is_empty() {
            let mut latest = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.insert(fields.path, fields.reason);
        }
    }
}

/// Formats an event as one line: the time since the start, the level, the text.
struct Pretty {
    began: Instant,
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = one_line(&fields.message);
        writeln!(writer, "{}", pretty(self.began, *event.metadata().level(), &message, self.colour))
    }
}

/// The message of an event, and the fields that this file reads.
#[derive(Default)]
struct Fields {
    message: String,
    event: String,
    path: String,
    reason: String,
}

impl tracing::field::Visit for Fields {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "message" => &mut self.message,
            "event" => &mut self.event,
            "path" => &mut self.path,
            "reason" => &mut self.reason,
            _ => return,
        };
        *text = format!("{value:?}");
    }
}
