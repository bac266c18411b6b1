//! The thread that reads the events of a tree.

use crate::attempts::Attempts;
use crate::error::OtelError;
use crate::limits::FINISH_WITHIN;
use crate::logs::Logs;
use crate::metrics::{self, Counted};
use crate::providers::Providers;
use liveoak_runtime::{EventOrLost, Events, RunHold, Severity, Snapshot, TreeHandle};
use opentelemetry::InstrumentationScope;
use opentelemetry::logs::LoggerProvider as _;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime};

/// An observation of a tree. It ends with the tree. When this value is dropped before, it goes on.
#[derive(Debug)]
pub struct OtelObserver {
    /// Closed when the last of it was sent.
    ended: Option<Receiver<()>>,
}

impl OtelObserver {
    /// Returns the observation that observes nothing.
    pub(crate) const fn idle() -> Self {
        Self { ended: None }
    }

    /// Waits until the tree has ended and the last of its telemetry was sent: at most `within`. A program that uses
    /// [`Supervisor::run`](liveoak_runtime::Supervisor::run) need not call it.
    pub fn finish(self, within: Duration) {
        if let Some(ended) = self.ended {
            let _ = ended.recv_timeout(within);
        }
    }
}

/// What the thread makes of events.
struct Observer {
    tree: TreeHandle,
    attempts: Option<Attempts>,
    logs: Option<Logs>,
    counted: Arc<Counted>,
    /// The number of the last event whose effect on the spans is known from a snapshot.
    seen: u64,
}

/// Starts the thread.
///
/// # Errors
/// When there is none.
pub(crate) fn start(
    tree: &TreeHandle,
    providers: Providers,
    logs_from: Severity,
) -> Result<OtelObserver, OtelError> {
    let (begin, events) = tree.watch();
    let hold = tree.hold_run();
    let tree = tree.clone();
    let (end, ended) = mpsc::channel();
    let run = move || {
        let observer = Observer::new(tree, &providers, &begin, logs_from);
        observer.run(events);
        end_within(providers, hold);
        drop(end);
    };
    let thread = thread::Builder::new().name("liveoak-otel".to_owned());
    thread.spawn(run).map_err(OtelError::Thread)?;
    Ok(OtelObserver { ended: Some(ended) })
}

/// Sends what is left, and lets the run of the tree end when that is done, or has taken too long.
fn end_within(providers: Providers, hold: RunHold) {
    let (end, ended) = mpsc::channel::<()>();
    let send = move || {
        providers.end(FINISH_WITHIN);
        drop(end);
    };
    // Without a further thread nothing is sent any more.
    if thread::Builder::new().name("liveoak-otel-end".to_owned()).spawn(send).is_ok()
        && ended.recv_timeout(FINISH_WITHIN) == Err(RecvTimeoutError::Timeout)
    {
        tracing::debug!(target: "liveoak", event = "otel", "the last telemetry could not be sent in time");
    }
    drop(hold);
}

impl Observer {
    fn new(tree: TreeHandle, providers: &Providers, begin: &Snapshot, logs_from: Severity) -> Self {
        let scope =
            || InstrumentationScope::builder("liveoak").with_version(env!("CARGO_PKG_VERSION")).build();
        let counted = Arc::new(Counted::default());
        if let Some(provider) = &providers.meter {
            metrics::register(&provider.meter_with_scope(scope()), &tree, &counted);
        }
        let attempts = providers
            .tracer
            .as_ref()
            .map(|provider| Attempts::new(provider.tracer_with_scope(scope()), begin, &tree));
        let logs = providers
            .logger
            .as_ref()
            .map(|provider| Logs::new(provider.logger_with_scope(scope()), logs_from));
        Self { tree, attempts, logs, counted, seen: begin.number }
    }

    fn run(mut self, mut events: Events) {
        // The events need no reactor and no timer: only something that waits.
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
        runtime.block_on(async {
            while let Some(next) = events.next().await {
                self.observe(&next);
            }
        });
        if let Some(attempts) = &mut self.attempts {
            attempts.end(SystemTime::now());
        }
    }

    fn observe(&mut self, next: &EventOrLost) {
        match next {
            EventOrLost::Event(event) => {
                self.counted.of_tree.count(event, &self.tree);
                let at = self.tree.to_system_time(event.at);
                if let Some(attempts) = &mut self.attempts
                    && event.number > self.seen
                {
                    attempts.follow(event, at);
                }
                let span = self.attempts.as_ref().and_then(|attempts| attempts.context(&event.path));
                let is_sent = self.logs.as_mut().is_none_or(|logs| logs.send(event, at, span));
                self.counted.records_dropped.fetch_add(u64::from(!is_sent), Ordering::Relaxed);
            }
            EventOrLost::Lost(count) => {
                self.counted.events_lost.fetch_add(*count, Ordering::Relaxed);
                if let Some(attempts) = &mut self.attempts {
                    let snapshot = self.tree.snapshot();
                    // Events that are read later may be older than the snapshot: their effect is in it.
                    self.seen = snapshot.number;
                    attempts.resume(&snapshot, &self.tree, SystemTime::now());
                }
            }
        }
        if let Some(attempts) = &mut self.attempts {
            self.counted.spans_dropped.fetch_add(attempts.take_dropped(), Ordering::Relaxed);
        }
    }
}
