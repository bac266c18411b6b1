//! Where supervision goes wrong in practice, seen and steered over the socket.
//!
//! Further ones have tests of their own: an answer belongs to the attempt that the command made (`commands`), the stream says
//! exactly how much was lost (`streams`), and a file that declares a child twice is refused with both places (`liveoak check`).

use crate::client::{Stream, get, post};
use crate::{Served, shop, steady};
use liveoak_runtime::{
    Child, ChildState, Ctx, FirstStart, GiveUp, IdleReason, Limit, Outcome, PollLimit, Refusal, Restart,
    Supervisor,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Reads events until one has this kind and path.
fn until(events: &mut Stream, kind: &str, path: &str) -> Value {
    loop {
        let Some((_, event)) = events.next() else { panic!("the stream has ended without {kind} of {path}") };
        if event["kind"] == kind && event["path"] == path {
            return event;
        }
    }
}

fn events(served: &Served) -> Stream {
    Stream::open(&served.socket, "/v1/events?follow=true&since=1h", None)
}

fn failing(name: &str) -> Child {
    Child::task(name, |_: Ctx| async { Err::<(), _>("no license") }).backoff(None)
}

/// A task that says itself when it is ready, and never does.
fn never_ready(name: &str) -> Child {
    Child::task(name, |ctx: Ctx| async move { ctx.stopping().await }).reports_ready()
}

#[test]
fn a_child_that_was_given_up_on_is_seen_in_its_event_its_state_its_health_and_its_exit() {
    let limit = Limit::new(1, Duration::from_secs(60)).on_exceeded(GiveUp::QUARANTINE);
    let served = Served::new(shop().child(failing("licensed").limit(limit)));
    let event = until(&mut events(&served), "quarantined", "/shop/licensed");
    assert!(event["why"].as_str().unwrap().contains("no license"), "{event}");
    let child = get(&served.socket, "/v1/children/licensed").json();
    assert_eq!((&child["state"], &child["health"]), (&json!("quarantined"), &json!("unhealthy")));
    assert!(child["last_exit"]["text"].as_str().unwrap().contains("no license"), "{child}");
    let why = get(&served.socket, "/v1/explain/licensed").json();
    assert!(why["why"].as_str().unwrap().starts_with("gave up on /shop/licensed"), "{why}");
    let found = get(&served.socket, "/v1/diagnose").json();
    assert_eq!((&found[0]["finding"], &found[0]["path"]), (&json!("given-up"), &json!("/shop/licensed")));
    // Nothing is green over it.
    let root = get(&served.socket, "/v1/children/%2Fshop").json();
    assert_eq!((&root["state"], &root["health"]), (&json!("running"), &json!("unhealthy")));
    let status = get(&served.socket, "/v1/status").json();
    assert_eq!((&status["health"], &status["failing"]), (&json!("unhealthy"), &json!(1)));
    assert_eq!(get(&served.socket, "/healthz").status, 503);
}

#[test]
fn a_supervisor_that_gave_up_says_so_in_its_event_and_in_its_exit() {
    let limit = Limit::new(1, Duration::from_secs(60)).on_exceeded(GiveUp::Escalate);
    let below = Supervisor::new("below").child(failing("licensed").limit(limit));
    let below =
        Child::from(below).limit(Limit::new(0, Duration::from_secs(60)).on_exceeded(GiveUp::QUARANTINE));
    let served = Served::new(shop().child(below));
    let mut events = events(&served);
    until(&mut events, "gave-up", "/shop/below");
    let exit = until(&mut events, "exited", "/shop/below");
    assert_eq!((&exit["exit"]["kind"], &exit["exit"]["failure"]), (&json!("gave-up"), &json!(true)));
    until(&mut events, "quarantined", "/shop/below");
    let below = get(&served.socket, "/v1/children/below").json();
    assert_eq!((&below["health"], &below["last_exit"]["kind"]), (&json!("unhealthy"), &json!("gave-up")));
}

#[test]
fn a_child_may_come_after_one_that_is_declared_later() {
    let tree = Supervisor::new("shop").child(steady("api").after("db")).child(steady("db"));
    let served = Served::new(tree);
    let waited = get(&served.socket, "/v1/wait/api").json();
    assert_eq!(waited["reached"], true);
    let mut events = events(&served);
    until(&mut events, "ready", "/shop/db");
    until(&mut events, "starting", "/shop/api");
}

#[test]
fn a_dependency_that_never_becomes_ready_fails_the_first_start_after_its_deadline() {
    let db = never_ready("db").start_within(Duration::from_millis(200));
    let tree =
        Supervisor::new("shop").first_start(FirstStart::Fail).child(db).child(steady("api").after("db"));
    let served = Served::new(tree);
    let mut events = events(&served);
    let failed = until(&mut events, "start-failed", "/shop");
    assert_eq!(failed["child"], "/shop/db");
    let end = until(&mut events, "exited", "/shop");
    assert_eq!(end["exit"]["kind"], "start-failed");
}

#[test]
fn later_a_dependency_is_waited_for_and_commands_are_served_meanwhile() {
    let tree =
        Supervisor::new("shop").child(steady("db")).child(steady("api").after("db")).child(steady("web"));
    let served = Served::new(tree).ready();
    let command = |verb: &str, path: &str| {
        post(&served.socket, &format!("/v1/commands/{verb}"), &json!({ "paths": [path], "within_s": 0.05 }))
    };
    assert_eq!(command("stop", "db").status, 200);
    // The wait has no deadline: the child waits until a command brings back what it comes after.
    let answer = command("restart", "api");
    assert_eq!(answer.json()["results"][0]["state"], "waiting", "{answer:?}");
    let explanation = get(&served.socket, "/v1/explain/api").json();
    assert_eq!(explanation["waiting_for"][0]["path"], "/shop/db", "{explanation}");
    let answer = post(&served.socket, "/v1/commands/restart", &json!({ "paths": ["web"] }));
    assert_eq!(answer.json()[0]["outcome"], "ready");
    post(&served.socket, "/v1/commands/start", &json!({ "paths": ["db"] }));
    assert_eq!(get(&served.socket, "/v1/wait/api").json()["reached"], true);
}

#[test]
fn resume_starts_what_has_ended_meanwhile() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let opens = Arc::clone(&gate);
    let job = Child::task("job", move |ctx: Ctx| {
        let opens = Arc::clone(&opens);
        async move {
            tokio::select! {
                () = ctx.stopping() => {}
                () = opens.notified() => {}
            }
        }
    });
    let served = Served::new(shop().child(job)).ready();
    let command =
        |verb: &str| post(&served.socket, &format!("/v1/commands/{verb}"), &json!({ "paths": ["job"] }));
    assert_eq!(command("pause").json()[0]["outcome"], "paused");
    gate.notify_one();
    let paused = served.tree.wait_for("/shop/job", |view| view.state == ChildState::Idle(IdleReason::Paused));
    served.runtime.block_on(paused).unwrap();
    assert_eq!(get(&served.socket, "/v1/children/job").json()["state"], "paused");
    command("resume");
    assert_eq!(get(&served.socket, "/v1/wait/job?for=running").json()["reached"], true);
    assert_eq!(get(&served.socket, "/v1/children/job").json()["attempt"], 2);
}

#[test]
fn a_removed_child_is_not_found_and_a_new_one_of_its_name_is_another() {
    let served = Served::new(shop()).ready();
    let old = served.tree.child("/shop/web").unwrap();
    served.runtime.block_on(served.tree.remove_child("/shop/web")).unwrap();
    let restart = || post(&served.socket, "/v1/commands/restart", &json!({ "paths": ["web"] }));
    let answer = restart();
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (404, "no-such-child"),
        "a restart brings nothing back"
    );
    let added = served.runtime.block_on(served.tree.add_child("/shop", steady("web")));
    assert!(added.is_ok());
    assert_eq!(get(&served.socket, "/v1/wait/web").json()["reached"], true);
    assert_eq!(restart().json()[0]["attempt"], 2);
    // A handle of the old child does not reach the new one.
    let refused: Result<Outcome, Refusal> = served.runtime.block_on(old.restart());
    assert!(matches!(refused, Err(Refusal::NotFound)), "{refused:?}");
    assert_eq!(get(&served.socket, "/v1/children/web").json()["attempt"], 2);
}

#[test]
fn a_stuck_child_and_a_late_stop_are_seen_without_a_further_question() {
    let (end, until_ended) = std::sync::mpsc::channel::<()>();
    let until_ended = Arc::new(Mutex::new(until_ended));
    let stuck = Child::task("stuck", move |_: Ctx| {
        let until_ended = Arc::clone(&until_ended);
        async move {
            let _ended = until_ended.lock().unwrap().recv();
        }
    });
    let deaf = Child::task("deaf", |_: Ctx| std::future::pending::<()>());
    let deaf = deaf.stop_within(Duration::from_millis(200));
    let tree = Supervisor::new("shop").watch_polls(PollLimit::new(Duration::from_millis(50)));
    let served = Served::new(tree.child(deaf).child(stuck.restart(Restart::Temporary)));
    let mut events = events(&served);
    let event = until(&mut events, "stuck", "/shop/stuck");
    assert!(event["why"].as_str().unwrap().contains("one poll takes longer than 50ms"), "{event}");
    let found = get(&served.socket, "/v1/diagnose?path=stuck").json();
    assert_eq!(found[0]["finding"], "stuck", "{found}");
    drop(end);
    until(&mut events, "exited", "/shop/stuck");
    // One command, and nothing else: the deadline acts by itself.
    served.tree.begin_stop_child("/shop/deaf").unwrap();
    until(&mut events, "killed", "/shop/deaf");
    let stopped = until(&mut events, "stopped", "/shop/deaf");
    assert_eq!(stopped["stage"], "killed");
    // The recorder has the event, because the stream had it.
    let found = get(&served.socket, "/v1/diagnose?path=deaf").json();
    assert_eq!(found[0]["finding"], "late-stop", "{found}");
}

#[test]
fn a_child_that_never_sent_the_heartbeat_that_it_promised_is_caught() {
    let mute = Child::task("mute", |ctx: Ctx| async move { ctx.stopping().await });
    let served = Served::new(shop().child(mute.heartbeat(Duration::from_millis(100))));
    let exit = until(&mut events(&served), "exited", "/shop/mute");
    assert_eq!(exit["exit"]["kind"], "heartbeat-timeout", "{exit}");
    let metrics = get(&served.socket, "/metrics").body;
    assert!(
        metrics.contains("liveoak_exits_total{path=\"/shop/mute\",kind=\"heartbeat-timeout\"}"),
        "{metrics}"
    );
}

/// Applies an event to what is known of the children: whether each runs, and its attempt.
fn apply(children: &mut BTreeMap<String, (bool, u64)>, event: &Value) {
    let path = event["path"].as_str().unwrap().to_owned();
    let attempt = event["attempt"].as_u64();
    match event["kind"].as_str().unwrap() {
        "removed" => drop(children.remove(&path)),
        "added" => drop(children.insert(path, (false, 0))),
        "ready" => drop(children.insert(path, (true, attempt.unwrap()))),
        "stopping" | "exited" => children.get_mut(&path).unwrap().0 = false,
        "starting" => *children.get_mut(&path).unwrap() = (false, attempt.unwrap()),
        _ => {}
    }
}

/// Returns what a tree of the wire says of each child: whether it runs, and its attempt.
fn told(tree: &Value, children: &mut BTreeMap<String, (bool, u64)>) {
    let path = tree["path"].as_str().unwrap().to_owned();
    children.insert(path, (tree["state"] == "running", tree["attempt"].as_u64().unwrap()));
    tree["children"].as_array().into_iter().flatten().for_each(|child| told(child, children));
}

#[test]
fn a_tree_and_the_events_after_it_add_up_to_a_later_tree() {
    let served = Served::new(shop()).ready();
    let before = get(&served.socket, "/v1/tree").json();
    let (run, mut n) = (before["run"].clone(), before["n"].as_u64().unwrap());
    let command = |verb: &str, path: &str| {
        post(&served.socket, &format!("/v1/commands/{verb}"), &json!({ "paths": [path] }));
    };
    for (verb, path) in
        [("restart", "web"), ("stop", "ingest"), ("start", "ingest"), ("stop", "ingest/kafka")]
    {
        command(verb, path);
    }
    served.runtime.block_on(served.tree.remove_child("/shop/web")).unwrap();
    assert!(served.runtime.block_on(served.tree.add_child("/shop", steady("new"))).is_ok());
    assert_eq!(get(&served.socket, "/v1/wait/new").json()["reached"], true);
    let after = get(&served.socket, "/v1/tree").json();
    let mut children = BTreeMap::new();
    told(&before, &mut children);
    let mut events = Stream::open(&served.socket, "/v1/events?follow=true", Some(&format!("{run}-{n}")));
    while n < after["n"].as_u64().unwrap() {
        let (_, event) = events.next().unwrap();
        n += 1;
        assert_eq!(event["n"], n, "without gaps");
        apply(&mut children, &event);
    }
    let mut expected = BTreeMap::new();
    told(&after, &mut expected);
    assert_eq!(children, expected);
}
