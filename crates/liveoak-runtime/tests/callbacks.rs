//! User code that calls back into the tree, or panics, at the worst moment: from destructors and wakers.
//! None of it runs while the tree is locked.

use liveoak_runtime::testing::{Universe, eventually, paused};
use liveoak_runtime::*;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Wake, Waker};
use std::time::Duration;

/// Where user code finds the tree to call.
type Whereabouts = Arc<OnceLock<TreeHandle>>;

/// Asks the tree for everything that takes its lock.
fn pester(tree: &Whereabouts, calls: &AtomicU32) {
    calls.fetch_add(1, Ordering::SeqCst);
    if let Some(tree) = tree.get() {
        let _ = tree.snapshot();
        let _ = tree.events();
        let _ = tree.watch();
    }
}

/// Calls the tree when it is dropped.
struct Pest {
    tree: Whereabouts,
    calls: Arc<AtomicU32>,
    panics: bool,
}

impl Drop for Pest {
    fn drop(&mut self) {
        pester(&self.tree, &self.calls);
        if self.panics {
            panic!("and panics");
        }
    }
}

impl fmt::Debug for Pest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pest")
    }
}

impl fmt::Display for Pest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pest")
    }
}

impl std::error::Error for Pest {}

#[derive(Clone)]
struct Nest {
    tree: Whereabouts,
    calls: Arc<AtomicU32>,
    panics: bool,
}

impl Nest {
    fn new(panics: bool) -> Self {
        Self { tree: Arc::default(), calls: Arc::default(), panics }
    }

    fn pest(&self) -> Pest {
        Pest { tree: Arc::clone(&self.tree), calls: Arc::clone(&self.calls), panics: self.panics }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

#[test]
fn an_error_whose_destructor_calls_the_tree_or_panics_harms_nobody() {
    for panics in [false, true] {
        paused(async {
            let universe = Universe::new();
            let nest = Nest::new(panics);
            let in_child = nest.clone();
            let child = Child::task("a", move |ctx: Ctx| {
                let nest = in_child.clone();
                async move {
                    if ctx.attempt() < Attempt(2000) {
                        return Err(nest.pest());
                    }
                    ctx.stopping().await;
                    Ok(())
                }
            });
            let child = child.backoff(None).limit(Limit::unlimited());
            let sibling = universe.puppet("sibling");
            let tree = Supervisor::new("t").child(sibling.child()).child(child).begin().unwrap();
            nest.tree.set(tree.handle()).unwrap();
            let mut events = tree.events();
            tree.ready().await.unwrap();
            eventually("two thousand attempts", || {
                tree.snapshot().get("/t/a").unwrap().attempt == Attempt(2000)
            })
            .await;
            // Errors are dropped while the child restarts, not kept until the end.
            assert!(nest.calls() > 0);
            while let Ok(Some(_)) = tokio::time::timeout(Duration::ZERO, events.next()).await {}
            drop(events);
            assert_eq!(sibling.starts(), 1);
            let report = tree.stop().await;
            assert!(report.is_clean(), "{report:?}");
            universe.check().await;
        });
    }
}

#[test]
fn what_closures_and_members_have_captured_may_call_the_tree_or_panic_when_it_is_dropped() {
    for panics in [false, true] {
        paused(async {
            let universe = Universe::new();
            let nest = Nest::new(panics);
            let group = Group::<Arc<Pest>>::new("g", |ctx: Ctx, pest| async move {
                // The last one is the argument that the group keeps.
                drop(pest);
                ctx.stopping().await;
            });
            let group = group.max_members(1);
            let members = group.handle();
            let tree = Supervisor::new("t").child(group).start().await.unwrap();
            nest.tree.set(tree.handle()).unwrap();
            let captured = Arc::new(nest.pest());
            let child = Child::task("a", move |ctx: Ctx| {
                let _captured = &captured;
                async move { ctx.stopping().await }
            });
            tree.add_child("/t", child).await.unwrap();
            let member = Name::new("m").unwrap();
            members.spawn_named(member.clone(), Arc::new(nest.pest())).unwrap();
            // Refused: the argument is dropped at once, in the caller's hands.
            let argument = Arc::new(nest.pest());
            let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                members.spawn_named(member, argument)
            }));
            assert_eq!(refused.is_err(), panics);
            assert_eq!(nest.calls(), 1);
            tree.remove_child("/t/g/m").await.unwrap();
            assert_eq!(nest.calls(), 2);
            tree.stop().await;
            assert_eq!(nest.calls(), 3);
            universe.check().await;
        });
    }
}

#[test]
fn a_refused_child_is_dropped_outside_of_the_tree_s_lock() {
    paused(async {
        let universe = Universe::new();
        let nest = Nest::new(false);
        let tree = Supervisor::new("t").child(universe.puppet("a").child()).start().await.unwrap();
        nest.tree.set(tree.handle()).unwrap();
        let pest = nest.pest();
        let child = Child::task("a", move |_ctx| {
            let _pest = &pest;
            async {}
        });
        assert!(matches!(tree.add_child("/t", child).await, Err(Refusal::AlreadyExists { .. })));
        assert_eq!(nest.calls(), 1);
        tree.stop().await;
        universe.check().await;
    });
}

#[test]
fn what_makes_room_for_another_child_is_dropped_outside_of_the_tree_s_lock() {
    paused(async {
        let universe = Universe::new();
        let nest = Nest::new(false);
        let pest = nest.pest();
        let once = Child::task("once", move |_ctx| {
            let _pest = &pest;
            async {}
        });
        let tree = Supervisor::new("t").child(once.restart(Restart::Temporary)).start().await.unwrap();
        nest.tree.set(tree.handle()).unwrap();
        eventually("its end", || {
            tree.snapshot().root.children[0].state == ChildState::Idle(IdleReason::Finished)
        })
        .await;
        let again = universe.puppet("once");
        tree.add_child("/t", again.child()).await.unwrap();
        assert_eq!((nest.calls(), again.live()), (1, 1));
        tree.stop().await;
        universe.check().await;
    });
}

/// A waker that calls the tree.
struct PestWaker(Nest);

impl Wake for PestWaker {
    fn wake(self: Arc<Self>) {
        pester(&self.0.tree, &self.0.calls);
    }
}

#[test]
fn a_waker_that_calls_the_tree_is_woken_outside_of_its_lock() {
    paused(async {
        let universe = Universe::new();
        let nest = Nest::new(false);
        let kept: Arc<Mutex<Option<Ctx>>> = Arc::default();
        let slot = Arc::clone(&kept);
        let child = Child::task("a", move |ctx: Ctx| {
            *slot.lock().unwrap() = Some(ctx.clone());
            async move { ctx.stopping().await }
        });
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        nest.tree.set(tree.handle()).unwrap();
        eventually("the attempt", || kept.lock().unwrap().is_some()).await;
        let ctx = kept.lock().unwrap().take().unwrap();
        let waker = Waker::from(Arc::new(PestWaker(nest.clone())));
        let mut cx = std::task::Context::from_waker(&waker);
        let (mut stopping, mut join) = (Box::pin(ctx.stopping()), Box::pin(tree.join()));
        let mut events = tree.events();
        let mut next = Box::pin(events.next());
        assert!(stopping.as_mut().poll(&mut cx).is_pending());
        assert!(join.as_mut().poll(&mut cx).is_pending());
        assert!(next.as_mut().poll(&mut cx).is_pending());
        tree.stop().await;
        assert_eq!(nest.calls(), 3);
        universe.check().await;
    });
}

/// A group whose members hand their contexts out, with `count` members.
async fn contexts(count: usize) -> (Tree, Vec<Ctx>) {
    let kept: Arc<Mutex<Vec<Ctx>>> = Arc::default();
    let slot = Arc::clone(&kept);
    let group = Group::<()>::new("g", move |ctx: Ctx, ()| {
        slot.lock().unwrap().push(ctx.clone());
        async move { ctx.stopping().await }
    });
    let members = group.handle();
    let tree = Supervisor::new("t").child(group).start().await.unwrap();
    for _ in 0..count {
        members.spawn(()).unwrap();
    }
    eventually("all of them", || kept.lock().unwrap().len() == count).await;
    let contexts = std::mem::take(&mut *kept.lock().unwrap());
    (tree, contexts)
}

/// Calls what it is made of.
struct Calls<F>(F);

impl<F: Fn() + Send + Sync> Wake for Calls<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
fn a_reader_that_comes_in_the_middle_of_a_great_stop_misses_nothing_from_then_on() {
    paused(async {
        let (tree, contexts) = contexts(100).await;
        let watched: Arc<Mutex<Option<(Snapshot, Events)>>> = Arc::default();
        let (slot, handle) = (Arc::clone(&watched), tree.handle());
        // Woken when the first is asked, while the others are still to be.
        let begin = move || {
            slot.lock().unwrap().get_or_insert_with(|| handle.watch());
        };
        let waker = Waker::from(Arc::new(Calls(begin)));
        let mut stopping = Box::pin(contexts[0].stopping());
        assert!(stopping.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        tree.begin_stop();
        let (snapshot, mut events) = watched.lock().unwrap().take().expect("it was woken");
        let begun = snapshot.get("/t/g").unwrap();
        let running = begun.children.iter().filter(|child| child.state == ChildState::Running).count();
        assert!(running > 50, "the stop is only beginning");
        tree.join().await;
        let mut number = snapshot.number;
        while let Some(next) = events.next().await {
            let EventOrLost::Event(event) = next else { panic!("{next:?} after event {number}") };
            number += 1;
            assert_eq!(event.number, number);
        }
        assert!(number > snapshot.number + 200);
    });
}

#[test]
fn a_command_from_a_reader_that_is_being_told_is_carried_out_also_if_nothing_ever_happens_after_it() {
    paused(async {
        let (tree, contexts) = contexts(2).await;
        let mut events = tree.events();
        let mut next = Box::pin(events.next());
        let (handle, second) = (tree.handle(), contexts[1].path());
        let stop = move || {
            let mut stop = Box::pin(handle.stop_child(second.clone()));
            let _ = stop.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
        };
        let waker = Waker::from(Arc::new(Calls(stop)));
        assert!(next.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        contexts[0].health(Health::Degraded);
        assert!(contexts[1].is_stopping(), "it is asked by the thread that told the reader");
        tree.stop().await;
    });
}

#[test]
fn effects_of_effects_use_no_stack() {
    // Each member's waker stops the next member: as deep as there are members, on the 2 MiB stack of a test.
    const MEMBERS: usize = 5_000;
    paused(async {
        let (tree, contexts) = contexts(MEMBERS).await;
        let mut waiting: Vec<_> = contexts.iter().map(|ctx| Box::pin(ctx.stopping())).collect();
        for (n, stopping) in waiting.iter_mut().enumerate() {
            let (handle, next) = (tree.handle(), contexts.get(n + 1).map(Ctx::path));
            let stop_next = move || {
                if let Some(next) = next.clone() {
                    let mut stop = Box::pin(handle.stop_child(next));
                    let _ = stop.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
                }
            };
            let waker = Waker::from(Arc::new(Calls(stop_next)));
            assert!(stopping.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        }
        let first = contexts[0].path();
        tree.stop_child(first).await.unwrap();
        eventually("the stop of all", || contexts.iter().all(Ctx::is_stopping)).await;
        drop(waiting);
        tree.stop().await;
    });
}

/// A waker that asks its attempt for something when it is dropped.
struct LastWords(Mutex<Option<Ctx>>);

impl Wake for LastWords {
    fn wake(self: Arc<Self>) {}
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if let Some(ctx) = self.0.lock().unwrap().take() {
            drop(ctx.path());
        }
    }
}

#[test]
fn a_waker_that_asks_its_attempt_for_something_when_it_is_dropped_is_dropped_outside_of_the_lock() {
    paused(async {
        let child = Child::task("a", |ctx: Ctx| async move {
            let mut stopping = std::pin::pin!(ctx.stopping());
            let waker = Waker::from(Arc::new(LastWords(Mutex::new(Some(ctx.clone())))));
            assert!(stopping.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
            drop(waker);
            stopping.await;
        });
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(tree.stop().await.is_clean());
    });
}
