//! Trees of tasks in paused time, and the lines about them.

use super::*;
use liveoak::prelude::*;
use std::sync::{Arc, Mutex};

type Lines = Arc<Mutex<Vec<String>>>;

/// Begins a tree. Returns the tree and the lines about it. Each line begins with the time in seconds.
fn watched(supervisor: Supervisor) -> (Tree, Lines) {
    let tree = supervisor.begin().expect("a good spec");
    let lines = Lines::default();
    let (handle, written) = (tree.handle(), Arc::clone(&lines));
    let clock = handle.clone();
    tokio::spawn(watch(handle, move |line| {
        let at = clock.now().since(Time::ZERO).as_secs_f64();
        written.lock().expect("no panic").push(format!("{at:.0} {}", line.text()));
    }));
    (tree, lines)
}

fn take(lines: &Lines) -> Vec<String> {
    std::mem::take(&mut *lines.lock().expect("no panic"))
}

async fn until(tree: &TreeHandle, seconds: u64) {
    let now = tree.now().since(Time::ZERO);
    tokio::time::sleep((Duration::from_secs(seconds) + Duration::from_millis(1)).saturating_sub(now)).await;
}

/// Returns a child that is ready after this time, and then runs until it is asked to stop.
fn slow(name: &str, seconds: u64) -> Child {
    let child = Child::task(name, move |ctx: Ctx| async move {
        ctx.sleep(Duration::from_secs(seconds)).await;
        ctx.ready();
        ctx.stopping().await;
        Ok::<(), std::io::Error>(())
    });
    child.reports_ready()
}

/// Returns a child that runs for this long after it was asked to stop.
fn lingers(name: &str, seconds: u64, stop_within: u64) -> Child {
    let child = Child::task(name, move |ctx: Ctx| async move {
        ctx.stopping().await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok::<(), std::io::Error>(())
    });
    child.stop_within(Duration::from_secs(stop_within))
}

#[tokio::test(start_paused = true)]
async fn a_child_that_holds_up_a_start_for_two_seconds_is_named_with_the_time_that_is_left() {
    let (tree, lines) = watched(Supervisor::new("t").child(slow("db", 20)).child(slow("web", 1)));
    until(&tree.handle(), 1).await;
    assert!(take(&lines).is_empty());
    until(&tree.handle(), 15).await;
    // The intervals grow.
    assert_eq!(
        take(&lines),
        [
            "2 waiting for /t/db to be ready, 28 s left",
            "6 waiting for /t/db to be ready, 24 s left",
            "14 waiting for /t/db to be ready, 16 s left",
        ]
    );
    until(&tree.handle(), 100_000).await;
    assert!(take(&lines).is_empty(), "the start is over");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_has_a_title_is_named_with_it() {
    let db = slow("db", 20).title("Orders DB").stop_within(Duration::from_secs(9));
    let (tree, lines) = watched(Supervisor::new("t").child(db));
    until(&tree.handle(), 3).await;
    assert_eq!(take(&lines), ["2 waiting for /t/db (Orders DB) to be ready, 28 s left"]);
    let holders = Holders::of(&tree.snapshot(), &HashMap::new());
    let titles: Vec<_> =
        holders.all.values().map(|holder| Line::Holder(holder, PATIENCE).json()["title"].clone()).collect();
    assert_eq!(titles, ["Orders DB"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_in_which_each_child_is_fast_writes_no_line() {
    let children = (0..10).map(|n| slow(&format!("c{n}"), 1));
    let (tree, lines) = watched(Supervisor::new("t").children(children));
    until(&tree.handle(), 30).await;
    tree.stop().await;
    assert!(take(&lines).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_child_that_repeatedly_fails_before_it_is_ready_is_named_with_its_exit() {
    let db = Child::task("db", |ctx: Ctx| async move {
        ctx.sleep(Duration::from_millis(10)).await;
        Err::<(), _>(std::io::Error::other("no disk"))
    });
    let second = Duration::from_secs(1);
    let backoff = Backoff { from: second, to: second, ..Backoff::default() };
    let db = db.reports_ready().backoff(backoff).limit(Limit::unlimited());
    let tree = Supervisor::new("t").first_start(FirstStart::Retry).child(db).child(slow("web", 0));
    let (tree, lines) = watched(tree);
    until(&tree.handle(), 7).await;
    let lines = take(&lines);
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        let failed = line.contains(" waiting for /t/db, which failed (failed: no disk): next attempt in ");
        assert!(failed || line.contains(" waiting for /t/db to be ready, "), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_names_a_quarantined_child_and_the_children_that_wait_for_it() {
    let limit = Limit::new(0, Duration::from_secs(60)).on_exceeded(GiveUp::QUARANTINE);
    let db = Child::task("db", |_| async { Err::<(), _>(std::io::Error::other("no disk")) });
    let db = db.reports_ready().limit(limit);
    let web = |name: &str| slow(name, 0).after("db");
    let tree = Supervisor::new("t").child(db).child(web("web")).child(web("other")).child(slow("x", 0));
    let (tree, lines) = watched(tree.first_start(FirstStart::Retry).order(Order::Edges));
    until(&tree.handle(), 7).await;
    assert_eq!(
        take(&lines),
        [
            "2 /t/web and 1 more wait for /t/db, which is quarantined",
            "6 /t/web and 1 more wait for /t/db, which is quarantined",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_that_holds_up_a_stop_is_named_with_the_time_until_its_kill() {
    let tree = Supervisor::new("t")
        .child(slow("first", 0))
        .child(slow("second", 0))
        .child(lingers("db", 60, 8))
        .stop_within(Duration::from_secs(100));
    let (tree, lines) = watched(tree);
    until(&tree.handle(), 10).await;
    tree.begin_stop();
    until(&tree.handle(), 17).await;
    assert_eq!(
        take(&lines),
        [
            "12 waiting for /t/db to stop: killed in 6 s",
            "12 2 more programs are asked to stop after that",
            "16 waiting for /t/db to stop: killed in 2 s",
            "16 2 more programs are asked to stop after that",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn of_many_children_that_hold_up_a_start_five_are_named() {
    let children = (0..9).map(|n| slow(&format!("c{n}"), 5));
    let tree = Supervisor::new("t").children(children).order(Order::Edges);
    let (tree, lines) = watched(tree);
    until(&tree.handle(), 3).await;
    let lines = take(&lines);
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(
        (&*lines[0], &*lines[5]),
        ("2 waiting for /t/c0 to be ready, 28 s left", "2 waiting for 4 more")
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_that_holds_up_a_restart_is_named_like_one_that_holds_up_a_start() {
    let crashes = Arc::new(tokio::sync::Notify::new());
    let crash = Arc::clone(&crashes);
    let db = Child::task("db", move |ctx: Ctx| {
        let crash = Arc::clone(&crash);
        async move {
            let first = ctx.attempt().0 == 1;
            ctx.sleep(Duration::from_secs(if first { 0 } else { 10 })).await;
            ctx.ready();
            crash.notified().await;
            Err::<(), _>(std::io::Error::other("crashed"))
        }
    });
    let (tree, lines) = watched(Supervisor::new("t").child(db.reports_ready().backoff(None)));
    until(&tree.handle(), 10).await;
    crashes.notify_one();
    until(&tree.handle(), 13).await;
    assert_eq!(take(&lines), ["12 waiting for /t/db to be ready, 28 s left"]);
}

/// Returns a child that is ready at once, and fails after this many milliseconds, again and again.
fn flaps(name: &str, milliseconds: u64) -> Child {
    let child = Child::task(name, move |ctx: Ctx| async move {
        ctx.ready();
        ctx.sleep(Duration::from_millis(milliseconds)).await;
        Err::<(), _>(std::io::Error::other("no disk"))
    });
    let short = Duration::from_millis(10);
    let backoff = Backoff { from: short, to: short, ..Backoff::default() };
    child.reports_ready().backoff(backoff).limit(Limit::unlimited())
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_again_and_again_holds_up_a_start_although_each_failure_is_fast() {
    let job = flaps("job", 300).restart(Restart::Transient);
    let web = slow("web", 0).after_when("job", Condition::Completed);
    let tree = Supervisor::new("t").child(job).child(web).first_start(FirstStart::Retry);
    let (tree, lines) = watched(tree.order(Order::Edges));
    until(&tree.handle(), 13).await;
    let lines = take(&lines);
    let times: Vec<_> = lines.iter().map(|line| line.split_once(' ').expect("a time").0).collect();
    // Whatever the child is doing at that moment: the distance grows as for a child that is slow.
    assert_eq!(times, ["2", "6"], "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(" for /t/job")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_fails_again_and_again_holds_up_a_start() {
    let inner = Supervisor::new("inner")
        .child(flaps("db", 100).limit(Limit::new(0, Duration::from_secs(60)).on_exceeded(GiveUp::Escalate)));
    let inner = Child::from(inner).limit(Limit::unlimited()).backoff(None);
    let web = slow("web", 0).after_when("inner", Condition::Completed);
    let inner = inner.restart(Restart::Transient);
    let tree = Supervisor::new("t").child(inner).child(web).first_start(FirstStart::Retry);
    let (tree, lines) = watched(tree.order(Order::Edges));
    until(&tree.handle(), 3).await;
    let lines = take(&lines);
    assert!(lines.iter().any(|line| line.starts_with("2 ") && line.contains(" for /t/inner")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_waits_for_its_restart_holds_up_a_start_although_no_other_child_waits_for_it() {
    for nested in [false, true] {
        let job = Child::task("job", |_: Ctx| async { Err::<(), _>(std::io::Error::other("no disk")) });
        // At nearly every moment the child waits for its restart.
        let backoff =
            Backoff { from: Duration::from_secs(3), to: Duration::from_secs(3), ..Backoff::default() };
        let job = job.reports_ready().backoff(backoff).limit(Limit::unlimited());
        let (supervisor, path) = if nested {
            let inner = Supervisor::new("inner").child(job).first_start(FirstStart::Retry);
            (Supervisor::new("t").child(inner).child(slow("web", 0)), "/t/inner/job")
        } else {
            (Supervisor::new("t").child(slow("web", 0)).child(job), "/t/job")
        };
        let (tree, lines) = watched(supervisor.first_start(FirstStart::Retry));
        until(&tree.handle(), 13).await;
        let lines = take(&lines);
        assert!(lines.len() >= 2, "{lines:?}");
        let named = format!(" waiting for {path}, which failed (failed: no disk): next attempt in ");
        assert!(lines.iter().all(|line| line.contains(&named)), "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_again_and_again_and_holds_up_nothing_gets_no_line() {
    let tree = Supervisor::new("t").child(flaps("job", 300)).child(slow("web", 0));
    let (tree, lines) = watched(tree.first_start(FirstStart::Retry));
    until(&tree.handle(), 30).await;
    assert!(take(&lines).is_empty());
}
