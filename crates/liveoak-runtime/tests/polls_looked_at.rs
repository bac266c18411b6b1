//! How often the thread that watches polls looks: as often as the shortest limit of the children that run asks. The thread is
//! found by its name, so this file has one test only.

use liveoak_runtime::*;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Returns the folder of the thread in `/proc`. A thread that has just begun may have no name yet.
fn watch() -> Option<PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc").flatten();
    let is_watch = |folder: &PathBuf| {
        std::fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim_end() == "liveoak-polls")
    };
    tasks.map(|task| task.path()).find(is_watch)
}

/// Returns how often the thread has gone to sleep so far.
fn sleeps() -> u64 {
    let watch = watch().expect("the thread runs");
    let status = std::fs::read_to_string(watch.join("status")).expect("the thread lives");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("the system counts").trim().parse().expect("a number")
}

/// Waits until the thread has looked ten times.
fn until_many_looks() {
    let end = Instant::now() + Duration::from_secs(30);
    let wait = |is_done: &dyn Fn() -> bool| {
        while !is_done() {
            assert!(Instant::now() < end, "polls are not looked at often");
            std::thread::yield_now();
        }
    };
    wait(&|| watch().is_some());
    let before = sleeps();
    wait(&|| sleeps() >= before + 10);
}

/// Waits for a span of this length in which `holds` is true of the number of looks.
fn until(what: &str, span: Duration, holds: impl Fn(u64) -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let before = sleeps();
        std::thread::sleep(span);
        if holds(sleeps() - before) {
            return;
        }
        assert!(Instant::now() < end, "this did not happen: {what}");
    }
}

#[test]
fn polls_are_looked_at_as_often_as_the_shortest_limit_of_the_children_that_run_asks() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let idle = |name: &str, limit: Duration| {
        let child = Child::task(name, |ctx: Ctx| async move { ctx.stopping().await });
        child.watch_polls(PollLimit::new(limit))
    };
    runtime.block_on(async {
        let tree = Supervisor::new("t")
            .child(idle("short", Duration::from_millis(4)))
            .child(idle("long", Duration::from_hours(1)))
            .start()
            .await
            .unwrap();
        let span = Duration::from_millis(300);
        until_many_looks();
        tree.stop_child("/t/short").await.unwrap();
        until("one look a second", span, |looks| looks <= 1);
        tree.stop_child("/t/long").await.unwrap();
        until("no look at all", span, |looks| looks == 0);
        tree.start_child("/t/short").await.unwrap();
        until_many_looks();
        tree.stop().await;
    });
}
