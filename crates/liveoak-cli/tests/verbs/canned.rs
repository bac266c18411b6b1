//! A tree that does not exist: the answers of its server.

use std::path::Path;
use std::time::{Duration, SystemTime};

use liveoak::api::{
    Child, Event, Exit, Health, OutputLine, Problem, State, Status, Timestamp, Tree, TreeState, WaitingFor,
};

use crate::fake::{Fake, Reply, Request, json, problem};
use crate::support::Home;

/// The time at which everything happened.
pub(crate) fn noon() -> Timestamp {
    Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800))
}

/// A child that runs.
pub(crate) fn child(path: &str) -> Child {
    Child {
        path: path.to_owned(),
        title: None,
        kind: "program".to_owned(),
        state: State::Running,
        why: "running".to_owned(),
        paused: false,
        health: Health::Unknown,
        health_reason: None,
        ready: true,
        attempt: 1,
        restarts: 0,
        pid: Some(4711),
        since: noon(),
        state_s: 192.0,
        remaining_s: None,
        waiting_for: vec![],
        last_exit: None,
        tags: vec![],
        role: None,
        criticality: None,
        strategy: None,
        retry_s: None,
        trial: false,
        reports_health: false,
        exact: None,
        stuck: None,
        stack: vec![],
        checks: vec![],
        children: None,
    }
}

fn exit(text: &str) -> Option<Exit> {
    Some(Exit {
        kind: "code".to_owned(),
        failure: true,
        text: text.to_owned(),
        code: Some(3),
        signal: None,
        location: None,
        backtrace: None,
    })
}

/// A tree with a child in each state that has something to say.
pub(crate) fn tree() -> Tree {
    let waits = WaitingFor {
        path: "/shop/db".to_owned(),
        condition: "ready".to_owned(),
        state: Some("starting".to_owned()),
        since: Some(noon()),
        remaining_s: Some(12.0),
    };
    let down = |path: &str, state: State, why: &str| Child {
        state,
        why: why.to_owned(),
        ready: false,
        pid: None,
        ..child(path)
    };
    let ingest = Child {
        kind: "supervisor".to_owned(),
        pid: None,
        children: Some(vec![
            Child { paused: true, health: Health::Healthy, ..child("/shop/ingest/kafka") },
            down("/shop/ingest/files", State::Stopped, "not-wanted"),
        ]),
        ..child("/shop/ingest")
    };
    let root = Child {
        kind: "supervisor".to_owned(),
        pid: None,
        ready: false,
        health: Health::Unhealthy,
        children: Some(vec![
            Child { title: Some("Order store".to_owned()), ..child("/shop/db") },
            Child {
                waiting_for: vec![waits],
                state_s: 2.0,
                health: Health::Degraded,
                ..down("/shop/api", State::Waiting, "waiting")
            },
            Child {
                restarts: 3,
                attempt: 4,
                last_exit: exit("exit code 3"),
                state_s: 0.4,
                remaining_s: Some(0.6),
                health: Health::Degraded,
                ..down("/shop/worker", State::BackingOff, "backing-off")
            },
            Child {
                restarts: 10,
                attempt: 11,
                last_exit: exit("killed\u{1b}[2J"),
                retry_s: Some(300.0),
                health: Health::Unhealthy,
                ..down("/shop/mail", State::Quarantined, "quarantined")
            },
            Child {
                ready: false,
                health: Health::Degraded,
                health_reason: Some("disk nearly full".to_owned()),
                ..child("/shop/cache")
            },
            ingest,
        ]),
        ..child("/shop")
    };
    Tree { run: 7, n: 42, at: noon(), root }
}

/// Returns all children as a flat list.
pub(crate) fn flat() -> Vec<Child> {
    tree().root.all().map(|child| Child { children: None, ..child.clone() }).collect()
}

/// The status of the tree, whose file is in this folder.
pub(crate) fn status(folder: &Path) -> Status {
    Status {
        tree: "shop".to_owned(),
        pid: 4700,
        file: Some(folder.join("liveoak.toml").display().to_string()),
        state: TreeState::Alive,
        ready: false,
        health: Health::Unhealthy,
        since: noon(),
        began: noon(),
        children: 7,
        running: 3,
        failing: 2,
        mode: Some("day".to_owned()),
        modes: vec!["day".to_owned(), "night".to_owned()],
        failure: None,
        blocked_by: vec![],
        run: 7,
        events_lost: 0,
        version: "0.1.0".to_owned(),
    }
}

/// An event.
pub(crate) fn event(n: u64, path: &str, kind: &str) -> Event {
    Event {
        run: 7,
        n,
        at: Some(noon()),
        path: Some(path.to_owned()),
        kind: kind.to_owned(),
        severity: Some("info".to_owned()),
        text: Some(format!("{path}: {kind}")),
        ..Event::default()
    }
}

/// A line of output.
pub(crate) fn line(n: u64, path: &str, text: &str) -> OutputLine {
    OutputLine {
        run: 7,
        n,
        at: noon(),
        path: Some(path.to_owned()),
        attempt: Some(1),
        stream: "stdout".to_owned(),
        line: text.to_owned(),
        count: None,
    }
}

/// Returns items as server-sent events.
pub(crate) fn sse<T: serde::Serialize>(items: &[(u64, T)]) -> String {
    let one =
        |(n, item): &(u64, T)| format!("id: 7-{n}\ndata: {}\n\n", serde_json::to_string(item).expect("JSON"));
    items.iter().map(one).collect()
}

/// Opens the socket of the tree `shop`. What `reply` does not answer is answered from the canned tree.
pub(crate) fn shop(home: &Home, reply: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Fake {
    let folder = home.at("p");
    Fake::new(&home.socket("shop"), move |request| reply(request).unwrap_or_else(|| read(&folder, request)))
}

fn read(folder: &Path, request: &Request) -> Reply {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    match (path, query) {
        ("/v1/status", _) => json(&status(folder)),
        ("/v1/tree", _) => json(&tree()),
        ("/v1/children", "") => json(&flat()),
        ("/v1/children", "path=ingest%2F%2A") => {
            json(&flat().into_iter().filter(|child| child.path.contains("ingest/")).collect::<Vec<_>>())
        }
        (path, _) if path.starts_with("/v1/children/") => {
            let name = path.trim_start_matches("/v1/children/").replace("%2F", "/");
            let full = if name.starts_with('/') { name } else { format!("/shop/{name}") };
            match tree().root.all().find(|child| child.path == full) {
                Some(child) => json(child),
                None => problem(
                    &Problem::new("no-such-child", format!("there is no child {full}"))
                        .near_miss(Some("/shop/worker")),
                ),
            }
        }
        _ => problem(&Problem::new("no-such-route", "there is no such route")),
    }
}
