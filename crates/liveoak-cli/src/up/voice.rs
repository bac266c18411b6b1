//! What this program itself says on stderr, beside the log: that it stops, what went wrong with the run, and the
//! report at the end. For people a line of text; with `--log-format json` one JSON object per line, as the log has.
//!
//! `--log-level` has no say here: whoever stops the tree wants to know.

use std::fmt::Display;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::pump::Pump;
use crate::args::LogFormat;

/// How much attention a notice asks for, in the log's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Info,
    Warn,
    Error,
}

/// The way to stderr in the form that was asked for.
#[derive(Clone)]
pub(crate) struct Voice {
    stderr: Pump,
    format: LogFormat,
    /// The zero of the times in the pretty log.
    began: Instant,
    colour: bool,
}

/// A line for machines; the keys are those of the log's lines, in their order.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    message: &'a str,
    event: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    more: Option<&'a Value>,
}

impl Voice {
    pub(crate) fn new(format: LogFormat, began: Instant, colour: bool) -> Self {
        let loss = if format == LogFormat::Json { lost_as_json } else { lost_as_text };
        Self { stderr: Pump::stderr(loss), format, began, colour }
    }

    /// Where the log goes.
    pub(crate) fn stderr(&self) -> &Pump {
        &self.stderr
    }

    /// One notice; `event` is its name for machines.
    pub(crate) fn say(&self, weight: Weight, event: &str, message: &str) {
        match self.format {
            LogFormat::Json => self.stderr.text(&json(weight, event, message, None)),
            LogFormat::Pretty => {
                self.stderr.line(&pretty(self.began, weight.word(), weight.colour(), message, self.colour));
            }
            LogFormat::Compact => {
                self.stderr.line(&format!("{} {:>5} {message}", timestamp(), weight.level()));
            }
        }
    }

    /// Something is wrong with the run itself.
    pub(crate) fn error(&self, message: impl Display) {
        match self.format {
            LogFormat::Json => {
                self.stderr.text(&json(Weight::Error, "error", &message.to_string(), None));
            }
            LogFormat::Pretty | LogFormat::Compact => self.stderr.line(&format!("error: {message}")),
        }
    }

    /// A document: as text for people, as `more` beside the `headline` for machines.
    pub(crate) fn document(&self, weight: Weight, event: &str, headline: &str, text: &str, more: &Value) {
        match self.format {
            LogFormat::Json => self.stderr.text(&json(weight, event, headline, Some(more))),
            LogFormat::Pretty | LogFormat::Compact => self.stderr.text(text.as_bytes()),
        }
    }
}

impl Weight {
    const fn level(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Info => "info ",
            Self::Warn => "WARN ",
            Self::Error => "ERROR",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Info => "32",
            Self::Warn => "33",
            Self::Error => "31",
        }
    }
}

/// A line of the pretty log, without its end: the time since the start, the level, the text.
pub(crate) fn pretty(began: Instant, word: &str, sgr: &str, message: &str, colour: bool) -> String {
    let time = began.elapsed().as_secs_f64();
    if colour {
        format!("\x1b[2m{time:9.3}s\x1b[0m \x1b[{sgr}m{word}\x1b[0m {message}")
    } else {
        format!("{time:9.3}s {word} {message}")
    }
}

fn json(weight: Weight, event: &str, message: &str, more: Option<&Value>) -> Vec<u8> {
    let line = Line { timestamp: timestamp(), level: weight.level(), message, event, more };
    // Strings and documents made here can always be written.
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Now, as the log writes it.
fn timestamp() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

fn lost_as_text(lost: u64) -> String {
    format!("{lost} lines of the log were lost here: it is read too slowly\n")
}

fn lost_as_json(lost: u64) -> String {
    let message = format!("{lost} lines of the log were lost here: it is read too slowly");
    String::from_utf8(json(Weight::Warn, "lost", &message, None)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_machines_every_notice_is_one_line_of_json() {
        let more = serde_json::json!({ "report": { "clean": true } });
        let line = json(Weight::Info, "stop-report", "two\nlines", Some(&more));
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let line: Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "two\nlines");
        assert_eq!(line["event"], "stop-report");
        assert_eq!(line["report"]["clean"], true);
        let lost: Value = serde_json::from_str(&lost_as_json(7)).expect("JSON");
        assert_eq!(lost["event"], "lost");
    }
}
