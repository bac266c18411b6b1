//! Nothing outlives its supervisor, however the supervisor ends.

use liveoak_runtime::testing::{LeakCheck, Puppet, eventually, paused};
use liveoak_runtime::*;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

fn real() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Waits until `condition` holds, outside of every runtime.
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let since = Instant::now();
    while !condition() {
        if since.elapsed() > Duration::from_secs(20) {
            panic!("this did not happen: {what}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns a supervisor with one child of each kind.
fn one_of_each(puppets: &[Puppet; 4]) -> Supervisor {
    let [task, thread, nested, dedicated] = puppets;
    Supervisor::new("t")
        .child(task.child())
        .child(thread.thread())
        .child(Supervisor::new("nested").child(nested.child()))
        .child(
            Supervisor::new("dedicated")
                .dedicated_runtime(DedicatedRuntime::new("dedicated", 1))
                .child(dedicated.child()),
        )
}

fn four() -> [Puppet; 4] {
    ["task", "thread", "nested", "dedicated"].map(Puppet::new)
}

fn all_live(puppets: &[Puppet; 4]) -> bool {
    puppets.iter().all(|puppet| puppet.live() == 1)
}

fn none_lives(puppets: &[Puppet; 4]) -> bool {
    puppets.iter().all(|puppet| puppet.live() == 0)
}

#[test]
fn no_child_outlives_a_dropped_handle() {
    let puppets = four();
    let runtime = real();
    runtime.block_on(async {
        let tree = one_of_each(&puppets).start().await.unwrap();
        assert!(all_live(&puppets));
        let handle = tree.handle();
        drop(tree);
        let ended = handle.join().await.unwrap();
        assert!(none_lives(&puppets), "{puppets:?}");
        assert_eq!(ended.report.entries.len(), 6, "{:?}", ended.report);
    });
}

#[test]
fn no_child_outlives_a_handle_that_is_dropped_outside_of_the_runtime() {
    let puppets = four();
    let runtime = real();
    let tree = runtime.block_on(async { one_of_each(&puppets).start().await.unwrap() });
    drop(tree);
    wait_for("the end of all", || none_lives(&puppets));
}

#[test]
fn a_start_that_is_dropped_in_the_middle_leaves_nothing() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (a, slow) = (leak_check.puppet("a"), leak_check.puppet("slow").slow_to_start());
        let start = Supervisor::new("t").child(a.child()).child(slow.child()).start();
        assert!(tokio::time::timeout(Duration::from_secs(1), start).await.is_err());
        leak_check.check().await;
        assert_eq!((a.starts(), slow.starts()), (1, 1));
    });
}

#[test]
fn no_child_outlives_an_aborted_supervisor_task() {
    let puppets = four();
    let runtime = real();
    runtime.block_on(async {
        let task = tokio::spawn(one_of_each(&puppets).run());
        eventually("the start", || all_live(&puppets)).await;
        task.abort();
        eventually("the end of all", || none_lives(&puppets)).await;
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn no_child_outlives_a_supervisor_task_that_panics() {
    let puppets = four();
    let runtime = real();
    runtime.block_on(async {
        let inside = puppets.clone();
        let task = tokio::spawn(async move {
            let _tree = one_of_each(&inside).start().await.unwrap();
            assert!(!all_live(&inside), "the owner of the tree panics");
        });
        assert!(task.await.unwrap_err().is_panic());
        eventually("the end of all", || none_lives(&puppets)).await;
    });
}

#[test]
fn no_child_outlives_its_runtime() {
    let puppets = four();
    let runtime = real();
    let tree = runtime.block_on(async { one_of_each(&puppets).start().await.unwrap() });
    let waiting = tree.handle();
    let waiter = std::thread::spawn(move || {
        Builder::new_current_thread().build().unwrap().block_on(async { waiting.join().await.unwrap() })
    });
    drop(runtime);
    assert_eq!(puppets[0].live() + puppets[2].live(), 0, "tasks end with their runtime");
    // Threads see the stop, and dedicated runtimes are shut down.
    wait_for("the end of all", || none_lives(&puppets));
    let ended = waiter.join().unwrap();
    assert!(matches!(ended.exit, Exit::Killed), "{:?}", ended.exit);
    assert!(
        puppets.iter().all(|puppet| puppet.starts() == 1),
        "no attempt was begun on a runtime that has ended"
    );
}

#[test]
fn after_the_runtime_s_end_commands_are_refused_and_nothing_begins() {
    let puppets = four();
    let runtime = real();
    let group = Group::<u32>::new("g", |ctx, _| async move { ctx.stopping().await });
    let members = group.handle();
    let tree = runtime.block_on(async { one_of_each(&puppets).child(group).start().await.unwrap() });
    drop(runtime);
    let other = Builder::new_current_thread().build().unwrap();
    other.block_on(async {
        let refused = tree.restart_child("/t/task").await;
        assert!(matches!(refused, Err(Refusal::TreeEnded)), "{refused:?}");
        assert!(tree.add_child("/t", Puppet::new("late").child()).await.is_err());
        assert!(members.spawn(1).is_err());
        tree.stop().await;
    });
    wait_for("the end of all", || none_lives(&puppets));
}

#[test]
fn threads_and_dedicated_runtimes_are_stopped_at_the_end_of_their_tree_s_runtime() {
    let puppets = four();
    let [_, thread, _, dedicated] = &puppets;
    let runtime = real();
    let tree = runtime.block_on(async {
        let supervisor = Supervisor::new("dedicated")
            .dedicated_runtime(DedicatedRuntime::new("dedicated", 1))
            .child(dedicated.child());
        Supervisor::new("t").child(thread.thread()).child(supervisor).start().await.unwrap()
    });
    drop(runtime);
    wait_for("the end of both", || none_lives(&puppets));
    let ended = Builder::new_current_thread().build().unwrap().block_on(tree.join());
    assert!(!ended.report.is_clean(), "a stop caused by the runtime's end is not clean");
}

#[test]
fn a_tree_of_children_that_restart_immediately_ends_with_its_runtime() {
    // Each task that ends is restarted at once. Without a check, this would never end on a runtime that is shutting
    // down.
    for _ in 0..30 {
        let runtime = real();
        let tree = runtime.block_on(async {
            let children = (0..100).map(|n| {
                let child = Child::task(format!("c{n}"), |ctx: Ctx| async move { ctx.killed().await });
                child.backoff(None).limit(Limit::unlimited())
            });
            Supervisor::new("t").children(children).start().await.unwrap()
        });
        drop(runtime);
        let snapshot = tree.snapshot();
        let attempts = snapshot.root.children.iter().map(|child| child.attempt.0);
        assert_eq!(attempts.max(), Some(1), "attempts were begun on a runtime that has ended");
    }
}

#[test]
fn captured_values_are_dropped_at_the_end_of_the_tree_not_with_its_last_handle() {
    paused(async {
        let captured = Arc::new(());
        let (in_child, in_group) = (Arc::clone(&captured), Arc::clone(&captured));
        let group = Group::<Arc<()>>::new("g", |ctx, held| async move {
            let _held = held;
            ctx.stopping().await;
        });
        let members = group.handle();
        let child = Child::task("a", move |ctx: Ctx| {
            let held = Arc::clone(&in_child);
            async move {
                let _held = held;
                ctx.stopping().await;
            }
        });
        let tree = Supervisor::new("t").child(child).child(group).start().await.unwrap();
        members.spawn(in_group).unwrap();
        assert!(Arc::strong_count(&captured) > 1);
        tree.stop().await;
        assert_eq!(Arc::strong_count(&captured), 1);
        // The handles still exist. So a closure that captures a handle of its own tree does not leak that handle.
        drop((tree, members));
    });
}

#[test]
fn a_tree_on_a_runtime_that_has_ended_does_not_start() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let _inside = handle.enter();
    let puppet = Puppet::new("a");
    let tree = Supervisor::new("t").child(puppet.child()).begin().unwrap();
    let waiting = async { (tree.ready().await, tree.join().await) };
    let (ready, _ended) = Builder::new_current_thread().build().unwrap().block_on(waiting);
    assert!(ready.is_err());
    assert_eq!(puppet.starts(), 0);
}

#[test]
fn a_start_outside_of_a_runtime_is_an_error_that_names_what_is_missing() {
    let error = Supervisor::new("t").begin().unwrap_err();
    assert!(matches!(error, StartError::NoRuntime));
    assert!(error.to_string().contains("#[tokio::main]"), "{error}");
}

#[test]
fn the_report_of_the_end_of_a_runtime_names_only_the_children_that_lived() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let lives = Puppet::new("lives");
    let done = Child::task("done", |_ctx| async {}).restart(Restart::Temporary);
    let tree = runtime.block_on(async {
        let tree = Supervisor::new("t").child(lives.child()).child(done).start().await.unwrap();
        eventually("its end", || tree.snapshot().root.children[1].last_exit.is_some()).await;
        tree
    });
    drop(runtime);
    let ended = real().block_on(tree.join());
    let paths: Vec<_> = ended.report.entries.iter().map(|entry| entry.path.to_string()).collect();
    assert_eq!(paths, ["/t/lives"]);
}

#[test]
fn no_attempt_begins_after_the_end_of_the_runtime() {
    // There are more children than the driver starts in one turn, and the thread is the last child.
    let idle =
        (0..5_000).map(|n| Child::task(format!("idle{n}"), |ctx: Ctx| async move { ctx.stopping().await }));
    let released = Arc::new(AtomicBool::new(false));
    let held = Arc::clone(&released);
    let thread = Child::thread("thread", move |_ctx: Ctx| {
        while !held.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
    });
    let supervisor = Supervisor::new("t").order(Order::Edges).children(idle).child(thread);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let tree = runtime.block_on(async { supervisor.begin().unwrap() });
    drop(runtime);
    assert!(real().block_on(tree.join()).exit.is_failure());
    let holders = Arc::strong_count(&released);
    released.store(true, Ordering::Relaxed);
    assert_eq!(holders, 1, "the thread was begun, because it holds the captured value");
}

#[test]
fn the_end_of_the_tree_s_runtime_ends_subtasks_of_a_thread_that_ignores_the_stop() {
    struct Spawned(Arc<AtomicBool>);
    impl Drop for Spawned {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (released, dropped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (held, seen) = (Arc::clone(&released), Arc::clone(&dropped));
    let thread = Child::thread("thread", move |ctx: Ctx| {
        let spawned = Spawned(Arc::clone(&seen));
        ctx.spawn(async move {
            let _spawned = spawned;
            std::future::pending::<()>().await;
        });
        ctx.ready();
        while !held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let dedicated = Supervisor::new("dedicated")
        .dedicated_runtime(DedicatedRuntime::new("dedicated", 1))
        .child(thread.reports_ready());
    let runtime = real();
    let _tree = runtime.block_on(Supervisor::new("t").child(dedicated).start()).unwrap();
    drop(runtime);
    wait_for("the end of the subtask", || dropped.load(Ordering::Relaxed));
    released.store(true, Ordering::Relaxed);
}

thread_local! {
    /// A runtime, with a tree on it, that is dropped when its thread ends.
    static KEPT: RefCell<Option<(Runtime, Tree)>> = const { RefCell::new(None) };
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose, in a destructor");
    }
}

#[test]
fn a_runtime_that_ends_with_its_thread_ends_its_tree() {
    let one = Builder::new_current_thread().enable_all().build().unwrap();
    for runtime in [one, real()] {
        let puppets = four();
        let in_thread = puppets.clone();
        let thread = std::thread::spawn(move || {
            // Thread locals are dropped in reverse order of their first use. This one is used first, so it is dropped
            // after those of the tree and of Tokio.
            KEPT.set(None);
            let bad = Child::task("bad", |ctx: Ctx| async move {
                let _dropped = PanicsWhenDropped;
                ctx.ready();
                std::future::pending::<()>().await;
            });
            let supervisor = one_of_each(&in_thread).child(bad.reports_ready());
            let tree = runtime.block_on(supervisor.start()).unwrap();
            let handle = tree.handle();
            KEPT.set(Some((runtime, tree)));
            handle
        });
        let tree = thread.join().unwrap();
        let ended = real().block_on(tree.join()).unwrap();
        assert!(matches!(ended.exit, Exit::Killed), "{ended:?}");
        wait_for("the end of all", || none_lives(&puppets));
    }
}

#[test]
fn a_runtime_that_ends_with_its_thread_ends_its_tree_even_where_clocks_have_been_paused() {
    thread_local! {
        static KEPT: RefCell<Option<(Runtime, Tree)>> = const { RefCell::new(None) };
    }
    // From now on Tokio reads the time through a thread local of its own.
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {});
    let thread = std::thread::spawn(|| {
        KEPT.set(None);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let child = Child::task("a", |ctx: Ctx| async move { ctx.stopping().await });
        let tree = runtime.block_on(Supervisor::new("t").child(child).start()).unwrap();
        let handle = tree.handle();
        KEPT.set(Some((runtime, tree)));
        handle
    });
    let handle = thread.join().unwrap();
    let ended = real().block_on(handle.join()).unwrap();
    assert!(ended.exit.kind() == "killed" || ended.exit.kind() == "stopped", "{:?}", ended.exit);
}
