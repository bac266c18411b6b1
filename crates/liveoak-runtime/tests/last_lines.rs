//! When a tree has ended, the log has all its lines. This test has a process of its own, because a process has one log
//! thread.

mod each_line;

use each_line::EachLine;
use liveoak_runtime::*;
use std::sync::atomic::{AtomicU64, Ordering};

static LINES: AtomicU64 = AtomicU64::new(0);

#[test]
fn when_a_tree_has_ended_the_log_has_all_its_lines() {
    tracing::subscriber::set_global_default(EachLine(|_: &tracing::Event<'_>| {
        LINES.fetch_add(1, Ordering::SeqCst);
    }))
    .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        for round in 0..300 {
            let before = LINES.load(Ordering::SeqCst);
            let child =
                |n: usize| Child::task(format!("c{n}"), |ctx: Ctx| async move { ctx.stopping().await });
            let tree =
                Supervisor::new("t").order(Order::Edges).children((0..8).map(child)).start().await.unwrap();
            tree.stop().await;
            let lines = LINES.load(Ordering::SeqCst) - before;
            assert_eq!(lines, tree.snapshot().number, "round {round}");
        }
    });
}
