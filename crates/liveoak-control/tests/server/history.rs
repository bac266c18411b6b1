//! The history on disk: streams over several runs, commands that are durable when they are answered, and folders that cannot be used.

use crate::client::{Stream, get, post};
use crate::{Served, new_folder, shop, steady, storm};
use liveoak_control::Control;
use liveoak_journal::{JournalReader, RecordFilter, RecordKind};
use liveoak_runtime::{Child, Ctx, Supervisor};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Starts the tree with its history in this folder.
fn run_in(folder: &Path, supervisor: Supervisor) -> Served {
    Served::with(supervisor, |control, _| control.history(folder))
}

/// A folder of a history. Removed at the end.
struct HistoryFolder(PathBuf);

impl HistoryFolder {
    fn new() -> Self {
        Self(new_folder())
    }
}

impl Drop for HistoryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Reads a stream that ends, and returns its objects.
fn all(served: &Served, route: &str, after: Option<&str>) -> Vec<Value> {
    let mut stream = Stream::open(&served.socket, route, after);
    std::iter::from_fn(|| stream.next())
        .map(|(id, event)| {
            assert_eq!(id, format!("{}-{}", event["run"], event["n"]));
            event
        })
        .collect()
}

/// Returns runs and numbers.
fn ids(events: &[Value]) -> Vec<(u64, u64)> {
    events.iter().map(|event| (event["run"].as_u64().unwrap(), event["n"].as_u64().unwrap())).collect()
}

/// Runs the tree to its end, and returns the number of its last event.
fn whole_run(folder: &Path) -> u64 {
    let served = run_in(folder, shop()).ready();
    served.runtime.block_on(served.tree.stop());
    served.tree.snapshot().number
}

#[test]
fn the_events_of_all_runs_are_one_story_without_a_gap_or_a_double() {
    let folder = HistoryFolder::new();
    let ends = [whole_run(&folder.0), whole_run(&folder.0)];
    let served = run_in(&folder.0, shop()).ready();
    let now = served.tree.snapshot().number;
    let mut expected: Vec<(u64, u64)> = (1..=ends[0]).map(|n| (1, n)).collect();
    expected.extend((1..=ends[1]).map(|n| (2, n)));
    // The recorder reads the last events a moment later.
    let seen = loop {
        let seen = ids(&all(&served, "/v1/events", None));
        if seen.last() == Some(&(3, now)) {
            break seen;
        }
    };
    expected.extend((1..=now).map(|n| (3, n)));
    assert_eq!(seen, expected);
    let last = ids(&all(&served, "/v1/events?last=40", None));
    assert_eq!(last, expected[expected.len() - 40..], "the last ones reach over the runs");
    let ready = all(&served, "/v1/events?kind=ready&path=web", None);
    assert_eq!(ready.len(), 3, "the web shop was ready once in each run");
    assert_eq!(ids(&all(&served, "/v1/events?since=1h", None)), expected);
    assert!(all(&served, "/v1/events?since=2100-01-01T00:00:00Z", None).is_empty());
}

#[test]
fn a_reader_goes_on_in_a_later_run_after_the_last_event_that_it_has_seen() {
    let folder = HistoryFolder::new();
    let end = whole_run(&folder.0);
    let served = run_in(&folder.0, shop()).ready();
    let seen = format!("1-{}", end - 2);
    let mut stream = Stream::open(&served.socket, "/v1/events?follow=true", Some(&seen));
    let first: Vec<String> = (0..4).map(|_| stream.next().unwrap().0).collect();
    assert_eq!(first, [format!("1-{}", end - 1), format!("1-{end}"), "2-1".to_owned(), "2-2".to_owned()]);
    let now = served.tree.snapshot().number;
    served.tree.begin_stop();
    let mut last = 2;
    while let Some((_, event)) = stream.next() {
        assert_eq!(event["n"], last + 1, "it follows without a gap or a double");
        last += 1;
    }
    assert!(last > now);
    // The id of a run that never was leads to the begin of this one.
    let served = run_in(&folder.0, shop()).ready();
    let mut other = Stream::open(&served.socket, "/v1/events?follow=true", Some("9-5"));
    assert_eq!(other.next().unwrap().0, "3-1");
}

#[test]
fn with_a_history_a_slow_reader_loses_nothing_although_memory_keeps_less() {
    // More events than memory keeps.
    const ATTEMPTS: u64 = 8_000;
    let folder = HistoryFolder::new();
    let served =
        run_in(&folder.0, Supervisor::new("shop").child(steady("web")).child(storm(ATTEMPTS, "again")));
    let mut stream = Stream::open(&served.socket, "/v1/events?follow=true&since=1h", None);
    let wait = served.tree.wait_for("/shop/storm", |view| view.attempt.0 == ATTEMPTS);
    served.runtime.block_on(wait).unwrap();
    let last = served.tree.snapshot().number;
    assert!(last > 3 * ATTEMPTS, "{last} events");
    let mut next = 1;
    while next <= last {
        let (_, event) = stream.next().unwrap();
        // The recorder itself may be too slow for the storm. Then it counts exactly.
        if event["kind"] == "lost" {
            assert_eq!(next + event["count"].as_u64().unwrap(), event["n"].as_u64().unwrap() + 1, "{event}");
        } else {
            assert_eq!(event["n"], next, "{event}");
        }
        next = event["n"].as_u64().unwrap() + 1;
    }
}

#[test]
fn a_command_is_on_disk_with_its_caller_and_its_effect_when_it_is_answered() {
    let folder = HistoryFolder::new();
    let served = run_in(&folder.0, shop()).ready();
    let reader = JournalReader::open(&folder.0).unwrap();
    let commands = || -> Vec<_> {
        let of_commands = RecordFilter::new().records(|record| record == RecordKind::Command);
        reader.entries(of_commands).unwrap().map(|entry| entry.record).collect()
    };
    let asked = json!({ "paths": ["web"], "by": "ops", "because": "a test" });
    let answer = post(&served.socket, "/v1/commands/restart", &asked);
    assert_eq!(answer.status, 200);
    assert!(!answer.head.contains("liveoak-unrecorded"), "{}", answer.head);
    let [command] = &commands()[..] else { panic!("one command: {:?}", commands()) };
    assert_eq!((&*command.kind, &*command.path), ("restart", "/shop/web"));
    assert_eq!(serde_json::from_str::<Value>(&command.body).unwrap(), asked);
    let ready = RecordFilter::new().kind("ready").path(|path| path == "/shop/web");
    let attempts: Vec<u64> = reader.entries(ready).unwrap().map(|entry| entry.record.attempt).collect();
    assert_eq!(attempts, [1, 2], "the effect is on disk too");
    // A plan, and what is refused because it is wrong, are no commands.
    post(&served.socket, "/v1/commands/stop", &json!({ "paths": ["web"], "dry_run": true }));
    post(&served.socket, "/v1/commands/stop", &json!({ "paths": ["wbe"] }));
    assert_eq!(commands().len(), 1);
    assert_eq!(post(&served.socket, "/v1/commands/down", &json!({ "by": "ops" })).status, 200);
    assert_eq!(commands().len(), 2);
}

/// A tree of which one child fails, and one panics, each in its first attempt.
fn failing() -> Supervisor {
    let fails = Child::task("fails", |ctx: Ctx| async move {
        if ctx.attempt().0 == 1 {
            return Err("no configuration");
        }
        ctx.stopping().await;
        Ok(())
    });
    let panics = Child::task("panics", |ctx: Ctx| async move {
        assert!(ctx.attempt().0 > 1, "the first attempt panics");
        ctx.stopping().await
    });
    Supervisor::new("shop").child(fails.backoff(None)).child(panics.backoff(None))
}

/// Waits until both children run again, and their crashes are recorded.
fn crashes(served: &Served, query: &str) -> Vec<Value> {
    for path in ["/shop/fails", "/shop/panics"] {
        served
            .runtime
            .block_on(served.tree.wait_for(path, |view| view.attempt.0 == 2 && view.ready))
            .unwrap();
    }
    let now = served.tree.snapshot().number;
    while all(served, "/v1/events?last=1", None).last().is_none_or(|event| event["n"].as_u64() < Some(now)) {}
    get(&served.socket, &format!("/v1/crashes{query}")).json().as_array().unwrap().clone()
}

#[test]
fn crashes_have_their_exit_and_what_was_decided_also_those_of_earlier_runs() {
    let folder = HistoryFolder::new();
    let first = run_in(&folder.0, failing());
    let of_first = crashes(&first, "");
    assert_eq!(of_first.len(), 2, "{of_first:?}");
    let of = |path: &str| of_first.iter().find(|crash| crash["path"] == path).unwrap();
    let (fails, panics) = (of("/shop/fails"), of("/shop/panics"));
    assert!(fails["exit"]["text"].as_str().unwrap().contains("no configuration"), "{fails}");
    assert_eq!(fails["attempt"], 1);
    assert!(fails["decided"].as_str().unwrap().starts_with("it was restarted"), "{fails}");
    assert_eq!((&panics["exit"]["kind"], &panics["run"]), (&"panicked".into(), &1.into()));
    assert!(panics["exit"]["text"].as_str().unwrap().contains("the first attempt panics"), "{panics}");
    drop(first);
    let second = run_in(&folder.0, failing());
    let of_both = crashes(&second, "");
    assert_eq!(of_both[..2], of_first, "what was recorded does not change");
    assert_eq!(of_both.len(), 4);
    assert_eq!(crashes(&second, "?last=1&path=fails")[0]["run"], 2);
    assert_eq!(crashes(&second, "?path=fails").len(), 2);
    assert!(crashes(&second, "?since=2100-01-01T00:00:00Z").is_empty());
    assert_eq!(get(&second.socket, "/v1/crashes?last=1001").code(), "bad-request");
}

#[test]
fn crashes_are_known_without_a_history_on_disk_too() {
    let served = Served::new(failing());
    let crashes = crashes(&served, "");
    assert_eq!(crashes.len(), 2, "{crashes:?}");
    let decided = |crash: &Value| crash["decided"].as_str().unwrap().starts_with("it was restarted");
    assert!(crashes.iter().all(decided), "{crashes:?}");
}

/// Returns what is known of each child at any moment.
fn facts(tree: &Value, into: &mut Vec<String>) {
    let known = [
        "path",
        "kind",
        "state",
        "why",
        "paused",
        "health",
        "ready",
        "attempt",
        "restarts",
        "last_exit",
        "since",
    ];
    into.push(known.map(|field| tree[field].to_string()).join(" "));
    tree["children"].as_array().into_iter().flatten().for_each(|child| facts(child, into));
}

/// Returns the tree now, at a moment of its own: no event has the same millisecond.
fn tree_now(served: &Served) -> (String, Vec<String>) {
    let tree_after = |moment: &str| {
        let mut trees = std::iter::repeat_with(|| get(&served.socket, "/v1/tree").json());
        trees.find(|tree| tree["at"].as_str() != Some(moment)).unwrap()
    };
    let before = tree_after("");
    let tree = tree_after(before["at"].as_str().unwrap());
    let at = tree["at"].as_str().unwrap().to_owned();
    tree_after(&at);
    let mut of_tree = Vec::new();
    facts(&tree, &mut of_tree);
    (at, of_tree)
}

#[test]
fn the_tree_at_a_moment_is_exactly_the_tree_that_was_seen_then() {
    let folder = HistoryFolder::new();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let served = run_in(&folder.0, failing().child(steady("web"))).ready();
        crashes(&served, "");
        seen.push(tree_now(&served));
        for (verb, paths) in [
            ("stop", "web"),
            ("start", "web"),
            ("pause", "fails"),
            ("restart", "panics"),
            ("resume", "fails"),
            ("quarantine", "web"),
            ("release", "web"),
        ] {
            let answer = post(&served.socket, &format!("/v1/commands/{verb}"), &json!({ "paths": [paths] }));
            assert_eq!(answer.status, 200, "{}", answer.body);
            seen.push(tree_now(&served));
        }
    }
    let served = run_in(&folder.0, shop()).ready();
    for (nth, (at, expected)) in seen.iter().enumerate() {
        let then = get(&served.socket, &format!("/v1/tree?at={at}")).json();
        let mut of_then = Vec::new();
        facts(&then, &mut of_then);
        assert_eq!(&of_then, expected, "{nth}");
        assert_eq!((&then["exact"], then["run"].as_u64()), (&true.into(), Some(nth as u64 / 8 + 1)));
    }
    let at = &seen[1].0;
    assert_eq!(get(&served.socket, &format!("/v1/children/web?at={at}")).json()["state"], "stopped");
    assert_eq!(get(&served.socket, &format!("/v1/children?path=web&at={at}")).json()[0]["path"], "/shop/web");
    assert_eq!(get(&served.socket, &format!("/v1/children/wbe?at={at}")).code(), "no-such-child");
    assert_eq!(get(&served.socket, "/v1/tree?at=2000-01-01T00:00:00Z").code(), "unknown-moment");
    let without = Served::new(shop()).ready();
    assert_eq!(get(&without.socket, "/v1/tree?at=1s").code(), "unknown-moment");
}

#[test]
fn a_moment_from_which_an_event_is_missing_is_not_exact() {
    let folder = HistoryFolder::new();
    let first = run_in(&folder.0, shop()).ready();
    let answer = post(&first.socket, "/v1/commands/stop", &json!({ "paths": ["web"] }));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (at, _) = tree_now(&first);
    drop(first);
    let files = || std::fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().path());
    for file in files().filter(|file| file.to_string_lossy().contains("journal-v1")) {
        let mut text = std::fs::read(&file).unwrap();
        let place = text.windows(15).position(|bytes| bytes == b"\"kind\":\"exited\"");
        if let Some(place) = place {
            text[place + 8] = b'E';
            std::fs::write(&file, text).unwrap();
        }
    }
    let second = run_in(&folder.0, shop()).ready();
    assert_eq!(get(&second.socket, &format!("/v1/tree?at={at}")).json()["exact"], false);
    assert_eq!(get(&second.socket, &format!("/v1/children/web?at={at}")).json()["exact"], false);
    assert_eq!(get(&second.socket, &format!("/v1/children?at={at}")).json()[1]["exact"], false);
    let (now, _) = tree_now(&second);
    assert_eq!(get(&second.socket, &format!("/v1/tree?at={now}")).json()["exact"], true);
}

#[test]
fn a_folder_that_another_tree_uses_costs_the_history_and_not_the_tree() {
    let folder = HistoryFolder::new();
    let first = run_in(&folder.0, shop()).ready();
    let socket = first.folder.join("second.sock");
    let open = Control::new().socket(socket).history(&folder.0).open("shop").unwrap();
    let problem = open.history_problem().unwrap();
    assert!(problem.contains("in memory only") && problem.contains("is in use by process"), "{problem}");
    drop(open);
    let second = run_in(&folder.0, shop()).ready();
    assert!(get(&second.socket, "/v1/events?last=1").body.contains("data: "), "memory has the last events");
    assert_eq!(post(&second.socket, "/v1/commands/stop", &json!({ "paths": ["web"] })).status, 200);
    assert_eq!(get(&first.socket, "/v1/status").json()["run"], 1);
}

#[test]
fn the_folder_is_free_when_the_server_has_ended_although_the_program_keeps_the_tree() {
    let folder = HistoryFolder::new();
    let mut first = run_in(&folder.0, shop()).ready();
    first.runtime.block_on(first.tree.stop());
    first.server.take().unwrap().finish(Duration::from_secs(10));
    let second = run_in(&folder.0, shop()).ready();
    assert_eq!(get(&second.socket, "/v1/status").json()["run"], 2);
}

#[test]
fn a_place_that_is_no_folder_is_told_in_one_line() {
    let folder = HistoryFolder::new();
    std::fs::write(folder.0.join("file"), "").unwrap();
    let (socket, history) = (folder.0.join("s.sock"), folder.0.join("file"));
    let open = Control::new().socket(socket).history(history).open("shop").unwrap();
    let problem = open.history_problem().unwrap();
    assert!(problem.contains("is not a folder") && !problem.contains('\n'), "{problem}");
}
