//! Polls that take too long, in real time: they are seen while they run, also when all threads of the runtime are
//! blocked. The tests wait for events, and a blocked thread waits until the test lets it go.

use liveoak_runtime::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

const LIMIT: PollLimit = PollLimit::new(Duration::from_millis(40));

/// Runs `test` on a runtime with this many workers. The test itself runs on the calling thread.
fn real<F: Future>(workers: usize, test: F) -> F::Output {
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
    let outcome = runtime.block_on(test);
    runtime.shutdown_background();
    outcome
}

/// Code that blocks its thread until the test lets it go.
#[derive(Clone)]
struct Block(Arc<Mutex<Receiver<()>>>);

impl Block {
    fn new() -> (Sender<()>, Self) {
        let (release, until_released) = channel();
        (release, Self(Arc::new(Mutex::new(until_released))))
    }

    fn block(&self) {
        let _ = self.0.lock().unwrap().recv();
    }
}

/// Returns a child that blocks once, in its first attempt.
fn blocks_once(name: &str, block: &Block) -> Child {
    let block = block.clone();
    Child::task(name, move |ctx: Ctx| {
        let block = block.clone();
        async move {
            ctx.ready();
            // The child is known to be ready before it blocks.
            tokio::task::yield_now().await;
            if ctx.attempt() == Attempt(1) {
                block.block();
            }
            ctx.stopping().await;
        }
    })
    .backoff(None)
}

/// Waits until `holds`. Blocks its thread and needs no timer of the runtime: the worker that a child blocks may be the one that
/// would drive the timers.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "this did not happen: {what}");
        std::thread::yield_now();
    }
}

/// Waits for the next event of this name, and returns it.
async fn next(events: &mut Events, name: &str) -> Event {
    let wait = async {
        loop {
            match events.next().await.expect("the tree has not ended") {
                EventOrLost::Event(event) if event.kind.name() == name => return event,
                EventOrLost::Event(_) | EventOrLost::Lost(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("no event {name}"))
}

#[test]
fn a_poll_that_takes_too_long_is_named_while_it_runs_although_all_workers_are_blocked() {
    real(1, async {
        let (release, block) = Block::new();
        let supervisor = Supervisor::new("t").watch_polls(LIMIT).child(blocks_once("a", &block));
        let tree = supervisor.start().await.unwrap();
        let (_, mut events) = tree.watch();
        if tree.snapshot().get("/t/a").unwrap().stuck.is_none() {
            let stuck = next(&mut events, "stuck").await;
            assert_eq!(stuck.path.as_str(), "/t/a");
            assert!(matches!(&stuck.kind, EventKind::Stuck(poll) if poll.attempt == Attempt(1)), "{stuck:?}");
        }
        let view = tree.snapshot().get("/t/a").unwrap().clone();
        let poll = view.stuck.expect("the snapshot shows the poll");
        assert_eq!((poll.attempt, poll.limit), (Attempt(1), LIMIT));
        assert!(poll.place.contains("tokio"), "it names the worker: {}", poll.place);
        assert_eq!((view.state, view.attempt), (ChildState::Running, Attempt(1)), "it is only reported");
        release.send(()).unwrap();
        let over = next(&mut events, "unstuck").await;
        assert_eq!(over.path.as_str(), "/t/a");
        assert_eq!(tree.snapshot().get("/t/a").unwrap().stuck, None);
        assert!(tree.stop().await.is_clean());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_stack_of_a_stuck_poll_names_the_code_of_the_child_while_it_blocks() {
    real(1, async {
        let (release, block) = Block::new();
        let supervisor = Supervisor::new("t").watch_polls(LIMIT).child(blocks_once("a", &block));
        let tree = supervisor.start().await.unwrap();
        let view = || tree.snapshot().get("/t/a").unwrap().clone();
        until("a stack", || view().stuck.is_some_and(|poll| poll.stack.is_some()));
        let poll = view().stuck.unwrap();
        let stack: Vec<&str> = poll.stack_lines().collect();
        let own: Vec<_> = stack.iter().filter(|line| line.contains("watched_polls.rs:")).collect();
        assert!(own[0].contains("block"), "{stack:?}");
        assert_eq!(own.last(), stack.last().as_ref(), "nothing below the code of the child: {stack:?}");
        let explained = tree.explain("/t/a").unwrap().to_string();
        assert!(explained.contains(*own[0]), "{explained}");
        release.send(()).unwrap();
        assert!(tree.stop().await.is_clean());
    });
}

#[test]
fn a_stuck_child_is_unhealthy_until_its_poll_is_over_if_its_limit_says_so() {
    real(2, async {
        let (release, block) = Block::new();
        let child = blocks_once("a", &block).watch_polls(LIMIT.when_stuck(WhenStuck::Unhealthy));
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        let health = || tree.snapshot().get("/t/a").unwrap().health;
        until("unhealthy", || health() == Health::Unhealthy);
        release.send(()).unwrap();
        until("not unhealthy any more", || health() != Health::Unhealthy);
        assert_eq!(tree.snapshot().get("/t/a").unwrap().attempt, Attempt(1));
        assert!(tree.stop().await.is_clean());
    });
}

#[test]
fn a_stuck_attempt_is_abandoned_and_the_next_attempt_runs_on_another_worker_if_its_limit_says_so() {
    real(2, async {
        let (release, block) = Block::new();
        let child = blocks_once("a", &block).watch_polls(LIMIT.when_stuck(WhenStuck::Abandon));
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        let view = || tree.snapshot().get("/t/a").unwrap().clone();
        let second = || (view().attempt, view().state) == (Attempt(2), ChildState::Running);
        until("a second attempt, while the first still blocks", second);
        assert!(matches!(view().last_exit, Some(Exit::Unhealthy(_))), "{:?}", view().last_exit);
        release.send(()).unwrap();
        assert!(tree.stop().await.is_clean(), "the second attempt stops as asked");
    });
}

#[test]
fn a_stop_report_names_the_children_that_are_stuck_and_where() {
    real(2, async {
        let (_release, block) = Block::new();
        let stop_within = Duration::from_millis(300);
        let child = blocks_once("a", &block).stop_within(stop_within).kill_wait(stop_within);
        let tree = Supervisor::new("t").watch_polls(LIMIT).child(child).start().await.unwrap();
        until("stuck", || tree.snapshot().get("/t/a").unwrap().stuck.is_some());
        let report = tree.stop().await;
        let entry = &report.entries[0];
        assert_eq!((entry.path.as_str(), entry.stage), ("/t/a", StopStage::Abandoned));
        let poll = entry.stuck.as_ref().expect("the poll is named");
        assert!(poll.place.contains("tokio"), "{}", poll.place);
    });
}

#[test]
fn a_subtask_counts_as_its_child() {
    real(2, async {
        let (release, block) = Block::new();
        let child = Child::task("a", move |ctx: Ctx| {
            let block = block.clone();
            async move {
                drop(ctx.spawn(async move { block.block() }));
                ctx.stopping().await;
            }
        });
        let tree = Supervisor::new("t").child(child.watch_polls(LIMIT)).start().await.unwrap();
        let is_stuck = || tree.snapshot().get("/t/a").unwrap().stuck.is_some();
        until("stuck", is_stuck);
        release.send(()).unwrap();
        until("not stuck any more", || !is_stuck());
        assert!(tree.stop().await.is_clean());
    });
}

#[test]
fn a_check_that_blocks_counts_as_its_child() {
    real(2, async {
        let (release, block) = Block::new();
        let child = Child::task("a", |ctx: Ctx| async move { ctx.stopping().await });
        let child = child.readiness(Check::every(Duration::from_millis(5)), move |_| {
            let block = block.clone();
            async move {
                block.block();
                Ok::<(), String>(())
            }
        });
        let tree = Supervisor::new("t").child(child.watch_polls(LIMIT)).start().await.unwrap();
        let is_stuck = || tree.snapshot().get("/t/a").unwrap().stuck.is_some();
        until("stuck", is_stuck);
        // All further tries return at once.
        drop(release);
        until("not stuck any more", || !is_stuck());
        assert!(tree.stop().await.is_clean());
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_has_no_polls_so_its_own_limit_is_refused_and_that_of_its_supervisor_has_no_effect() {
    let thread = || Child::thread("a", |ctx: Ctx| while !ctx.is_stopping() {});
    let refused = Supervisor::new("t").child(thread().watch_polls(LIMIT)).start().await.unwrap_err();
    assert!(refused.to_string().contains("/t/a: poll_limit: a thread has no polls"), "{refused}");
    let (release, block) = Block::new();
    let tree = Supervisor::new("t").watch_polls(LIMIT).child(thread()).child(blocks_once("b", &block));
    let tree = tree.begin().unwrap();
    let is_stuck = |path: &str| tree.snapshot().get(path).is_some_and(|view| view.stuck.is_some());
    until("a stuck task", || is_stuck("/t/b"));
    assert!(!is_stuck("/t/a"), "the thread ran for as long");
    release.send(()).unwrap();
    tree.stop().await;
}

#[tokio::test]
async fn a_child_with_a_check_runs_on_the_runtime_that_was_chosen_before_or_after_the_check() {
    let other =
        Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("other").build().unwrap();
    let on_other = || std::thread::current().name() == Some("other");
    for check_first in [true, false] {
        let child = Child::task("a", move |ctx: Ctx| async move {
            assert!(on_other(), "the body runs elsewhere");
            ctx.stopping().await;
        });
        let ask = move |_| async move { if on_other() { Ok(()) } else { Err("the check runs elsewhere") } };
        let check = Check::every(Duration::from_millis(5));
        let handle = other.handle().clone();
        let child = match check_first {
            true => child.startup(check, ask).on_runtime(handle),
            false => child.on_runtime(handle).startup(check, ask),
        };
        let tree = Supervisor::new("t").child(child).start().await.expect("the check passes");
        assert!(tree.stop().await.is_clean());
    }
    other.shutdown_background();
}
