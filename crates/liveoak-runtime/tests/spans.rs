//! The span of an attempt, and the lines about the tree itself.

use liveoak_runtime::testing::paused;
use liveoak_runtime::{Child, Criticality, Ctx, Group, Restart, Supervisor};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Collects lines: the level, the fields of the span around the line in brackets, and the message. Counts spans.
#[derive(Clone)]
struct Collected {
    lines: Arc<Mutex<Vec<String>>>,
    spans: Arc<Mutex<HashMap<u64, String>>>,
    made: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
    level: LevelFilter,
}

impl Collected {
    fn new(level: LevelFilter) -> Self {
        let (lines, spans) = (Arc::default(), Arc::default());
        Self { lines, spans, made: Arc::default(), closed: Arc::default(), level }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }
}

/// The fields as text, with the message last.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            let _ = write!(self.others, "{}={value:?} ", field.name());
        }
    }
}

impl Subscriber for Collected {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let id = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        self.spans.lock().expect("no panic").insert(id, fields.others.trim().to_owned());
        Id::from_u64(id)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = ENTERED.with_borrow(|entered| entered.last().copied());
        let span = span.map(|id| self.spans.lock().expect("no panic")[&id].clone()).unwrap_or_default();
        let line = format!("{} [{span}] {}", event.metadata().level(), fields.message);
        self.lines.lock().expect("no panic").push(line);
    }
    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }
    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| assert_eq!(entered.pop(), Some(span.into_u64())));
    }
    fn try_close(&self, _: Id) -> bool {
        self.closed.fetch_add(1, Ordering::Relaxed);
        true
    }
}

/// Runs a test with a log subscriber for lines of at least this level.
fn logged(level: LevelFilter, test: impl Future<Output = ()>) -> Collected {
    let collected = Collected::new(level);
    let _guard = tracing::subscriber::set_default(collected.clone());
    paused(test);
    collected
}

#[test]
fn what_the_code_of_a_child_logs_carries_its_path_and_attempt() {
    let collected = logged(LevelFilter::WARN, async {
        let body = |ctx: Ctx| async move {
            tracing::warn!("before");
            tokio::time::sleep(Duration::from_secs(1)).await;
            tracing::warn!("after");
            let subtask = ctx.spawn(async { tracing::warn!("subtask") });
            let _ = subtask.await;
            if ctx.attempt().0 == 1 { Err("again") } else { Ok(()) }
        };
        let child = Child::task("a", body).restart(Restart::Transient);
        let tree = Supervisor::new("t").child(child).end_when_done().start().await.expect("it starts");
        tree.join().await;
    });
    let lines = collected.lines();
    for attempt in [1, 2] {
        for message in ["before", "after", "subtask"] {
            let expected = format!("WARN [path=/t/a attempt={attempt}] {message}");
            assert_eq!(lines.iter().filter(|line| **line == expected).count(), 1, "{expected}: {lines:?}");
        }
    }
    assert!(lines.contains(&"WARN [] /t/a: failed: again, after 1.0s".to_owned()), "{lines:?}");
    assert_eq!(collected.made.load(Ordering::Relaxed), 2, "one span an attempt");
    assert_eq!(collected.closed.load(Ordering::Relaxed), 2);
}

#[test]
fn without_a_subscriber_that_wants_it_an_attempt_has_no_span() {
    let collected = logged(LevelFilter::OFF, async {
        let child = Child::task("a", |ctx: Ctx| async move {
            tokio::task::yield_now().await;
            ctx.stopping().await;
        });
        let tree = Supervisor::new("t").child(child).start().await.expect("it starts");
        tree.stop().await;
    });
    assert_eq!((collected.made.load(Ordering::Relaxed), collected.lines().len()), (0, 0));
}

#[test]
fn the_log_tells_the_start_and_the_end_of_a_tree_once_and_nothing_of_members() {
    let idle = |ctx: Ctx| async move { ctx.stopping().await };
    let collected = logged(LevelFilter::INFO, async move {
        let group = Group::new("g", move |ctx: Ctx, (): ()| idle(ctx));
        let members = group.handle();
        let api = Child::task("api", idle).title("Orders API");
        let tree = Supervisor::new("t").child(api).child(group).start().await.expect("it starts");
        members.spawn(()).expect("room");
        tokio::task::yield_now().await;
        tree.stop().await;
    });
    let lines: Vec<String> =
        collected.lines().iter().map(|line| line.split(" after").next().unwrap_or("").to_owned()).collect();
    let expected = [
        "INFO [] /t: starting, attempt 1",
        "INFO [] /t/api (Orders API): ready",
        "INFO [] /t/g: ready",
        "INFO [] /t: ready",
        "INFO [] /t/g: stopped (asked)",
        "INFO [] /t/api (Orders API): stopped (asked)",
        "INFO [] /t: stopped as asked,",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_level_of_a_line_follows_the_criticality_of_the_child() {
    for (criticality, level) in
        [(Criticality::Low, "INFO"), (Criticality::Normal, "WARN"), (Criticality::Critical, "ERROR")]
    {
        let collected = logged(LevelFilter::INFO, async move {
            let child = Child::task("a", |_| async { Err::<(), _>("no") }).restart(Restart::Temporary);
            let tree = Supervisor::new("t")
                .child(child.criticality(criticality))
                .end_when_done()
                .start()
                .await
                .expect("it starts");
            tree.join().await;
        });
        let lines = collected.lines();
        assert!(
            lines.iter().any(|line| line.starts_with(&format!("{level} [] /t/a: failed: no"))),
            "{lines:?}"
        );
    }
}
