//! A call runs no code of other children, although it may perform effects of other children. These tests also show where
//! values of the user are dropped, and how a stop waits for the drops.

use liveoak_runtime::testing::{eventually, paused};
use liveoak_runtime::*;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

const HOUR: Duration = Duration::from_secs(3600);

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A backoff that is longer than any test.
fn long() -> Backoff {
    Backoff { from: HOUR, to: 2 * HOUR, ..Backoff::default() }
}

thread_local! {
    /// `true` while this thread is inside a call that does not concern other children.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Counts code of other children: how often it ran at all, and inside such a call.
#[derive(Default)]
struct Counts {
    all: AtomicUsize,
    inside: AtomicUsize,
}

impl Counts {
    fn count(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
        self.inside.fetch_add(usize::from(INSIDE.get()), Ordering::SeqCst);
    }

    fn all(&self) -> usize {
        self.all.load(Ordering::SeqCst)
    }
}

/// A value whose destructor counts.
struct Counted(Arc<Counts>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count();
    }
}

/// An error whose text, debug text and destructor count.
struct CountedError(Counted);

impl fmt::Display for CountedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.count();
        f.write_str("boom")
    }
}

impl fmt::Debug for CountedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.count();
        f.write_str("boom")
    }
}

impl std::error::Error for CountedError {}

/// Calls that a child, or code around the tree, makes about itself.
type Call = fn(&Ctx);

const CALLS: [(&str, Call); 8] = [
    ("health", |ctx| ctx.health(Health::Healthy, "")),
    ("ready", Ctx::ready),
    ("path", |ctx| drop(ctx.path())),
    ("last_exit", |ctx| drop(ctx.last_exit())),
    ("snapshot", |ctx| drop(ctx.tree().snapshot())),
    ("watch", |ctx| drop(ctx.tree().watch())),
    ("spawn", |ctx| drop(ctx.spawn(async {}))),
    ("a command", |ctx| {
        let tree = ctx.tree();
        let mut stop = Box::pin(tree.stop_child("/t/other"));
        let _ = stop.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }),
];

/// Stops, starts and restarts other children, while a thread makes one `call` after another.
fn others_while_calling(name: &str, call: Call) {
    threads().block_on(async {
        let counts = Arc::new(Counts::default());
        let in_body = Arc::clone(&counts);
        let group = Group::new("waiting", move |_: Ctx, argument: Arc<Counted>| {
            in_body.count();
            async move { Err::<(), _>(CountedError(Counted(Arc::clone(&argument.0)))) }
        });
        let group = group.backoff(long()).keep_error();
        let members = group.handle();
        let go = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&go);
        let caller = move |ctx: Ctx| {
            while !ctx.is_stopping() {
                if gone.load(Ordering::SeqCst) {
                    INSIDE.set(true);
                    call(&ctx);
                    INSIDE.set(false);
                }
                std::thread::yield_now();
            }
        };
        let other = Child::task("other", |ctx: Ctx| async move { ctx.stopping().await });
        let tree = Supervisor::new("t").child(group).child(other).child(Child::thread("caller", caller));
        let tree = tree.start().await.unwrap();
        const MEMBERS: usize = 1_000;
        for _ in 0..MEMBERS {
            members.spawn(Arc::new(Counted(Arc::clone(&counts)))).unwrap();
        }
        // One body and one error text for each child.
        eventually("all have failed", || counts.all() >= 2 * MEMBERS).await;
        go.store(true, Ordering::SeqCst);
        for n in 0..20 {
            drop(tree.restart_child(format!("/t/waiting/{n}")).await);
        }
        tree.stop_child("/t/waiting").await.unwrap();
        // At least the argument and the error of each child.
        eventually("all are dropped", || counts.all() >= 4 * MEMBERS).await;
        tree.stop().await;
        assert_eq!(counts.inside.load(Ordering::SeqCst), 0, "of {} inside of {name}", counts.all());
    });
}

#[test]
fn a_call_runs_no_code_of_another_child() {
    for (name, call) in CALLS {
        others_while_calling(name, call);
    }
}

#[test]
fn a_call_performs_a_limited_number_of_effects_of_others() {
    paused(async {
        const MEMBERS: usize = 5_000;
        let kept: Arc<Mutex<Vec<Ctx>>> = Arc::default();
        let slot = Arc::clone(&kept);
        let group = Group::<()>::new("g", move |ctx: Ctx, ()| {
            slot.lock().unwrap().push(ctx.clone());
            async move { ctx.stopping().await }
        });
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        (0..MEMBERS).for_each(|_| assert!(members.spawn(()).is_ok()));
        eventually("all of them", || kept.lock().unwrap().len() == MEMBERS).await;
        let asked = || kept.lock().unwrap().iter().filter(|ctx| ctx.is_stopping()).count();
        tree.begin_stop();
        let first = asked();
        assert!(first > 0 && first < 200, "{first} were asked inside the call");
        kept.lock().unwrap()[MEMBERS - 1].health(Health::Degraded, "");
        let second = asked() - first;
        assert!(second < 200, "{second} were asked inside the call of another child");
        assert!(tree.stop().await.is_clean());
        assert_eq!(asked(), MEMBERS);
    });
}

#[test]
fn a_caller_may_hold_a_lock_that_destructors_need() {
    struct NeedsLock(Arc<Mutex<usize>>);
    impl Drop for NeedsLock {
        fn drop(&mut self) {
            *self.0.lock().unwrap() -= 1;
        }
    }
    threads().block_on(async {
        let list = Arc::new(Mutex::new(0));
        let group = Group::new("waiting", |_: Ctx, _: Arc<NeedsLock>| async { Err::<(), _>("later") });
        let members = group.handle();
        let theirs = Arc::clone(&list);
        let reporter = Child::thread("reporter", move |ctx: Ctx| {
            while !ctx.is_stopping() {
                let left = theirs.lock().unwrap();
                ctx.health(if *left > 100 { Health::Degraded } else { Health::Healthy }, "");
            }
        });
        let tree = Supervisor::new("t").child(group.backoff(long())).child(reporter).start().await.unwrap();
        for _ in 0..2_000 {
            *list.lock().unwrap() += 1;
            members.spawn(Arc::new(NeedsLock(Arc::clone(&list)))).unwrap();
        }
        tree.stop_child("/t/waiting").await.unwrap();
        eventually("all are dropped", || *list.lock().unwrap() == 0).await;
        assert!(tree.stop().await.is_clean());
    });
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn on_drop(f: impl FnMut() + Send + Sync + 'static) -> Arc<dyn Send + Sync> {
    Arc::new(OnDrop(f))
}

/// Returns a child that captures `value` and has ended.
fn capturing(name: &str, value: Arc<dyn Send + Sync>) -> Child {
    Child::task(name, move |_| {
        let _captured = &value;
        async {}
    })
    .restart(Restart::Temporary)
}

#[test]
fn values_that_a_child_leaves_behind_are_dropped_in_the_runtime_where_blocking_is_allowed() {
    threads().block_on(async {
        let seen = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&seen);
        let value = on_drop(move || {
            let blocked = Handle::try_current().map(|handle| handle.block_on(async { 7 }));
            *slot.lock().unwrap() = Some(blocked.ok());
        });
        let tree = Supervisor::new("t").child(capturing("a", value)).start().await.unwrap();
        assert!(tree.stop().await.is_clean());
        assert_eq!(*seen.lock().unwrap(), Some(Some(7)), "it was dropped when the stop returned");
    });
}

#[test]
fn no_value_waits_for_the_destructor_of_another() {
    threads().block_on(async {
        // Each destructor ends only when all have begun.
        let barrier = Arc::new(Barrier::new(40));
        let root = (0..40).fold(Supervisor::new("t"), |root, n| {
            let barrier = Arc::clone(&barrier);
            root.child(capturing(&format!("c{n}"), on_drop(move || _ = barrier.wait())))
        });
        let tree = root.start().await.unwrap();
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
    });
}

/// Blocks destructors until it is opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn pass(&self) {
        let mut open = self.0.lock().unwrap();
        while !*open {
            open = self.1.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

/// Opens the gate at the end of a test, even if the test fails.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn abandoned(report: &StopReport) -> Vec<String> {
    let entries = report.entries.iter().filter(|entry| entry.stage == StopStage::Abandoned);
    entries.map(|entry| entry.path.to_string()).collect()
}

#[test]
fn a_destructor_that_outlasts_the_budget_of_a_stop_is_abandoned_and_reported() {
    threads().block_on(async {
        let opens = Opens(Arc::default());
        let gate = Arc::clone(&opens.0);
        let root = Supervisor::new("t").stop_within(Duration::from_millis(300));
        let root = root.child(capturing("stuck", on_drop(move || gate.pass())));
        let quick = Arc::new(AtomicBool::new(false));
        let dropped = Arc::clone(&quick);
        let root = root.child(capturing("quick", on_drop(move || dropped.store(true, Ordering::SeqCst))));
        let tree = root.start().await.unwrap();
        let report = tree.stop().await;
        assert_eq!(abandoned(&report), ["/t/stuck"], "{report:?}");
        assert!(!report.is_clean());
        assert!(report.took >= Duration::from_millis(300), "{report:?}");
        assert!(quick.load(Ordering::SeqCst), "it waited for another");
    });
}

#[test]
fn a_stop_or_removal_of_a_child_waits_only_for_destructors_below_it() {
    threads().block_on(async {
        let opens = Opens(Arc::default());
        let gate = Arc::clone(&opens.0);
        let group = Group::new("g", |_: Ctx, _: Arc<dyn Send + Sync>| async { Err::<(), _>("later") });
        let group = group.backoff(long()).stop_within(Duration::from_millis(200));
        let members = group.handle();
        let inner = Supervisor::new("inner").stop_within(Duration::from_millis(200)).child(group);
        let tree = Supervisor::new("t").child(inner).start().await.unwrap();
        members.spawn(on_drop(move || gate.pass())).unwrap();
        let captured = on_drop(|| std::thread::sleep(Duration::from_millis(50)));
        let slow = Child::task("slow", move |ctx: Ctx| {
            let _captured = &captured;
            async move { ctx.stopping().await }
        });
        tree.add_child("/t", slow).await.unwrap();
        let Outcome::Stopped(report) = tree.stop_child("/t/inner").await.unwrap() else { panic!("no stop") };
        assert_eq!(abandoned(&report), ["/t/inner/g"], "{report:?}");
        let Outcome::Removed(report) = tree.remove_child("/t/slow").await.unwrap() else {
            panic!("no removal")
        };
        assert!(report.is_clean() && report.took >= Duration::from_millis(50), "{report:?}");
        opens.0.open();
        assert!(tree.stop().await.is_clean());
    });
}

/// An error that records whether it exists.
#[derive(Debug)]
struct Alive(Arc<AtomicUsize>);

impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("boom")
    }
}

impl std::error::Error for Alive {}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn an_error_is_dropped_before_the_next_attempt_begins_unless_the_child_keeps_its_errors() {
    for keeps in [false, true] {
        paused(async {
            let (alive, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
            let (in_child, slot) = (Arc::clone(&alive), Arc::clone(&seen));
            let child = Child::task("a", move |ctx: Ctx| {
                let has_error = ctx.last_exit().is_some_and(|exit| match exit {
                    Exit::Failed(failure) => failure.error().is_some_and(|error| error.is::<Alive>()),
                    _ => false,
                });
                slot.lock().unwrap().push((in_child.load(Ordering::SeqCst), has_error));
                let alive = Arc::clone(&in_child);
                async move {
                    if ctx.attempt() == Attempt(4) {
                        ctx.stopping().await;
                        return Ok(());
                    }
                    alive.fetch_add(1, Ordering::SeqCst);
                    Err(Alive(alive))
                }
            });
            let child = if keeps { child.keep_error() } else { child };
            let tree = Supervisor::new("t").child(child).start().await.unwrap();
            eventually("four attempts", || seen.lock().unwrap().len() == 4).await;
            let expected = if keeps { (1, true) } else { (0, false) };
            assert_eq!(seen.lock().unwrap()[1..], [expected; 3]);
            let last = tree.snapshot().get("/t/a").unwrap().last_exit.clone().unwrap();
            assert_eq!(last.to_string(), "failed: boom");
            drop(last);
            tree.stop().await;
        });
    }
}

/// An error whose `Display` locks the tree and records the task in which it runs.
struct Locking(Ctx, Arc<Mutex<Vec<Option<tokio::task::Id>>>>);

impl fmt::Display for Locking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.lock().unwrap().push(tokio::task::try_id());
        write!(f, "at event {}", self.0.tree().snapshot().number)
    }
}

impl fmt::Debug for Locking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Locking {}

#[test]
fn an_error_is_rendered_once_by_its_own_task_and_outside_of_the_lock() {
    threads().block_on(async {
        let (rendered, own) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (in_child, tasks) = (Arc::clone(&rendered), Arc::clone(&own));
        let child = Child::task("a", move |ctx: Ctx| {
            let (rendered, tasks) = (Arc::clone(&in_child), Arc::clone(&tasks));
            async move {
                tasks.lock().unwrap().push(tokio::task::try_id());
                Err::<(), _>(Locking(ctx, rendered))
            }
        });
        let after = Child::task("b", |ctx: Ctx| async move { ctx.stopping().await }).after("a");
        let root = Supervisor::new("t").child(child.restart(Restart::Temporary)).child(after);
        let tree = root.begin().unwrap();
        let mut events = tree.events();
        eventually("its end", || matches!(tree.snapshot().get("/t/a").unwrap().state, ChildState::Idle(_)))
            .await;
        tree.stop().await;
        let ended = tree.join().await;
        while let Some(event) = events.next().await {
            drop(format!("{event:?}"));
        }
        drop(format!("{ended:?} {}", ended.exit));
        assert_eq!(rendered.lock().unwrap().len(), 1);
        assert_eq!(*rendered.lock().unwrap(), *own.lock().unwrap());
    });
}

#[test]
fn errors_whose_code_panics_or_never_returns_do_no_harm() {
    #[derive(Debug)]
    struct Bad(&'static str);
    impl fmt::Display for Bad {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                "endless" => loop {
                    f.write_str("more and ")?;
                },
                "panics" => panic!("a text that panics"),
                text => f.write_str(text),
            }
        }
    }
    impl std::error::Error for Bad {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            match self.0 {
                "source panics" => panic!("a source that panics"),
                "itself" => Some(self),
                _ => None,
            }
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            if self.0 == "drop panics" {
                panic!("a destructor that panics");
            }
        }
    }
    paused(async {
        for what in ["endless", "panics", "source panics", "itself", "drop panics"] {
            let child = Child::task("a", move |ctx: Ctx| async move {
                if ctx.attempt() > Attempt(1) {
                    ctx.stopping().await;
                    return Ok(());
                }
                Err(Bad(what))
            });
            let tree = Supervisor::new("t").child(child).start().await.unwrap();
            eventually("its restart", || tree.snapshot().get("/t/a").unwrap().attempt == Attempt(2)).await;
            let last = tree.snapshot().get("/t/a").unwrap().last_exit.clone().unwrap();
            assert!(matches!(last, Exit::Failed(_)), "{what}: {last}");
            assert!(last.to_string().len() < 4200, "{what}: {} bytes", last.to_string().len());
            assert!(tree.stop().await.is_clean());
        }
    });
}

#[test]
fn a_factory_runs_in_the_task_of_its_attempt() {
    threads().block_on(async {
        let tasks = Arc::new(Mutex::new(Vec::new()));
        let slot = Arc::clone(&tasks);
        let child = Child::task("a", move |ctx: Ctx| {
            slot.lock().unwrap().push((tokio::task::try_id(), INSIDE.get()));
            async move {
                if ctx.attempt() < Attempt(3) {
                    return Err("again");
                }
                ctx.stopping().await;
                Ok(())
            }
        });
        let tree = Supervisor::new("t").child(child.backoff(None)).start().await.unwrap();
        eventually("three attempts", || tasks.lock().unwrap().len() == 3).await;
        let (handle, runtime) = (tree.handle(), Handle::current());
        let restarts = move || {
            INSIDE.set(true);
            drop(runtime.block_on(handle.restart_child("/t/a")));
        };
        tokio::task::spawn_blocking(restarts).await.unwrap();
        tree.stop().await;
        let tasks = tasks.lock().unwrap();
        assert!(tasks.iter().all(|(task, inside)| task.is_some() && !inside), "{tasks:?}");
        assert_eq!(tasks.iter().map(|(task, _)| *task).collect::<HashSet<_>>().len(), tasks.len());
    });
}

/// An error that looks at the tree when it is dropped.
#[derive(Debug)]
struct Looking(TreeHandle, std::sync::mpsc::Sender<()>);

impl fmt::Display for Looking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("boom")
    }
}

impl std::error::Error for Looking {}

impl Drop for Looking {
    fn drop(&mut self) {
        let _ = self.0.snapshot();
        let _ = self.1.send(());
    }
}

#[test]
fn a_kept_error_that_comes_after_the_end_of_the_tree_is_not_dropped_under_the_lock() {
    let runtime = threads();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (dropped, was_dropped) = std::sync::mpsc::channel();
    let (released, dropped) = (Mutex::new(released), Mutex::new(dropped));
    let child = Child::thread("a", move |ctx: Ctx| {
        let _ = released.lock().unwrap().recv();
        Err::<(), _>(Looking(ctx.tree(), dropped.lock().unwrap().clone()))
    });
    let child = child.keep_error().stop_within(Duration::ZERO);
    let tree = runtime.block_on(Supervisor::new("t").child(child).start()).expect("a tree");
    let report = runtime.block_on(tree.stop());
    assert_eq!(abandoned(&report), ["/t/a"]);
    drop(release);
    was_dropped.recv_timeout(Duration::from_secs(20)).expect("the destructor does not wait for its own call");
}

#[test]
fn the_removal_of_a_child_that_is_down_waits_for_its_destructors_too() {
    let runtime = threads();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let blocks = on_drop(move || _ = released.lock().unwrap().recv());
    let budget = Duration::from_millis(200);
    let outer = Supervisor::new("s").child(capturing("a", blocks)).stop_within(budget);
    runtime.block_on(async {
        let tree = Supervisor::new("t").child(outer).start().await.expect("a tree");
        tree.stop_child("/t/s").await.expect("a stop");
        let outcome = tree.remove_child("/t/s").await;
        let Ok(Outcome::Removed(report)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(abandoned(&report), ["/t/s"]);
        drop(release);
        tree.stop().await;
    });
}
