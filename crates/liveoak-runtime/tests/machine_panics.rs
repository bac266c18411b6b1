//! What follows from a panic of the machine or the driver: the tree fails as a whole, and nothing waits for ever.

use liveoak_runtime::testing::{PanicAt, break_machine, eventually, paused};
use liveoak_runtime::{
    Child, ChildState, Ctx, DedicatedRuntime, Exit, FinalReport, Group, GroupHandle, Refusal, StopStage,
    Strategy, Supervisor, Tree, TreeHandle, TreePhase,
};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Counts the attempts that are alive.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

struct One(Alive);

impl Alive {
    fn one(&self) -> One {
        self.0.fetch_add(1, Ordering::SeqCst);
        One(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A caller that waits.
type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

const SECOND: Duration = Duration::from_secs(1);

/// What the tree does when its machine panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// `/t/last` is not ready yet.
    Starts,
    Runs,
    /// A stop of the tree waits for `/t/deaf`.
    Stops,
    /// A restart of `/t/deaf` waits for the end of its attempt, and so does a restart of the whole set.
    Restarts,
    /// `/t/fails` waits for the end of its backoff.
    BacksOff,
    /// The tree has ended already.
    Ended,
}

const ALL: [When; 6] = [When::Starts, When::Runs, When::Stops, When::Restarts, When::BacksOff, When::Ended];

struct Scene {
    tree: Tree,
    jobs: GroupHandle<()>,
    alive: Alive,
    /// The callers that wait, and what each waits for.
    waits: Vec<(&'static str, JoinHandle<()>)>,
}

impl Scene {
    /// Begins a tree and brings it into the state.
    async fn new(when: When) -> Self {
        let alive = Alive::default();
        let body = |kind: &'static str| {
            let alive = alive.clone();
            move |ctx: Ctx| {
                let one = alive.one();
                async move {
                    let _one = one;
                    match kind {
                        "deaf" => std::future::pending().await,
                        "fails" => {
                            tokio::time::sleep(SECOND).await;
                            return Err("it failed");
                        }
                        "last" => ctx.stopping().await,
                        _ => {
                            ctx.ready();
                            ctx.stopping().await;
                        }
                    }
                    Ok(())
                }
            }
        };
        let member = body("member");
        let jobs = Group::temporary("jobs", move |ctx, ()| member(ctx));
        let handle = jobs.handle();
        let hour = Duration::from_secs(3_600);
        let mut top = Supervisor::new("t")
            .stop_within(hour)
            .strategy(Strategy::OneForAll)
            .child(Child::task("deaf", body("deaf")).stop_within(hour))
            .child(jobs)
            .child(Supervisor::new("s").child(Child::task("deep", body("deep")).reports_ready()));
        if when == When::BacksOff {
            let backoff = liveoak_runtime::Backoff::constant(hour);
            let fails = Child::task("fails", body("fails")).backoff(backoff);
            top = top.child(Supervisor::new("alone").child(fails));
        }
        if when == When::Starts {
            top = top.child(Child::task("last", body("last")).reports_ready().start_within(hour));
        }
        let tree = top.begin().expect("a good spec");
        let at = |path: &'static str, wanted: fn(&ChildState) -> bool| {
            let tree = tree.handle();
            async move { drop(tree.wait_for(path, |view| wanted(&view.state)).await.expect("it comes")) }
        };
        match when {
            When::Starts => at("/t/last", |state| matches!(state, ChildState::Starting { .. })).await,
            _ => tree.ready().await.expect("it starts"),
        }
        handle.spawn(()).expect("a member");
        match when {
            When::Starts | When::Runs => {}
            When::Stops => tree.begin_stop(),
            When::Restarts => tree.begin_restart_child("/t/deaf").expect("it runs"),
            When::BacksOff => {
                at("/t/alone/fails", |state| matches!(state, ChildState::BackingOff { .. })).await
            }
            When::Ended => drop(tree.kill().await),
        }
        let mut scene = Self { tree, jobs: handle, alive, waits: Vec::new() };
        scene.begin_waits().await;
        scene
    }

    fn wait(&mut self, what: &'static str, wait: impl Future<Output = ()> + Send + 'static) {
        self.waits.push((what, tokio::spawn(wait)));
    }

    /// Begins all kinds of waits, and lets them wait.
    async fn begin_waits(&mut self) {
        let handle = || self.tree.handle();
        let mut waits: Vec<(&str, Waiting)> = Vec::new();
        let tree = handle();
        waits.push(("join", Box::pin(async move { drop(tree.join().await) })));
        let tree = handle();
        waits.push(("ready", Box::pin(async move { drop(tree.ready().await) })));
        let tree = handle();
        waits.push(("wait_for", Box::pin(async move { drop(tree.wait_for("/t/none", |_| true).await) })));
        let mut events = self.tree.events();
        waits.push(("events", Box::pin(async move { while events.next().await.is_some() {} })));
        let (_, mut events) = self.tree.watch();
        waits.push(("watch", Box::pin(async move { while events.next().await.is_some() {} })));
        if let Ok(deaf) = self.tree.child("/t/deaf") {
            let of = deaf.clone();
            waits.push(("exited", Box::pin(async move { drop(of.exited().await) })));
            waits.push(("stop", Box::pin(async move { drop(deaf.stop().await) })));
        }
        for path in ["/t/last", "/t/alone/fails"] {
            if let Ok(child) = self.tree.child(path) {
                waits.push(("child ready", Box::pin(async move { drop(child.ready().await) })));
            }
        }
        let tree = handle();
        let added = Child::task("added", |_ctx: Ctx| std::future::pending::<()>()).reports_ready();
        waits.push(("add", Box::pin(async move { drop(tree.add_child("/t/s", added).await) })));
        let jobs = self.jobs.clone();
        waits.push(("run a member", Box::pin(async move { drop(jobs.run(()).await) })));
        waits.into_iter().for_each(|(what, wait)| self.wait(what, wait));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// Checks that everything is over: every caller has an answer, no attempt runs, and the report tells the panic.
    async fn into_report(self, context: &str) -> Arc<FinalReport> {
        for (what, wait) in self.waits {
            let answered = tokio::time::timeout(20 * SECOND, wait).await;
            assert!(matches!(answered, Ok(Ok(()))), "{context}: {what} has no answer");
        }
        let alive = self.alive.clone();
        eventually(&format!("{context}: every attempt has ended"), move || alive.count() == 0).await;
        let report = self.tree.final_report().expect("it has ended");
        assert!(!self.tree.is_alive() && self.tree.state() == report.state, "{context}");
        let refused = self.tree.stop_child("/t/deaf").await;
        assert!(matches!(refused, Err(Refusal::TreeEnded)), "{context}: {refused:?}");
        let refused = self.tree.add_child("/t", Child::task("late", |_ctx: Ctx| async {})).await;
        assert!(refused.is_err() && self.jobs.spawn(()).is_err(), "{context}");
        assert!(self.tree.snapshot().root.path.as_str() == "/t", "{context}");
        report
    }
}

fn has_failed(report: &FinalReport, context: &str) {
    assert_eq!(report.state, TreePhase::Failed, "{context}");
    let failure = report.failure.as_ref().expect("it failed");
    assert!(failure.panicked && failure.reason.contains("in its supervision"), "{context}: {failure:?}");
    assert!(matches!(report.exit, Exit::Panicked(_)), "{context}");
}

/// Lets the machine panic in a call, of this kind.
fn provoke(tree: &TreeHandle, jobs: &GroupHandle<()>, at: PanicAt) {
    break_machine(tree, at);
    match at {
        PanicAt::Add => drop(jobs.spawn(())),
        PanicAt::Snapshot => drop(tree.snapshot()),
        _ => drop(tree.begin_restart_child("/t/s")),
    }
}

#[test]
fn after_a_panic_of_the_machine_in_any_state_of_the_tree_every_caller_is_answered_and_everything_stops() {
    for when in ALL {
        for at in [PanicAt::Input, PanicAt::Effect, PanicAt::Add, PanicAt::Snapshot] {
            paused(async {
                let context = format!("{when:?}, {at:?}");
                let scene = Scene::new(when).await;
                provoke(&scene.tree, &scene.jobs, at);
                let panics = when != When::Ended && !(when == When::Stops && at == PanicAt::Add);
                if !panics {
                    // Nothing is added, and nothing has an effect: there was no panic.
                    scene.tree.kill().await;
                }
                let report = scene.into_report(&context).await;
                if panics {
                    has_failed(&report, &context);
                    let phase = report.failure.as_ref().map(|failure| failure.phase);
                    let expected = match when {
                        When::Starts => TreePhase::Starting,
                        When::Stops => TreePhase::Stopping,
                        _ => TreePhase::Alive,
                    };
                    assert_eq!(phase, Some(expected), "{context}");
                    let deaf = report.stop.entries.iter().find(|entry| entry.path.name() == "deaf");
                    assert_eq!(deaf.map(|entry| entry.stage), Some(StopStage::Killed), "{context}");
                }
            });
        }
    }
}

#[test]
fn a_panic_in_the_report_of_an_attempt_or_at_a_deadline_fails_the_tree_too() {
    paused(async {
        // The report of an end.
        let scene = Scene::new(When::Runs).await;
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let ends = Child::once("ends", |_ctx: Ctx| async move { drop(ended.await) });
        scene.tree.add_child("/t", ends).await.expect("it starts");
        break_machine(&scene.tree, PanicAt::Input);
        drop(end);
        has_failed(&*scene.into_report("the end of an attempt").await, "the end of an attempt");
        // A deadline, without any call.
        let scene = Scene::new(When::BacksOff).await;
        break_machine(&scene.tree, PanicAt::Input);
        let over = tokio::time::timeout(2 * Duration::from_secs(3_600), scene.tree.join()).await;
        assert!(over.is_ok());
        has_failed(&*scene.into_report("a deadline").await, "a deadline");
        // The report of a health.
        let child = Child::task("a", |ctx: Ctx| async move {
            tokio::time::sleep(SECOND).await;
            ctx.health(liveoak_runtime::Health::Degraded, "a test");
            ctx.stopping().await;
        });
        let tree = Supervisor::new("t").child(child.reports_health()).start().await.expect("it starts");
        break_machine(&tree, PanicAt::Input);
        let ended = tree.join().await;
        assert!(matches!(ended.exit, Exit::Panicked(_)), "{:?}", ended.exit);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_real_threads_the_children_that_stop_when_asked_stop_so_and_runtimes_end_last() {
    let body = |ctx: Ctx| async move { ctx.stopping().await };
    let own = Supervisor::new("own").dedicated_runtime(DedicatedRuntime::new("own", 1));
    let own = own.child(Child::task("on-own", body));
    let hash = Child::thread("thread", |ctx: Ctx| {
        while !ctx.is_stopping() {
            std::thread::yield_now();
        }
    });
    let tree = Supervisor::new("t").child(Child::task("a", body)).child(hash).child(own);
    let tree = tree.start().await.expect("it starts");
    break_machine(&tree, PanicAt::Input);
    assert!(matches!(tree.restart_child("/t/a").await, Err(Refusal::TreeEnded)));
    assert!(matches!(tree.join().await.exit, Exit::Panicked(_)));
    let report = tree.final_report().expect("it has ended");
    let stopped: Vec<_> = report.stop.entries.iter().map(|entry| (entry.path.name(), entry.stage)).collect();
    for name in ["a", "thread", "on-own", "own"] {
        assert!(stopped.contains(&(name, StopStage::Asked)), "{name}: {stopped:?}");
    }
    assert_eq!(stopped.last().map(|(name, _)| *name), Some("own"));
}

#[test]
fn a_tree_whose_machine_has_panicked_ends_with_its_runtime_at_the_latest() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tree = runtime.block_on(async {
        let deaf = |_ctx: Ctx| std::future::pending::<()>();
        let tree = Supervisor::new("t").child(Child::task("deaf", deaf)).start().await.expect("it starts");
        break_machine(&tree, PanicAt::Input);
        tree.begin_restart_child("/t/deaf").expect_err("the machine panics");
        tree
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ended = other.block_on(async { tokio::time::timeout(20 * SECOND, tree.join()).await });
    assert!(matches!(ended.expect("it ends").exit, Exit::Panicked(_)));
}
