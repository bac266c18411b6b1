//! Liveoak's own log on stderr, and what of it the report at the end needs.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::pump::Pump;
use super::voice::pretty;
use crate::args::{LogFormat, LogLevel};

/// The event by which a program that is stopped before it was ready says what it was waiting for.
const NOT_READY: &str = "not-ready";

/// From now on the library's events are written to `stderr`; what they say about readiness is kept.
pub(crate) fn init(
    format: LogFormat,
    level: LogLevel,
    stderr: Pump,
    began: Instant,
    colour: bool,
) -> Arc<Reasons> {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let base = tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(move || stderr.clone());
    let log = match format {
        LogFormat::Pretty => base.event_format(Pretty { began, colour }).with_filter(level).boxed(),
        LogFormat::Compact => base.compact().with_target(false).with_filter(level).boxed(),
        LogFormat::Json => base.json().flatten_event(true).with_filter(level).boxed(),
    };
    let reasons = Arc::new(Reasons::default());
    let kept = Keep(Arc::clone(&reasons)).with_filter(LevelFilter::WARN);
    // It fails only if a subscriber is set already; this program sets one once.
    let _ = tracing_subscriber::registry().with(log).with(kept).try_init();
    reasons
}

/// Why children were not ready in time: the latest reason of each.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    /// By path; bounded by the number of children that were declared.
    latest: Mutex<HashMap<String, String>>,
}

impl Reasons {
    /// Why the child at `path` was not ready when it was last stopped before that.
    pub(crate) fn of(&self, path: &str) -> Option<String> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

/// Keeps the reasons, whatever the level of the log.
struct Keep(Arc<Reasons>);

impl<S: Subscriber> Layer<S> for Keep {
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

/// One line per event: the time since the start, the level, the text.
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
        let (word, colour) = match *event.metadata().level() {
            Level::ERROR => ("ERROR", "31"),
            Level::WARN => ("WARN ", "33"),
            Level::INFO => ("info ", "32"),
            Level::DEBUG => ("debug", "34"),
            Level::TRACE => ("trace", "35"),
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(writer, "{}", pretty(self.began, word, colour, &plain(&fields.message), self.colour))
    }
}

/// The text on one line and without control characters: exits and commands may have any.
fn plain(message: &str) -> Cow<'_, str> {
    if !message.chars().any(char::is_control) {
        return Cow::Borrowed(message);
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(message.chars().map(escaped).collect())
}

/// The text of an event, and those of its fields that are used here; all say the same for machines.
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
