//! A log subscriber is user code, and may call the tree or panic. This test has a process of its own, because all tests
//! of a process share its subscriber.

mod each_line;

use each_line::EachLine;
use liveoak_runtime::testing::{LeakCheck, paused};
use liveoak_runtime::*;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// The tree that the subscriber calls, and the number of log lines.
#[derive(Clone, Default)]
struct LogCalls {
    tree: Arc<OnceLock<TreeHandle>>,
    calls: Arc<AtomicU32>,
}

impl LogCalls {
    /// Calls the tree at every line, and panics at every third.
    fn line(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        assert!(!self.calls().is_multiple_of(3), "a log that panics");
        if let Some(tree) = self.tree.get() {
            let _ = (tree.snapshot(), tree.events());
            tree.begin_stop();
        }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

#[test]
fn a_log_subscriber_may_call_the_tree_and_panic() {
    let calls = LogCalls::default();
    let lines = calls.clone();
    let log = EachLine(move |_: &tracing::Event<'_>| lines.line());
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
