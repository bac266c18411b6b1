//! `/metrics`: the metrics of the tree in the text format of Prometheus.

use liveoak_api::convert::{Counters, Family, families};
use liveoak_runtime::Snapshot;
use std::fmt::Write as _;

/// Returns the text of all metrics.
pub(crate) fn text(snapshot: &Snapshot, counters: &Counters, events_lost: u64) -> String {
    let mut out = Text::default();
    for family in families(snapshot, counters, events_lost) {
        out.family(&family);
        for sample in &family.samples {
            out.sample(family.name, &sample.labels, sample.value);
        }
    }
    out.0
}

/// The text of the metrics, so far.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, family: &Family) {
        let Family { name, about, .. } = family;
        let kind = if family.is_counter { "counter" } else { "gauge" };
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, String)], value: f64) {
        self.0.push_str(name);
        for (nth, (label, text)) in labels.iter().enumerate() {
            self.0.push(if nth == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_escaped_as_the_text_format_wants_it() {
        let mut text = Text::default();
        text.sample("m", &[("path", "a\"b\\c\nd".to_owned())], 1.0);
        assert_eq!(text.0, "m{path=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}
