//! Events and snapshots.

use liveoak_runtime::testing::{LeakCheck, paused};
use liveoak_runtime::*;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The knowledge of a reader of events about a tree: for each path the state as one word, and the attempt number.
type Known = BTreeMap<String, (&'static str, u64)>;

fn word(state: &ChildState) -> &'static str {
    match state {
        ChildState::Idle(_) => "idle",
        other => other.as_str(),
    }
}

fn known(snapshot: &Snapshot) -> Known {
    let view = |node: &ChildView| (node.path.to_string(), (word(&node.state), node.attempt.0));
    snapshot.nodes().map(view).collect()
}

fn learn(known: &mut Known, event: &Event) {
    let path = event.path.to_string();
    let attempt = known.get(&path).map_or(0, |(_, attempt)| *attempt);
    let (state, attempt) = match &event.kind {
        EventKind::Added { .. } | EventKind::Waiting => ("waiting", attempt),
        EventKind::Starting { attempt, .. } => ("starting", attempt.0),
        EventKind::Ready { .. } => ("running", attempt),
        EventKind::BackingOff { .. } => ("backing-off", attempt),
        EventKind::Stopping { .. } | EventKind::Killed { .. } | EventKind::Abandoned { .. } => {
            ("stopping", attempt)
        }
        EventKind::Exited { .. }
        | EventKind::Stopped { .. }
        | EventKind::Finished
        | EventKind::Ignored
        | EventKind::Quarantined(_) => ("idle", attempt),
        EventKind::Removed => {
            known.remove(&path);
            return;
        }
        _ => return,
    };
    known.insert(path, (state, attempt));
}

/// Reads events up to `number`. Returns `None` if some of them were lost.
async fn read_until(events: &mut Events, known: &mut Known, last: &mut u64, number: u64) -> Option<()> {
    while *last < number {
        match events.next().await.expect("the tree lives") {
            EventOrLost::Lost(_) => return None,
            EventOrLost::Event(event) => {
                assert_eq!(event.number, *last + 1, "numbers have no gaps");
                *last = event.number;
                learn(known, &event);
            }
        }
    }
    Some(())
}

#[test]
fn a_snapshot_plus_later_events_equals_the_next_snapshot_unless_events_are_reported_as_lost() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let flaky = |name: String| {
            Child::task(name, |ctx: Ctx| async move {
                let alive = ctx.sleep(Duration::from_micros(200 * (1 + ctx.attempt().0 % 7))).await;
                if alive { Err("flaky") } else { Ok(()) }
            })
            .backoff(Backoff {
                from: Duration::from_millis(1),
                to: Duration::from_millis(3),
                reset_after: s(1),
                ..Backoff::default()
            })
            .limit(Limit::unlimited())
        };
        let group = Group::<()>::temporary("g", |_ctx, ()| async { tokio::task::yield_now().await });
        let members = group.handle();
        let strategy = |name: &str, strategy| {
            let children = (0..3).map(|n| flaky(format!("c{n}")));
            Supervisor::new(name).strategy(strategy).children(children)
        };
        let tree = Supervisor::new("t")
            .child(strategy("one", Strategy::OneForOne))
            .child(strategy("all", Strategy::OneForAll))
            .child(strategy("rest", Strategy::RestForOne))
            .child(group)
            .start()
            .await
            .unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (handle, stop) = (tree.handle(), Arc::clone(&over));
        let commands = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let _ = members.spawn(());
                let _ = handle.restart_child("/t/rest/c1").await;
                let _ = handle.stop_child("/t/one/c0").await;
                let _ = handle.start_child("/t/one/c0").await;
                let _ = handle.add_child("/t/one", flaky("added".into())).await;
                let _ = handle.remove_child("/t/one/added").await;
            }
        });
        let (mut compared, mut lost) = (0, 0);
        while compared < 200 {
            let (snapshot, mut events) = tree.watch();
            let (mut known_now, mut last) = (known(&snapshot), snapshot.number);
            for _ in 0..50 {
                tokio::time::sleep(Duration::from_micros(500)).await;
                let truth = tree.snapshot();
                if read_until(&mut events, &mut known_now, &mut last, truth.number).await.is_none() {
                    lost += 1;
                    break;
                }
                assert_eq!(known_now, known(&truth), "at event {}", truth.number);
                compared += 1;
            }
        }
        over.store(true, Ordering::Relaxed);
        commands.await.unwrap();
        assert!(lost < 100, "the reader lost events too often");
        tree.stop().await;
    });
}

#[test]
fn a_slow_reader_learns_exactly_how_many_events_it_has_lost_and_does_not_slow_the_tree_down() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a");
        let child = a.child().backoff(None).limit(Limit::unlimited());
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        let (snapshot, mut events) = tree.watch();
        for attempt in 2..2000 {
            a.fail("x");
            a.started(attempt).await;
        }
        let emitted = tree.snapshot().number - snapshot.number;
        tree.stop().await;
        let all = tree.snapshot().number - snapshot.number;
        let (mut lost, mut read) = (0, 0);
        while let Some(next) = events.next().await {
            match next {
                EventOrLost::Lost(count) => lost += count,
                EventOrLost::Event(event) => {
                    read += 1;
                    assert_eq!(event.number, snapshot.number + lost + read);
                }
            }
        }
        assert!(emitted > 2000 && lost > 0, "{emitted} {lost}");
        assert_eq!(lost + read, all, "every event was read or counted");
        leak_check.check().await;
    });
}

#[test]
fn the_stream_ends_with_the_tree_after_its_last_event() {
    paused(async {
        let leak_check = LeakCheck::new();
        let tree = Supervisor::new("t").child(leak_check.puppet("a").child()).start().await.unwrap();
        let mut events = tree.events();
        let reader = tokio::spawn(async move {
            let mut last = None;
            while let Some(EventOrLost::Event(event)) = events.next().await {
                last = Some((event.path.to_string(), event.kind.name()));
            }
            last
        });
        tree.stop().await;
        // The stream ends although the tree's handle still exists.
        let last = reader.await.unwrap();
        assert_eq!(last, Some(("/t".to_owned(), "exited")));
        assert!(tree.events().next().await.is_none());
        leak_check.check().await;
    });
}

/// A waker that reads, on the thread that wakes it, all events that can be read at that moment.
struct ReadsWhenWoken(Mutex<(Events, Vec<String>)>);

impl Wake for ReadsWhenWoken {
    fn wake(self: Arc<Self>) {
        let (events, names) = &mut *self.0.lock().unwrap();
        loop {
            let next = std::pin::pin!(events.next()).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Some(EventOrLost::Event(event))) = next else { return };
            names.push(format!("{} {}", event.path, event.kind.name()));
        }
    }
}

#[test]
fn all_earlier_events_can_be_read_when_ready_or_join_returns() {
    paused(async {
        let leak_check = LeakCheck::new();
        let slow = leak_check.puppet("slow").slow_to_start();
        let tree = Supervisor::new("t").child(slow.child()).begin().unwrap();
        let reader = || Arc::new(ReadsWhenWoken(Mutex::new((tree.events(), Vec::new()))));
        let (up, down) = (reader(), reader());
        let (mut ready, mut join) = (Box::pin(tree.ready()), Box::pin(tree.join()));
        let waker = Waker::from(Arc::clone(&up));
        assert!(ready.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        slow.ready();
        tree.ready().await.unwrap();
        assert_eq!(up.0.lock().unwrap().1, ["/t/slow ready", "/t ready"]);
        let waker = Waker::from(Arc::clone(&down));
        assert!(join.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        tree.stop().await;
        let last = down.0.lock().unwrap().1.last().cloned();
        assert_eq!(last.as_deref(), Some("/t exited"));
        leak_check.check().await;
    });
}

#[test]
fn every_waiting_state_names_what_it_waits_for_since_when_and_the_remaining_time() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (slow, next) = (leak_check.puppet("slow").slow_to_start(), leak_check.puppet("next"));
        let deaf = leak_check.puppet("deaf").ignoring_stop();
        let tree = Supervisor::new("t")
            .child(deaf.child())
            .child(slow.child().start_within(s(30)))
            .child(next.child())
            .begin()
            .unwrap();
        tokio::time::sleep(s(4)).await;
        let view = |path: &str| tree.snapshot().get(path).unwrap().clone();
        assert_eq!(view("/t/slow").state, ChildState::Starting { remaining: Some(s(26)) });
        assert_eq!(tree.now().since(view("/t/slow").since), s(4));
        let handle = tree.handle();
        tokio::spawn(async move { handle.stop_child("/t/deaf").await });
        tokio::time::sleep(s(3)).await;
        let asked = ChildState::Stopping { stage: StopStage::Asked, remaining: Some(s(2)) };
        assert_eq!(view("/t/deaf").state, asked);
        tree.kill().await;
        leak_check.check().await;
    });
}

#[test]
fn a_health_report_is_an_event_and_changes_the_health_of_every_supervisor_above() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a");
        let inner = Supervisor::new("inner").child(a.child());
        let tree = Supervisor::new("t").child(inner).start().await.unwrap();
        let mut events = tree.events();
        a.health(Health::Degraded);
        let Some(EventOrLost::Event(event)) = events.next().await else { panic!("no event") };
        assert!(matches!(event.kind, EventKind::Health { health: Health::Degraded, .. }), "{event:?}");
        assert_eq!(tree.snapshot().root.health, Health::Degraded);
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn calendar_times_of_a_tree_are_as_far_apart_as_its_own_times() {
    let before = std::time::SystemTime::now();
    paused(async {
        let tree = Supervisor::new("t").begin().unwrap();
        let start = tree.to_system_time(Time::ZERO);
        assert!(before <= start && start <= std::time::SystemTime::now());
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(tree.to_system_time(Time::ZERO.after(day)).duration_since(start).unwrap(), day);
        // A time that the calendar cannot express counts as the start.
        assert!(tree.to_system_time(Time::ZERO.after(Duration::MAX)) >= start);
        tree.stop().await;
    });
}
