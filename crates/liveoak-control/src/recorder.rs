//! Records the events of a tree and the output of its programs, from the first on.

use crate::limits::{KEPT_EVENT_BYTES, KEPT_EVENTS, KEPT_LINE_BYTES, KEPT_LINES};
use crate::metrics::Counters;
use crate::ring::Ring;
use liveoak_api::convert::Converter;
use liveoak_api::{OutputLine, Timestamp};
use liveoak_runtime::{Event, EventKind, EventOrLost, Events, Exit, OutputPiece, Path, TreeHandle};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// An event that is kept. Its JSON is made once, when the first reader wants it.
#[derive(Debug)]
pub(crate) struct KeptEvent {
    pub(crate) event: Event,
    json: OnceLock<Box<str>>,
}

impl KeptEvent {
    pub(crate) fn json(&self, tree: &TreeHandle, run: u64) -> &str {
        let json = || serde_json::to_string(&Converter::new(tree, run).event(&self.event));
        self.json.get_or_init(|| json().unwrap_or_default().into())
    }
}

/// A line of output that is kept.
#[derive(Debug)]
pub(crate) struct KeptLine {
    pub(crate) at: SystemTime,
    pub(crate) path: Path,
    attempt: u64,
    stream: &'static str,
    text: Box<str>,
}

impl KeptLine {
    pub(crate) fn to_wire(&self, run: u64, n: u64) -> OutputLine {
        OutputLine {
            run,
            n,
            at: Timestamp(self.at),
            path: Some(self.path.to_string()),
            attempt: Some(self.attempt),
            stream: self.stream.to_owned(),
            line: self.text.to_string(),
            count: None,
        }
    }
}

/// What was recorded of one tree.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) run: u64,
    pub(crate) events: Ring<KeptEvent>,
    pub(crate) lines: Ring<KeptLine>,
    pub(crate) counters: Counters,
}

impl Recorder {
    /// Makes the recorder of a run. `first` is the number of the first event that is recorded.
    pub(crate) fn new(run: u64, first: u64) -> Arc<Self> {
        let events = Ring::new(first, KEPT_EVENTS, KEPT_EVENT_BYTES);
        let lines = Ring::new(1, KEPT_LINES, KEPT_LINE_BYTES);
        Arc::new(Self { run, events, lines, counters: Counters::default() })
    }

    /// Records events until the tree has ended.
    pub(crate) async fn record(&self, mut events: Events, tree: &TreeHandle) {
        while let Some(next) = events.next().await {
            match next {
                EventOrLost::Event(event) => self.add(event, tree),
                EventOrLost::Lost(count) => self.events.lose(count),
            }
        }
        self.close();
    }

    /// Ends the streams of readers that have read everything.
    pub(crate) fn close(&self) {
        self.events.close();
        self.lines.close();
    }

    fn add(&self, event: Event, tree: &TreeHandle) {
        self.counters.count(&event, tree);
        // The events of a tree have no gaps, so the ring's own number is that of the event.
        self.events.push(bytes(&event), |number| {
            debug_assert_eq!(number, event.number, "the events of a tree have no gaps");
            KeptEvent { event, json: OnceLock::new() }
        });
    }

    /// Records a line of output, or a piece of a long line.
    pub(crate) fn wrote(&self, piece: OutputPiece<'_>) {
        // The last piece of a line may be empty: it only marks the end of the line.
        if piece.continues && piece.text.is_empty() {
            return;
        }
        let line = KeptLine {
            at: SystemTime::now(),
            path: piece.path.clone(),
            attempt: piece.attempt.0,
            stream: piece.stream,
            text: piece.text.into(),
        };
        self.lines.push(piece.text.len() + 64, |_| line);
    }
}

/// Returns about how much memory an event takes, with the JSON that may be made of it.
fn bytes(event: &Event) -> usize {
    let text = match &event.kind {
        EventKind::Exited { exit: Exit::Failed(failure), .. } => failure.text().len(),
        EventKind::Exited { exit: Exit::Panicked(panic), .. } => {
            panic.message.len() + panic.backtrace.as_ref().map_or(0, String::len)
        }
        EventKind::Health { reason: Some(reason), .. } | EventKind::Unready { reason, .. } => reason.len(),
        _ => 0,
    };
    384 + 3 * text
}
