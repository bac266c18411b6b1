//! User code that calls the tree, or panics, from a destructor or a waker. It never runs while the tree is locked, and its
//! panics do not reach the tree.

use liveoak_runtime::testing::{LeakCheck, eventually, paused};
use liveoak_runtime::*;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Wake, Waker};
use std::time::Duration;

/// The tree that user code calls, once it is known.
type TreeSlot = Arc<OnceLock<TreeHandle>>;

/// Calls all methods that lock the tree.
fn call_tree(tree: &TreeSlot, calls: &AtomicU32) {
    calls.fetch_add(1, Ordering::SeqCst);
    if let Some(tree) = tree.get() {
        let _ = tree.snapshot();
        let _ = tree.events();
        let _ = tree.watch();
    }
}

/// A value whose destructor calls the tree, and may panic.
struct CallsWhenDropped {
    tree: TreeSlot,
    calls: Arc<AtomicU32>,
    panics: bool,
}

impl Drop for CallsWhenDropped {
    fn drop(&mut self) {
        call_tree(&self.tree, &self.calls);
        if self.panics {
            panic!("from the destructor");
        }
    }
}

impl fmt::Debug for CallsWhenDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallsWhenDropped")
    }
}

impl fmt::Display for CallsWhenDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error whose destructor calls the tree")
    }
}

impl std::error::Error for CallsWhenDropped {}

/// Makes values that call one tree, and counts the calls.
#[derive(Clone)]
struct Callers {
    tree: TreeSlot,
    calls: Arc<AtomicU32>,
    panics: bool,
}

impl Callers {
    fn new(panics: bool) -> Self {
        Self { tree: Arc::default(), calls: Arc::default(), panics }
    }

    fn value(&self) -> CallsWhenDropped {
        CallsWhenDropped { tree: Arc::clone(&self.tree), calls: Arc::clone(&self.calls), panics: self.panics }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

#[test]
fn an_error_whose_destructor_calls_the_tree_or_panics_does_no_harm() {
    for panics in [false, true] {
        paused(async {
            let leak_check = LeakCheck::new();
            let callers = Callers::new(panics);
            let in_child = callers.clone();
            let child = Child::task("a", move |ctx: Ctx| {
                let callers = in_child.clone();
                async move {
                    if ctx.attempt() < Attempt(2000) {
                        return Err(callers.value());
                    }
                    ctx.stopping().await;
                    Ok(())
                }
            });
            let child = child.backoff(None).limit(Limit::unlimited());
            let sibling = leak_check.puppet("sibling");
            let tree = Supervisor::new("t").child(sibling.child()).child(child).begin().unwrap();
            callers.tree.set(tree.handle()).unwrap();
            let mut events = tree.events();
            tree.ready().await.unwrap();
            eventually("two thousand attempts", || {
                tree.snapshot().get("/t/a").unwrap().attempt == Attempt(2000)
            })
            .await;
            // Errors are dropped while the child restarts, not only at the end of the tree.
            assert!(callers.calls() > 0);
            while let Ok(Some(_)) = tokio::time::timeout(Duration::ZERO, events.next()).await {}
            drop(events);
            assert_eq!(sibling.starts(), 1);
            let report = tree.stop().await;
            assert!(report.is_clean(), "{report:?}");
            leak_check.check().await;
        });
    }
}

#[test]
fn captured_values_of_closures_and_members_may_call_the_tree_or_panic_when_dropped() {
    for panics in [false, true] {
        paused(async {
            let leak_check = LeakCheck::new();
            let callers = Callers::new(panics);
            let group = Group::<Arc<CallsWhenDropped>>::new("g", |ctx: Ctx, value| async move {
                // The value that remains is the argument that the group keeps.
                drop(value);
                ctx.stopping().await;
            });
            let group = group.max_members(1);
            let members = group.handle();
            let tree = Supervisor::new("t").child(group).start().await.unwrap();
            callers.tree.set(tree.handle()).unwrap();
            let captured = Arc::new(callers.value());
            let child = Child::task("a", move |ctx: Ctx| {
                let _captured = &captured;
                async move { ctx.stopping().await }
            });
            tree.add_child("/t", child).await.unwrap();
            let member = Name::new("m").unwrap();
            members.spawn_named(member.clone(), Arc::new(callers.value())).unwrap();
            // The member is refused, so its argument comes back.
            let refused = members.spawn_named(member, Arc::new(callers.value())).unwrap_err();
            assert_eq!(callers.calls(), 0);
            let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(refused)));
            assert_eq!(dropped.is_err(), panics);
            assert_eq!(callers.calls(), 1);
            tree.remove_child("/t/g/m").await.unwrap();
            assert_eq!(callers.calls(), 2);
            tree.stop().await;
            assert_eq!(callers.calls(), 3);
            leak_check.check().await;
        });
    }
}

#[test]
fn a_refused_child_is_dropped_outside_of_the_tree_s_lock() {
    paused(async {
        let leak_check = LeakCheck::new();
        let callers = Callers::new(false);
        let tree = Supervisor::new("t").child(leak_check.puppet("a").child()).start().await.unwrap();
        callers.tree.set(tree.handle()).unwrap();
        let value = callers.value();
        let child = Child::task("a", move |_ctx| {
            let _value = &value;
            async {}
        });
        assert!(matches!(
            tree.add_child("/t", child).await.map_err(Refusal::from),
            Err(Refusal::AlreadyExists { .. })
        ));
        assert_eq!(callers.calls(), 1);
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_finished_child_that_makes_room_for_another_is_dropped_outside_of_the_tree_s_lock() {
    paused(async {
        let leak_check = LeakCheck::new();
        let callers = Callers::new(false);
        let value = callers.value();
        let once = Child::task("once", move |_ctx| {
            let _value = &value;
            async {}
        });
        let tree = Supervisor::new("t").child(once.restart(Restart::Temporary)).start().await.unwrap();
        callers.tree.set(tree.handle()).unwrap();
        eventually("its end", || {
            tree.snapshot().root.children[0].state == ChildState::Idle(IdleReason::Finished)
        })
        .await;
        let again = leak_check.puppet("once");
        tree.add_child("/t", again.child()).await.unwrap();
        assert_eq!((callers.calls(), again.live()), (1, 1));
        tree.stop().await;
        leak_check.check().await;
    });
}

/// A waker that calls the tree.
struct CallingWaker(Callers);

impl Wake for CallingWaker {
    fn wake(self: Arc<Self>) {
        call_tree(&self.0.tree, &self.0.calls);
    }
}

#[test]
fn a_waker_that_calls_the_tree_is_woken_outside_of_the_tree_s_lock() {
    paused(async {
        let leak_check = LeakCheck::new();
        let callers = Callers::new(false);
        let kept: Arc<Mutex<Option<Ctx>>> = Arc::default();
        let slot = Arc::clone(&kept);
        let child = Child::task("a", move |ctx: Ctx| {
            *slot.lock().unwrap() = Some(ctx.clone());
            async move { ctx.stopping().await }
        });
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        callers.tree.set(tree.handle()).unwrap();
        eventually("the attempt", || kept.lock().unwrap().is_some()).await;
        let ctx = kept.lock().unwrap().take().unwrap();
        let waker = Waker::from(Arc::new(CallingWaker(callers.clone())));
        let mut cx = std::task::Context::from_waker(&waker);
        let (mut stopping, mut join) = (Box::pin(ctx.stopping()), Box::pin(tree.join()));
        let mut events = tree.events();
        let mut next = Box::pin(events.next());
        assert!(stopping.as_mut().poll(&mut cx).is_pending());
        assert!(join.as_mut().poll(&mut cx).is_pending());
        assert!(next.as_mut().poll(&mut cx).is_pending());
        tree.stop().await;
        assert_eq!(callers.calls(), 3);
        leak_check.check().await;
    });
}

/// Starts a tree with a group of `count` members. Returns the members' contexts.
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

/// A waker that calls a function.
struct Calls<F>(F);

impl<F: Fn() + Send + Sync> Wake for Calls<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
fn a_reader_that_subscribes_in_the_middle_of_a_large_stop_misses_no_later_event() {
    paused(async {
        let (tree, contexts) = contexts(100).await;
        let watched: Arc<Mutex<Option<(Snapshot, Events)>>> = Arc::default();
        let (slot, handle) = (Arc::clone(&watched), tree.handle());
        // The waker runs when the first member is asked to stop, before the others are.
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
        assert!(running > 50, "most members are not asked yet");
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
fn a_command_from_the_waker_of_an_event_reader_is_carried_out_immediately() {
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
        contexts[0].health(Health::Degraded, "");
        assert!(contexts[1].is_stopping(), "it is asked by the thread that woke the reader");
        tree.stop().await;
    });
}

#[test]
fn effects_that_cause_effects_use_no_stack() {
    // Each member's waker stops the next member. Recursion would overflow the 2 MiB stack of a test's thread.
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

/// A waker whose destructor calls the context of an attempt.
struct CallsContextWhenDropped(Mutex<Option<Ctx>>);

impl Wake for CallsContextWhenDropped {
    fn wake(self: Arc<Self>) {}
}

impl Drop for CallsContextWhenDropped {
    fn drop(&mut self) {
        if let Some(ctx) = self.0.lock().unwrap().take() {
            drop(ctx.path());
        }
    }
}

#[test]
fn a_waker_whose_destructor_calls_its_context_is_dropped_outside_of_the_lock() {
    paused(async {
        let child = Child::task("a", |ctx: Ctx| async move {
            let mut stopping = std::pin::pin!(ctx.stopping());
            let waker = Waker::from(Arc::new(CallsContextWhenDropped(Mutex::new(Some(ctx.clone())))));
            assert!(stopping.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
            drop(waker);
            stopping.await;
        });
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(tree.stop().await.is_clean());
    });
}
