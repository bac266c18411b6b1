//! Status messages of `liveoak up` on stderr: why it stops, errors of the run, and the report at the end.
//!
//! They are lines of text, or with `--log-format json` one JSON object per line, like the lines of the log. They do not
//! depend on `--log-level`: a user who stops the tree always wants to see its end. `log.rs` writes the messages about
//! single children.

use std::fmt::Display;
use std::time::Instant;

use liveoak_config::one_line;
use serde::Serialize;
use serde_json::Value;
use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::writer::{LossNote, StreamWriter};
use crate::args::LogFormat;
use crate::output::escaped_json;

/// Writes status messages to stderr in the chosen format.
#[derive(Clone)]
pub(crate) struct StatusLog {
    stderr: StreamWriter,
    format: LogFormat,
    /// The start of the run. Times in the pretty format count from here.
    began: Instant,
    colour: bool,
}

/// A line of JSON. Its keys are the keys of the log's lines, in the same order.
#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: String,
    level: &'a str,
    message: &'a str,
    event: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    more: Option<&'a Value>,
}

impl StatusLog {
    pub(crate) fn new(format: LogFormat, began: Instant, colour: bool, stderr: StreamWriter) -> Self {
        Self { stderr, format, began, colour }
    }

    /// Writes a message. `event` is its name in JSON.
    pub(crate) fn message(&self, level: Level, event: &str, message: &str) {
        match self.format {
            LogFormat::Json => self.stderr.text(&json(level, event, message, None)),
            LogFormat::Pretty => {
                self.stderr.line(&pretty(self.began, level, &one_line(message), self.colour));
            }
            LogFormat::Compact => {
                let message = one_line(message);
                self.stderr.line(&format!("{} {:>5} {message}", timestamp(), level.as_str()));
            }
        }
    }

    /// Writes a message. In JSON it also has the keys of `more`.
    pub(crate) fn message_with(&self, level: Level, event: &str, message: &str, more: &Value) {
        match self.format {
            LogFormat::Json => self.stderr.text(&json(level, event, message, Some(more))),
            LogFormat::Pretty | LogFormat::Compact => self.message(level, event, message),
        }
    }

    /// Writes an error of the run itself.
    pub(crate) fn error(&self, message: impl Display) {
        self.stderr.text(error_text(self.format, &message.to_string()).as_bytes());
    }

    /// Writes a document: `text`, or in JSON the `headline` as the message together with the keys of `more`.
    pub(crate) fn document(&self, level: Level, event: &str, headline: &str, text: &str, more: &Value) {
        match self.format {
            LogFormat::Json => self.stderr.text(&json(level, event, headline, Some(more))),
            LogFormat::Pretty | LogFormat::Compact => self.stderr.text(text.as_bytes()),
        }
    }
}

/// Returns the line for an error of the run itself.
pub(crate) fn error_text(format: LogFormat, message: &str) -> String {
    match format {
        LogFormat::Json => json_line(Level::ERROR, "error", message),
        LogFormat::Pretty | LogFormat::Compact => format!("error: {}\n", one_line(message)),
    }
}

/// Returns a line of the pretty format without its line end: the time since the start, the level, the text.
pub(crate) fn pretty(began: Instant, level: Level, message: &str, colour: bool) -> String {
    let time = began.elapsed().as_secs_f64();
    // The words have one width. The colours are SGR parameters (ECMA-48).
    let (word, sgr) = match level {
        Level::ERROR => ("ERROR", "31"),
        Level::WARN => ("WARN ", "33"),
        Level::INFO => ("info ", "32"),
        Level::DEBUG => ("debug", "34"),
        Level::TRACE => ("trace", "35"),
    };
    if colour {
        format!("\x1b[2m{time:9.3}s\x1b[0m \x1b[{sgr}m{word}\x1b[0m {message}")
    } else {
        format!("{time:9.3}s {word} {message}")
    }
}

/// Returns a message as a line of JSON.
pub(crate) fn json_line(level: Level, event: &str, message: &str) -> String {
    String::from_utf8_lossy(&json(level, event, message, None)).into_owned()
}

fn json(level: Level, event: &str, message: &str, more: Option<&Value>) -> Vec<u8> {
    let line = JsonLine { timestamp: timestamp(), level: level.as_str(), message, event, more };
    // Serializing fails only for maps whose keys are not strings, and there are none.
    let mut text = escaped_json(&serde_json::to_string(&line).unwrap_or_default()).into_owned();
    text.push('\n');
    text.into_bytes()
}

/// Returns the current time in the format of the log.
fn timestamp() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Returns the function that reports lost lines of the log.
pub(crate) fn loss_note(format: LogFormat) -> LossNote {
    if format == LogFormat::Json { json_loss_note } else { text_loss_note }
}

fn text_loss_note(lost: u64) -> String {
    format!("{lost} log messages were lost here, because the reader of stderr was too slow\n")
}

fn json_loss_note(lost: u64) -> String {
    let message = text_loss_note(lost);
    let message = message.trim_end();
    String::from_utf8(json(Level::WARN, "lost", message, None)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_json_every_message_is_one_line() {
        let more = serde_json::json!({ "report": { "clean": true } });
        let line = json(Level::INFO, "stop-report", "two\nlines", Some(&more));
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let line: Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "two\nlines");
        assert_eq!(line["event"], "stop-report");
        assert_eq!(line["report"]["clean"], true);
        let lost: Value = serde_json::from_str(&json_loss_note(7)).expect("JSON");
        assert_eq!(lost["event"], "lost");
    }
}
