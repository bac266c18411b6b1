//! A log subscriber that blocks stops only the log. This test has a process of its own, because a process has one log
//! thread.

mod each_line;

use each_line::EachLine;
use liveoak_runtime::testing::eventually;
use liveoak_runtime::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use tracing::field::{Field, Visit};

/// A log subscriber that takes some lines, then blocks until it is released.
#[derive(Clone, Default)]
struct BlockingLog {
    written: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    released: Arc<(Mutex<bool>, Condvar)>,
}

const LINES_BEFORE_IT_BLOCKS: u64 = 100;

impl BlockingLog {
    fn line(&self, event: &tracing::Event<'_>) {
        let before = self.lost.load(Ordering::SeqCst);
        event.record(&mut Lost(&self.lost));
        if self.lost.load(Ordering::SeqCst) == before
            && self.written.fetch_add(1, Ordering::SeqCst) == LINES_BEFORE_IT_BLOCKS
        {
            let mut released = self.released.0.lock().unwrap();
            while !*released {
                released = self.released.1.wait(released).unwrap();
            }
        }
    }
}

/// Adds up the lines that were lost.
struct Lost<'a>(&'a AtomicU64);

impl Visit for Lost<'_> {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "lost" {
            self.0.fetch_add(value, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_log_subscriber_that_blocks_stops_only_the_log_and_lost_lines_are_reported() {
    let log = BlockingLog::default();
    let lines = log.clone();
    let each_line = EachLine(move |event: &tracing::Event<'_>| lines.line(event));
    tracing::subscriber::set_global_default(each_line).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let events = runtime.block_on(async {
        let child = |n: usize| {
            let child = Child::task(format!("c{n}"), |_| async { Err::<(), _>("again") });
            child.backoff(None).limit(Limit::unlimited())
        };
        let tree = Supervisor::new("t").children((0..20).map(child)).begin().unwrap();
        // Many more lines than the log keeps.
        eventually("many restarts", || tree.snapshot().number > 100_000).await;
        assert_eq!(log.written.load(Ordering::SeqCst), LINES_BEFORE_IT_BLOCKS + 1, "it blocks");
        // The stop waits a second for the log, not until it is released.
        assert!(tree.stop().await.is_clean());
        tree.snapshot().number
    });
    *log.released.0.lock().unwrap() = true;
    log.released.1.notify_all();
    let all = || log.written.load(Ordering::SeqCst) + log.lost.load(Ordering::SeqCst);
    runtime.block_on(eventually("each line is written or counted", || all() == events));
    assert!(log.lost.load(Ordering::SeqCst) > 50_000);
}
