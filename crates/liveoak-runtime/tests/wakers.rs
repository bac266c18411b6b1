//! Wakers are user code. A waker that panics affects only the future that waits with it.

use liveoak_runtime::testing::{LeakCheck, eventually, paused};
use liveoak_runtime::*;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

/// A panic payload whose destructor panics with another payload of the same kind.
struct Endless;

impl Drop for Endless {
    fn drop(&mut self) {
        std::panic::panic_any(Endless);
    }
}

/// A waker that panics when it is woken, and when it is dropped.
struct Bomb(Arc<AtomicU32>);

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::panic::panic_any(Endless);
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(Endless);
    }
}

/// Futures that were polled once, each with a panicking waker of its own.
#[derive(Default)]
struct PanickingWaiters<'a> {
    waiting: Vec<Pin<Box<dyn Future<Output = ()> + 'a>>>,
    woken: Arc<AtomicU32>,
}

impl<'a> PanickingWaiters<'a> {
    fn add<T>(&mut self, future: impl Future<Output = T> + 'a) {
        let mut future = Box::pin(async { drop(future.await) });
        let waker = Waker::from(Arc::new(Bomb(Arc::clone(&self.woken))));
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        self.waiting.push(future);
    }

    fn woken(&self) -> u32 {
        self.woken.load(Ordering::SeqCst)
    }
}

/// Returns a child that adds its context to `ctxs`.
fn shown(name: &str, ctxs: &Arc<Mutex<Vec<Ctx>>>) -> Child {
    let ctxs = Arc::clone(ctxs);
    Child::task(name, move |ctx: Ctx| {
        ctxs.lock().unwrap().push(ctx.clone());
        async move { ctx.stopping().await }
    })
}

#[test]
fn a_panic_of_a_waker_does_not_end_other_readers_of_events() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a");
        let tree = Supervisor::new("t").child(a.child().backoff(None)).start().await.unwrap();
        let mut readers = [tree.events(), tree.events(), tree.events()];
        let [first, good, last] = &mut readers;
        let mut waiters = PanickingWaiters::default();
        waiters.add(first.next());
        let names: Mutex<Vec<&str>> = Mutex::default();
        let read = async {
            while let Some(EventOrLost::Event(event)) = good.next().await {
                names.lock().unwrap().push(event.kind.name());
            }
        };
        let mut read = std::pin::pin!(read);
        let early = tokio::time::timeout(Duration::from_millis(1), read.as_mut()).await;
        assert!(early.is_err(), "nothing happens yet");
        waiters.add(last.next());
        let fail = async {
            a.fail("x");
            a.started(2).await;
            tree.stop().await;
        };
        tokio::join!(read, fail);
        assert_eq!(waiters.woken(), 2);
        let names = names.lock().unwrap().clone();
        assert_eq!(names[..4], ["exited", "waiting", "starting", "ready"], "{names:?}");
        assert_eq!(names[names.len() - 1], "exited", "{names:?}");
        leak_check.check().await;
    });
}

#[test]
fn a_panic_of_a_waker_does_not_keep_other_children_from_being_asked_to_stop() {
    paused(async {
        let ctxs: Arc<Mutex<Vec<Ctx>>> = Arc::default();
        let slot = Arc::clone(&ctxs);
        let group = Group::<()>::new("g", move |ctx: Ctx, ()| {
            slot.lock().unwrap().push(ctx.clone());
            async move {
                // A subtask waits for the stop, and the body waits for the subtask.
                let waiter = ctx.clone();
                ctx.spawn(async move { waiter.stopping().await }).await.unwrap();
            }
        });
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        for _ in 0..30 {
            members.spawn(()).unwrap();
        }
        eventually("all of them", || ctxs.lock().unwrap().len() == 30).await;
        let ctxs = std::mem::take(&mut *ctxs.lock().unwrap());
        let mut waiters = PanickingWaiters::default();
        for ctx in &ctxs[3..6] {
            waiters.add(ctx.stopping());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        for ctx in &ctxs[3..6] {
            waiters.add(ctx.stopping());
        }
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.entries.len(), report.took), (31, Duration::ZERO));
        assert_eq!(waiters.woken(), 6);
    });
}

#[test]
fn a_panic_of_a_waker_does_not_block_other_waiters_for_ready_or_join() {
    paused(async {
        let leak_check = LeakCheck::new();
        let slow = leak_check.puppet("slow").slow_to_start();
        let tree = Supervisor::new("t").child(slow.child()).begin().unwrap();
        let (mut up, mut down) = (PanickingWaiters::default(), PanickingWaiters::default());
        up.add(tree.ready());
        down.add(tree.join());
        let (ready, join) = (tree.handle(), tree.handle());
        let others = tokio::spawn(async move { ready.ready().await.is_ok() });
        let join = tokio::spawn(async move { join.join().await.expect("the end").exit });
        tokio::time::sleep(Duration::from_secs(1)).await;
        up.add(tree.ready());
        down.add(tree.join());
        slow.ready();
        assert!(others.await.unwrap());
        let (handle, second) = (tree.handle(), tree.handle());
        let stop = tokio::spawn(async move { handle.stop().await.expect("a report").is_clean() });
        assert!(second.stop().await.expect("a report").is_clean());
        assert!(stop.await.unwrap());
        assert!(matches!(join.await.unwrap(), Exit::Stopped));
        assert_eq!((up.woken(), down.woken()), (2, 2));
        leak_check.check().await;
    });
}

#[test]
fn wakers_that_panic_in_the_timer_task_do_not_end_the_tree() {
    paused(async {
        let ctxs: Arc<Mutex<Vec<Ctx>>> = Arc::default();
        let stuck = shown("stuck", &ctxs).heartbeat(Duration::from_secs(1)).backoff(None);
        let tree = Supervisor::new("t").child(stuck).child(shown("a", &ctxs)).start().await.unwrap();
        eventually("both", || ctxs.lock().unwrap().len() == 2).await;
        let both = ctxs.lock().unwrap().clone();
        let mut waiters = PanickingWaiters::default();
        for ctx in &both {
            waiters.add(ctx.stopping());
            waiters.add(ctx.killed());
        }
        // The timer task finds that the child has missed its heartbeat.
        eventually("another attempt", || ctxs.lock().unwrap().len() == 3).await;
        assert!(tree.snapshot().get("/t/stuck").unwrap().last_exit.is_some());
        assert!(tree.stop().await.is_clean());
    });
}

#[test]
fn a_panic_of_a_waker_does_not_keep_other_callers_from_their_answers() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let deaf = Child::task("deaf", |_ctx| std::future::pending::<()>()).stop_within(Duration::MAX);
    let supervisor = Supervisor::new("t").stop_within(Duration::MAX).child(deaf);
    let tree = runtime.block_on(supervisor.start()).unwrap();
    let mut waiters = PanickingWaiters::default();
    for _ in 0..8 {
        waiters.add(tree.stop_child("/t/deaf"));
    }
    // Without its runtime the tree cannot stop the child, so all waiting commands are answered now.
    drop(runtime);
    assert!(matches!(tree.handle().join().now_or_never(), Some(Ok(Ended { exit: Exit::Killed, .. }))));
    assert_eq!(waiters.woken(), 8);
}

/// The output of a future if it is ready at the first poll.
trait NowOrNever: Future + Sized {
    fn now_or_never(self) -> Option<Self::Output> {
        match std::pin::pin!(self).poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(outcome) => Some(outcome),
            std::task::Poll::Pending => None,
        }
    }
}

impl<F: Future> NowOrNever for F {}

/// A waker that looks at the tree when it is woken and when it is dropped.
struct Looks(TreeHandle);

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let _ = self.0.snapshot();
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        let _ = self.0.snapshot();
    }
}

#[test]
fn a_waiter_that_gives_up_does_not_drop_its_waker_under_the_lock() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let child = Child::task("a", |_: Ctx| std::future::pending::<()>()).stop_within(Duration::MAX);
    let tree = runtime.block_on(Supervisor::new("t").child(child).start()).expect("a tree");
    let handle = tree.handle();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut waits = Box::pin(handle.stop_child("/t/a"));
        let waker = Waker::from(Arc::new(Looks(handle.clone())));
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        drop(waits);
        let _ = done.send(());
    });
    let ended = is_done.recv_timeout(Duration::from_secs(20));
    // After a deadlock, the tree cannot be dropped either.
    if ended.is_err() {
        std::mem::forget((tree, runtime));
        panic!("the waiter waits for the lock that it holds");
    }
}
