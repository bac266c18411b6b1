//! Liveoak's own log on stderr.

use std::fmt;
use std::time::Instant;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::pump::Pump;
use crate::args::{LogFormat, LogLevel};
use crate::output;

/// From now on the library's events are written to `stderr`.
pub(crate) fn init(format: LogFormat, level: LogLevel, stderr: Pump) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let colour = output::colour_on_stderr();
    let base =
        tracing_subscriber::fmt().with_max_level(level).with_ansi(colour).with_writer(move || stderr.clone());
    // It fails only if a subscriber is set already; this program sets one once.
    let _ = match format {
        LogFormat::Pretty => base.event_format(Pretty { began: Instant::now(), colour }).try_init(),
        LogFormat::Compact => base.compact().with_target(false).try_init(),
        LogFormat::Json => base.json().flatten_event(true).try_init(),
    };
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
        let mut message = Message(String::new());
        event.record(&mut message);
        let time = self.began.elapsed().as_secs_f64();
        match self.colour {
            true => writeln!(writer, "\x1b[2m{time:9.3}s\x1b[0m \x1b[{colour}m{word}\x1b[0m {}", message.0),
            false => writeln!(writer, "{time:9.3}s {word} {}", message.0),
        }
    }
}

/// The text of an event; its fields say the same for machines.
struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
