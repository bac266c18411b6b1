//! Records the events of a tree and the output of its programs, from the first on: the last ones in memory, and all on disk.

use crate::history::{GivenCommand, History, Past};
use crate::limits::{
    CATCH_UP_WITHIN, KEPT_EVENT_BYTES, KEPT_EVENTS, KEPT_LINE_BYTES, KEPT_LINES, MAX_SCANS, WRITTEN_WITHIN,
};
use crate::ring::Ring;
use crate::tails::Tails;
use liveoak_api::convert::{Converter, Counters};
use liveoak_api::{OutputLine, Timestamp};
use liveoak_runtime::{Event, EventKind, EventOrLost, Events, Exit, OutputPiece, Path, Snapshot, TreeHandle};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// An event that is kept. Its JSON is made once: for the journal, or when the first reader wants it.
#[derive(Debug)]
pub(crate) struct KeptEvent {
    pub(crate) event: Event,
    /// Of a crash: the last lines of the attempt.
    lines: Vec<String>,
    json: OnceLock<Box<str>>,
}

impl KeptEvent {
    pub(crate) fn json(&self, tree: &TreeHandle, run: u64) -> &str {
        let json = || serde_json::to_string(&wire(&self.event, &self.lines, tree, run));
        self.json.get_or_init(|| json().unwrap_or_default().into())
    }
}

/// Returns an event as it is on the wire.
fn wire(event: &Event, lines: &[String], tree: &TreeHandle, run: u64) -> liveoak_api::Event {
    liveoak_api::Event { lines: lines.to_vec(), ..Converter::new(tree, run).event(event) }
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
    pub(crate) const fn attempt(&self) -> u64 {
        self.attempt
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

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
    tails: Tails,
    /// What reads the history on disk, if there is one.
    pub(crate) past: Option<Past>,
    /// The history on disk, until the server ends.
    history: RwLock<Option<Arc<History>>>,
    /// Why there is no history on disk although one is wanted.
    problem: Option<String>,
    /// Bounds how many requests read the whole history at the same time.
    scans: Arc<Semaphore>,
}

impl Recorder {
    /// Makes the recorder of a run whose first event that is recorded has the number `first`. Without a history on disk, the
    /// run has the number `run`. The error of `history` says why there is none although one is wanted.
    pub(crate) fn new(run: u64, first: u64, history: Result<Option<History>, String>) -> Arc<Self> {
        let (history, problem) = match history {
            Ok(history) => (history, None),
            Err(problem) => (None, Some(problem)),
        };
        let run = history.as_ref().map_or(run, History::run);
        let past = history.as_ref().map(History::past);
        let history = RwLock::new(history.map(Arc::new));
        let events = Ring::new(first, KEPT_EVENTS, KEPT_EVENT_BYTES);
        let lines = Ring::new(1, KEPT_LINES, KEPT_LINE_BYTES);
        Arc::new(Self {
            run,
            events,
            lines,
            counters: Counters::default(),
            tails: Tails::default(),
            past,
            history,
            problem,
            scans: Arc::new(Semaphore::new(MAX_SCANS)),
        })
    }

    /// Returns the history on disk, unless there is none or it has ended.
    pub(crate) fn history(&self) -> Option<Arc<History>> {
        self.history.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records events until the tree has ended. `begin` is the tree before the first of them.
    pub(crate) async fn record(&self, mut events: Events, begin: Snapshot, tree: &TreeHandle) {
        let history = self.history();
        if let Some(history) = &history {
            history.checkpoint(tree, || begin);
        }
        while let Some(next) = events.next().await {
            match next {
                EventOrLost::Event(event) => self.add(event, tree, history.as_deref()),
                EventOrLost::Lost(count) => {
                    let last = self.events.lose(count);
                    let snapshot = tree.snapshot();
                    let attempt = |path: &Path| snapshot.get(path).map(|view| view.attempt.0);
                    self.tails.retain(|path, of| attempt(path) == Some(of));
                    if let Some(history) = &history {
                        history.lost(last, count);
                    }
                }
            }
            if let Some(history) = &history {
                history.checkpoint(tree, || tree.snapshot());
            }
        }
        self.close();
    }

    /// Records a command before it is carried out.
    ///
    /// # Errors
    /// When the history on disk has no room for it.
    pub(crate) fn command(&self, command: &GivenCommand<'_>) -> Result<(), String> {
        match self.history() {
            Some(history) => history.command(self.events.next() - 1, command),
            None => Ok(()),
        }
    }

    /// Reads all of the history, on a thread that may wait for the disk. Only a few do so at the same time; a caller that goes
    /// away before its turn costs nothing.
    ///
    /// # Errors
    /// When `read` has panicked.
    pub(crate) async fn scan<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let permit = Arc::clone(&self.scans).acquire_owned().await.ok();
        let read = move || {
            let _permit = permit;
            read()
        };
        tokio::task::spawn_blocking(read).await
    }

    /// Waits until memory has the events up to now, for a bounded time.
    pub(crate) async fn catch_up(&self, tree: &TreeHandle) {
        let number = tree.snapshot().number;
        let mut changes = self.events.changes();
        let caught_up = changes.wait_for(|(next, ended)| *next > number || *ended);
        let _ = tokio::time::timeout(CATCH_UP_WITHIN, caught_up).await;
    }

    /// Waits until everything up to now is on disk, for a bounded time.
    ///
    /// # Errors
    /// When it is not, with the reason.
    pub(crate) async fn settle(&self, tree: &TreeHandle) -> Result<(), String> {
        let Some(history) = self.history() else { return self.problem.clone().map_or(Ok(()), Err) };
        // In a storm of events the last ones may come too late. What they follow from is recorded.
        self.catch_up(tree).await;
        // Not one of the threads that read the history: all of those may be busy.
        let (tell, settled) = tokio::sync::oneshot::channel();
        let wait = move || drop(tell.send(history.settle()));
        std::thread::Builder::new()
            .name("liveoak-settle".to_owned())
            .spawn(wait)
            .map_err(|error| error.to_string())?;
        match tokio::time::timeout(crate::limits::SETTLE_WITHIN, settled).await {
            Ok(Ok(settled)) => settled,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the disk has not answered in time".to_owned()),
        }
    }

    /// Ends the history on disk. Another opening of its folder begins the next run.
    pub(crate) fn end_history(&self) {
        let history = self.history.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(history) = history {
            history.end(WRITTEN_WITHIN);
            history.tell_notices();
        }
    }

    /// Ends the streams of readers that have read everything.
    pub(crate) fn close(&self) {
        self.events.close();
        self.lines.close();
    }

    fn add(&self, event: Event, tree: &TreeHandle, history: Option<&History>) {
        self.counters.count(&event, tree);
        let lines = self.last_lines(&event);
        let json = OnceLock::new();
        if let Some(history) = history {
            let event = wire(&event, &lines, tree, self.run);
            let text = serde_json::to_string(&event).unwrap_or_default();
            history.event(&event, &text);
            let _ = json.set(text.into());
        }
        // The events of a tree have no gaps, so the ring's own number is that of the event.
        let bytes = bytes(&event) + 2 * lines.iter().map(String::len).sum::<usize>();
        self.events.push(bytes, |number| {
            debug_assert_eq!(number, event.number, "the events of a tree have no gaps");
            KeptEvent { event, lines, json }
        });
    }

    /// Returns the last lines of an attempt that has failed by itself. The lines of other attempts that have ended are dropped.
    fn last_lines(&self, event: &Event) -> Vec<String> {
        let EventKind::Exited { attempt, exit, stopped_by_others, .. } = &event.kind else {
            return Vec::new();
        };
        let lines = self.tails.take(&event.path, *attempt);
        if exit.is_failure() && !stopped_by_others { lines } else { Vec::new() }
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
        self.tails.add(piece.path, piece.attempt, piece.text);
        let history = self.history();
        self.lines.push(piece.text.len() + 64, |number| {
            // Both count from 1, and in the same order: the ring is locked.
            let logged = history.as_deref().map(|history| history.line(line.at, piece));
            debug_assert!(logged.is_none_or(|logged| logged == number), "a line has one number");
            line
        });
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
