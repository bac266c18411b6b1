//! A log subscriber is user code, and may call the tree or panic. This test has a process of its own: subscribers are shared
//! in a process, so other tests would disturb it.

use liveoak_runtime::testing::{LeakCheck, paused};
use liveoak_runtime::*;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

/// The tree that the subscriber calls, and the number of log lines.
#[derive(Clone, Default)]
struct LogCalls {
    tree: Arc<OnceLock<TreeHandle>>,
    calls: Arc<AtomicU32>,
}

impl LogCalls {
    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

/// A log subscriber that calls the tree at every line, and panics at every third.
struct CallingLog(LogCalls);

impl Subscriber for CallingLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target() == "liveoak" {
            self.0.calls.fetch_add(1, Ordering::SeqCst);
            assert!(!self.0.calls().is_multiple_of(3), "a log that panics");
            if let Some(tree) = self.0.tree.get() {
                let _ = (tree.snapshot(), tree.events());
                tree.begin_stop();
            }
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_log_subscriber_may_call_the_tree_and_panic() {
    let calls = LogCalls::default();
    let log = CallingLog(calls.clone());
    tracing::subscriber::with_default(log, || {
        paused(async {
            let leak_check = LeakCheck::new();
            let puppets: Vec<_> = (0..20).map(|n| leak_check.puppet(format!("p{n}"))).collect();
            let children = puppets.iter().map(|puppet| puppet.child().backoff(None));
            let tree = Supervisor::new("t").children(children).start().await.unwrap();
            puppets[0].fail("x");
            puppets[0].started(2).await;
            let before = calls.calls();
            assert!(before > 40, "{before}");
            // From now on the subscriber stops the tree at its next line.
            calls.tree.set(tree.handle()).unwrap();
            puppets[1].fail("x");
            let ended = tree.join().await;
            assert!(matches!(ended.exit, Exit::Stopped), "{ended:?}");
            assert!(calls.calls() > before + 20);
            leak_check.check().await;
        });
    });
}
