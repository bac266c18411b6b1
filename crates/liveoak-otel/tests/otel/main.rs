//! What a receiver of OpenTelemetry gets of a tree.

mod receiver;

use liveoak_api::convert::{Counters, families};
use liveoak_otel::{Otel, OtelObserver, WithOtel as _};
use liveoak_runtime::{Backoff, Child, ChildState, Ctx, Severity, Strategy, Supervisor, Tree, TreeHandle};
use opentelemetry_proto::tonic::trace::v1::Span;
use receiver::{Answers, Received, Receiver, attribute, series, text};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// A child that fails in its first attempt, and runs until it is stopped in the next ones.
fn fails_once(name: &str) -> Child {
    let failed = Arc::new(AtomicBool::new(false));
    let body = move |ctx: Ctx| {
        let fails = !failed.swap(true, Ordering::Relaxed);
        async move {
            if fails {
                return Err("the disk is full");
            }
            ctx.stopping().await;
            Ok(())
        }
    };
    Child::task(name, body).backoff(Backoff::constant(Duration::from_millis(1)))
}

async fn idle(ctx: Ctx) {
    ctx.stopping().await;
}

fn otel(receiver: &Receiver) -> Otel {
    Otel::new().endpoint(&receiver.endpoint).service_name("the-shop")
}

/// Starts a tree and its observation.
async fn start(tree: Supervisor, otel: Otel) -> (Tree, OtelObserver) {
    let (sender, observer) = mpsc::channel();
    let tree = tree.on_begin(move |tree: &TreeHandle| sender.send(otel.observe(tree).unwrap()).unwrap());
    (tree.start().await.unwrap(), observer.recv().unwrap())
}

async fn wait_for_attempt(tree: &Tree, path: &str, attempt: u64) {
    let runs =
        |child: &liveoak_runtime::ChildView| child.attempt.0 == attempt && child.state == ChildState::Running;
    tree.wait_for(path, runs).await.unwrap();
}

/// Stops a tree, and returns when the last of its telemetry was sent.
async fn stop(tree: Tree, observer: OtelObserver) {
    tree.stop().await;
    tokio::task::spawn_blocking(|| observer.finish(LONG)).await.unwrap();
}

/// Returns the span of an attempt.
fn attempt(received: &Received, path: &str, number: &str) -> Span {
    let is_it = |span: &&Span| span.name == path && attribute(&span.attributes, "liveoak.attempt") == number;
    received.spans.iter().find(is_it).unwrap_or_else(|| panic!("no span of {path}, {number}")).clone()
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == 2)
}

/// Returns the links of a span: what each is, and the span that it leads to.
fn links(span: &Span) -> Vec<(String, Vec<u8>)> {
    let link = |link: &opentelemetry_proto::tonic::trace::v1::span::Link| {
        (attribute(&link.attributes, "liveoak.link"), link.span_id.clone())
    };
    span.links.iter().map(link).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_and_the_restart_after_it_are_two_spans_that_are_linked() {
    let receiver = Receiver::new(Answers::Well);
    let (tree, observer) = start(Supervisor::new("shop").child(fails_once("web")), otel(&receiver)).await;
    wait_for_attempt(&tree, "/shop/web", 2).await;
    stop(tree, observer).await;
    receiver.now(|received| {
        assert_eq!(attribute(&received.resource, "service.name"), "the-shop");
        assert_eq!(attribute(&received.resource, "process.pid"), std::process::id().to_string());
        let shop = attempt(received, "/shop", "1");
        let (first, second) = (attempt(received, "/shop/web", "1"), attempt(received, "/shop/web", "2"));
        let of = |span: &Span, key: &str| attribute(&span.attributes, key);
        assert_eq!(of(&first, "liveoak.cause"), "first-start");
        assert_eq!(of(&first, "liveoak.exit.kind"), "failed");
        assert!(of(&first, "liveoak.exit").contains("the disk is full"));
        assert_eq!(of(&first, "liveoak.next"), "backing-off");
        assert!(is_error(&first) && !is_error(&second) && !is_error(&shop));
        assert_eq!(of(&second, "liveoak.cause"), "exit");
        assert_eq!(of(&second, "liveoak.exit.kind"), "completed");
        assert_eq!(of(&second, "liveoak.next"), "stopped");
        for root in [&shop, &first, &second] {
            assert!(root.parent_span_id.is_empty(), "an attempt has a trace of its own");
            assert!(root.start_time_unix_nano <= root.end_time_unix_nano);
        }
        assert_ne!(first.trace_id, second.trace_id);
        let above = ("supervisor".to_owned(), shop.span_id.clone());
        assert_eq!(links(&first), std::slice::from_ref(&above));
        assert_eq!(links(&second), [above, ("previous".to_owned(), first.span_id.clone())]);
        let phases = received.spans.iter().filter(|span| span.parent_span_id == second.span_id);
        let phases: Vec<_> = phases.inspect(|phase| assert_eq!(phase.trace_id, second.trace_id)).collect();
        assert_eq!(phases.iter().map(|phase| phase.name.as_str()).collect::<Vec<_>>(), ["start", "stop"]);
        let marks: Vec<_> = second.events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(marks, ["ready", "stopping"]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sibling_that_starts_again_with_a_restart_set_is_linked_to_the_attempt_that_failed() {
    let receiver = Receiver::new(Answers::Well);
    let shop = Supervisor::new("shop").strategy(Strategy::OneForAll);
    let shop = shop.child(Child::task("db", idle)).child(fails_once("web"));
    let (tree, observer) = start(shop, otel(&receiver)).await;
    wait_for_attempt(&tree, "/shop/web", 2).await;
    wait_for_attempt(&tree, "/shop/db", 2).await;
    tree.child("/shop/db").unwrap().restart().await.unwrap();
    stop(tree, observer).await;
    receiver.now(|received| {
        let culprit = attempt(received, "/shop/web", "1");
        let (with_set, by_command) = (attempt(received, "/shop/db", "2"), attempt(received, "/shop/db", "3"));
        assert_eq!(attribute(&with_set.attributes, "liveoak.cause"), "restart-set");
        assert!(links(&with_set).contains(&("cause".to_owned(), culprit.span_id)));
        assert_eq!(attribute(&by_command.attributes, "liveoak.cause"), "start");
        assert!(links(&by_command).iter().all(|(what, _)| what != "cause"));
        assert_eq!(attribute(&attempt(received, "/shop/web", "2").attributes, "liveoak.cause"), "exit");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_a_log_record_with_its_severity_and_the_span_of_its_attempt() {
    let receiver = Receiver::new(Answers::Well);
    let everything = otel(&receiver).logs_from(Severity::Debug);
    let (tree, observer) = start(Supervisor::new("shop").child(fails_once("web")), everything).await;
    wait_for_attempt(&tree, "/shop/web", 2).await;
    let last = tree.snapshot().number;
    stop(tree, observer).await;
    receiver.now(|received| {
        let of = |path: &str, event: &str| {
            let is_it = |record: &&opentelemetry_proto::tonic::logs::v1::LogRecord| {
                attribute(&record.attributes, "liveoak.path") == path
                    && attribute(&record.attributes, "liveoak.event") == event
            };
            received.records.iter().find(is_it).unwrap_or_else(|| panic!("no {event} of {path}"))
        };
        let crash = of("/shop/web", "exited");
        assert_eq!((crash.severity_text.as_str(), crash.severity_number), ("WARN", 13));
        assert!(text(crash.body.as_ref()).starts_with("/shop/web: failed: the disk is full"));
        assert_eq!(crash.span_id, attempt(received, "/shop/web", "1").span_id);
        assert_eq!(crash.trace_id, attempt(received, "/shop/web", "1").trace_id);
        assert_eq!(of("/shop/web", "starting").severity_text, "DEBUG");
        assert_eq!(of("/shop/web", "ready").severity_text, "INFO");
        let numbers = received.records.iter().map(|record| attribute(&record.attributes, "liveoak.number"));
        let mut numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert!(numbers.len() as u64 > last);
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "each event comes once");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_those_of_the_snapshot_under_the_names_of_the_metrics_route() {
    let receiver = Receiver::new(Answers::Well);
    let often = otel(&receiver).metrics_every(Duration::from_millis(20));
    let shop = Supervisor::new("shop").child(fails_once("web")).child(Child::task("db", idle));
    let (tree, observer) = start(shop, often).await;
    wait_for_attempt(&tree, "/shop/web", 2).await;
    let got = tokio::task::block_in_place(|| {
        receiver.wait(|received| {
            let last = series(received.metrics.last()?);
            let is_there = last.get("liveoak_restarts_total{class=failure,path=/shop/web}") == Some(&1.0)
                && last.get("liveoak_state{path=/shop/web,state=running}") == Some(&1.0);
            is_there.then_some(last)
        })
    });
    assert_eq!(got["liveoak_exits_total{kind=failed,path=/shop/web}"], 1.0);
    assert_eq!(got["liveoak_telemetry_dropped_total{signal=span}"], 0.0);
    // What does not change while nothing happens is equal.
    for family in families(&tree.snapshot(), &Counters::default(), 0) {
        if !["liveoak_state", "liveoak_ready", "liveoak_window_used_ratio"].contains(&family.name) {
            continue;
        }
        assert!(!family.samples.is_empty(), "{}", family.name);
        for mut sample in family.samples {
            sample.labels.sort();
            let labels = sample.labels.iter().map(|(label, text)| format!("{label}={text}"));
            let name = format!("{}{{{}}}", family.name, labels.collect::<Vec<_>>().join(","));
            assert_eq!(got.get(&name), Some(&sample.value), "{name}");
        }
    }
    stop(tree, observer).await;
    let last = receiver.now(|received| series(received.metrics.last().unwrap()));
    assert_eq!(last["liveoak_state{path=/shop/db,state=stopped}"], 1.0);
    assert!(
        !last.contains_key("liveoak_state{path=/shop/db,state=running}"),
        "an old state is not sent any more"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_returns_when_the_last_telemetry_was_sent() {
    let receiver = Receiver::new(Answers::Well);
    let job = Child::task("job", |_ctx: Ctx| async {}).restart(liveoak_runtime::Restart::Transient);
    let (started, start) = mpsc::channel();
    let shop = Supervisor::new("shop").child(job).end_when_done();
    shop.on_begin(move |_| started.send(()).unwrap()).otel(otel(&receiver)).run().await.unwrap();
    start.recv().unwrap();
    receiver.now(|received| {
        assert_eq!(
            attribute(&attempt(received, "/shop/job", "1").attributes, "liveoak.exit.kind"),
            "completed"
        );
        assert_eq!(attribute(&attempt(received, "/shop", "1").attributes, "liveoak.path"), "/shop");
        assert!(!received.records.is_empty());
        let last = series(received.metrics.last().unwrap());
        assert_eq!(last["liveoak_exits_total{kind=completed,path=/shop/job}"], 1.0);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_keeps_neither_the_tree_nor_the_end_of_its_run() {
    let receiver = Receiver::new(Answers::Never);
    let often = otel(&receiver).metrics_every(Duration::from_millis(1));
    let (sender, handle) = mpsc::channel();
    let shop = Supervisor::new("shop").child(fails_once("web"));
    let shop = shop.on_begin(move |tree| sender.send(tree.clone()).unwrap()).otel(often);
    let run = tokio::spawn(shop.run());
    let tree = tokio::task::block_in_place(|| {
        let tree: TreeHandle = handle.recv().unwrap();
        receiver.wait(|received| (received.requests > 0).then_some(()));
        tree
    });
    for _ in 0..20 {
        tree.restart_child("/shop/web").await.unwrap();
    }
    tree.stop().await.unwrap();
    run.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_without_a_receiver_runs_as_one_without_telemetry() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = Otel::new().endpoint(format!("http://{closed}"));
    let (tree, observer) = start(Supervisor::new("shop").child(fails_once("web")), nowhere).await;
    wait_for_attempt(&tree, "/shop/web", 2).await;
    stop(tree, observer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_restarts_sends_a_bounded_number_of_spans_and_says_how_many_are_missing() {
    let receiver = Receiver::new(Answers::Well);
    let (tree, observer) =
        start(Supervisor::new("shop").child(Child::task("web", idle)), otel(&receiver)).await;
    for _ in 0..2000 {
        tree.restart_child("/shop/web").await.unwrap();
    }
    let begun = tree.snapshot().get("/shop/web").unwrap().attempt.0;
    stop(tree, observer).await;
    receiver.now(|received| {
        let last = series(received.metrics.last().unwrap());
        let dropped = last["liveoak_telemetry_dropped_total{signal=span}"];
        assert!(dropped > 0.0 && received.spans.len() < 6000, "{dropped}, {}", received.spans.len());
        assert_eq!(begun, 2001);
        // The counters do not depend on what is sent, only on what the reader saw.
        if last["liveoak_events_lost_total{}"] == 0.0 {
            assert_eq!(last["liveoak_exits_total{kind=completed,path=/shop/web}"], 2001.0);
        }
    });
}

#[tokio::test]
async fn a_setting_that_cannot_be_followed_is_an_error_and_the_tree_runs_without_telemetry() {
    let tree = Supervisor::new("shop").child(Child::task("web", idle));
    let tree = tree.otel(Otel::new().endpoint("https://collector")).start().await.unwrap();
    let refused = Otel::new().endpoint("https://collector").observe(&tree).unwrap_err().to_string();
    assert!(refused.contains("\"https://collector/v1/traces\"") && refused.contains("http://"), "{refused}");
    tree.stop().await;
}
