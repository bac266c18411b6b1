//! A log subscriber that blocks from its first line on delays neither the start of a tree nor `run`, although both log
//! lines. This test has a process of its own, because it uses the log thread and the signals of the whole process.

mod each_line;

use each_line::EachLine;
use liveoak_runtime::*;
use std::future::pending;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

static LINES: AtomicU64 = AtomicU64::new(0);

/// Never returns from a line of the log.
fn blocked(_: &tracing::Event<'_>) {
    LINES.fetch_add(1, Ordering::SeqCst);
    loop {
        std::thread::park();
    }
}

/// Returns a tree whose start logs a warning: one of its children alone cannot exceed the intensity. Each child logs
/// that it runs.
fn warned_of(runs: &mpsc::Sender<()>) -> Supervisor {
    let child = |name| {
        let runs = runs.clone();
        Child::task(name, move |_| {
            let _ = runs.send(());
            pending::<()>()
        })
    };
    let minute = Duration::from_secs(60);
    // The children ignore the stop.
    let children = ["a", "b"].map(|name| child(name).stop_within(10 * minute));
    Supervisor::new("t").intensity(Limit::new(10, minute)).stop_within(10 * minute).children(children)
}

#[test]
fn a_log_subscriber_that_blocks_delays_neither_the_start_of_a_tree_nor_run() {
    tracing::subscriber::set_global_default(EachLine(blocked)).unwrap();
    let ((runs, is_running), (done, is_done)) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        done.send(runtime.block_on(warned_of(&runs).run())).unwrap();
    });
    let minute = Duration::from_secs(60);
    is_running.recv_timeout(minute).expect("the tree starts");
    // The first signal stops the tree. After a second, `run` announces how to kill it. The next signal kills it.
    let mut tries = 0;
    let outcome = loop {
        assert!(tries < 600, "run does not return");
        let id = std::process::id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        match is_done.recv_timeout(Duration::from_millis(100)) {
            Ok(outcome) => break outcome,
            Err(_) => tries += 1,
        }
    };
    assert!(matches!(outcome, Err(Error::Forced(_))), "{outcome:?}");
    assert_eq!(LINES.load(Ordering::SeqCst), 1, "the log blocks");
}
