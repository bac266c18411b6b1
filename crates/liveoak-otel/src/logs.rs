//! The events of the tree as log records.

use crate::budget::Budget;
use crate::limits::MAX_TEXT;
use liveoak_runtime::internal::event_text;
use liveoak_runtime::{Event, Severity};
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, Severity as Level};
use opentelemetry::trace::SpanContext;
use opentelemetry_sdk::logs::SdkLogger;
use std::time::{Instant, SystemTime};

/// Sends events from a severity on.
#[derive(Debug)]
pub(crate) struct Logs {
    logger: SdkLogger,
    from: Severity,
    budget: Budget,
}

impl Logs {
    pub(crate) fn new(logger: SdkLogger, from: Severity) -> Self {
        Self { logger, from, budget: Budget::new(Instant::now()) }
    }

    /// Sends an event that happened `at`, in an attempt with this span. Returns `false` if it was dropped.
    pub(crate) fn send(&mut self, event: &Event, at: SystemTime, span: Option<&SpanContext>) -> bool {
        if event.severity < self.from {
            return true;
        }
        if !self.budget.take(Instant::now()) {
            return false;
        }
        let (level, name) = match event.severity {
            Severity::Debug => (Level::Debug, "DEBUG"),
            Severity::Info => (Level::Info, "INFO"),
            Severity::Warn => (Level::Warn, "WARN"),
            Severity::Error => (Level::Error, "ERROR"),
        };
        let mut record = self.logger.create_log_record();
        record.set_timestamp(at);
        record.set_observed_timestamp(SystemTime::now());
        record.set_severity_number(level);
        record.set_severity_text(name);
        record.set_body(AnyValue::from(bounded(event_text(event))));
        record.add_attribute("liveoak.path", event.path.to_string());
        record.add_attribute("liveoak.event", event.kind.name());
        record.add_attribute("liveoak.number", i64::try_from(event.number).unwrap_or(i64::MAX));
        let origin = event.origin.as_deref();
        if let Some(by) = origin.and_then(|origin| origin.by.as_ref()) {
            record.add_attribute("liveoak.by", by.to_string());
        }
        if let Some(because) = origin.and_then(|origin| origin.because.as_ref()) {
            record.add_attribute("liveoak.because", because.to_string());
        }
        let description = event.description.as_deref();
        if let Some(title) = description.and_then(|description| description.title.as_ref()) {
            record.add_attribute("liveoak.title", title.to_string());
        }
        if let Some(span) = span {
            record.set_trace_context(span.trace_id(), span.span_id(), Some(span.trace_flags()));
        }
        self.logger.emit(record);
        true
    }
}

/// Returns a text without what is beyond the bound of attributes.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(bounded("short".to_owned()), "short");
        let long = bounded("é".repeat(MAX_TEXT));
        assert_eq!(long.chars().count(), MAX_TEXT / 2 + 1);
        let odd = bounded(format!("a{}", "é".repeat(MAX_TEXT)));
        assert_eq!(odd.chars().count(), MAX_TEXT / 2 + 1);
    }
}
