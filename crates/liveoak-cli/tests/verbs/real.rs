//! The verbs on a real `liveoak up` with real programs.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Home, Running, look_for, write};

/// Ten small programs.
const TREE: &str = r#"
name = "shop"

[child.db]
title = "Order store"
shell = "echo listening; exec sleep 1000"
ready = { log = 'listening' }

[child.api]
shell = "echo hello from api; exec sleep 1000"
after = ["db"]
tags = ["edge"]

[child.checked]
command = "sleep 1000"
readiness = { command = ["sh", "-c", "test ! -e unready"], every = "100ms", timeout = "5s" }

[child.job]
shell = "echo done"
restart = "temporary"

[child.fails]
shell = "test -e fixed && echo fixed && exec sleep 1000; exit 3"
ready = { log = 'fixed' }
restart = "temporary"

[child.stubborn]
shell = "trap '' TERM; echo trapped; while :; do sleep 0.1; done"
ready = { log = 'trapped' }
stop = { within = "30s" }

[child.ingest.child.kafka]
command = "sleep 1000"
[child.ingest.child.files]
shell = "echo file; exec sleep 1000"
[child.ingest.child.poll]
command = "sleep 1000"

[child.late]
command = "sleep 1000"
"#;

/// A home with the tree, which runs and is ready.
struct Tree {
    home: Home,
    up: Running,
}

impl Tree {
    fn up() -> Tree {
        let home = Home::new();
        write(&home.at("p/liveoak.toml"), TREE);
        let mut command = home.command(&["up"]);
        command.stderr(std::process::Stdio::null());
        let up = Running::new(&mut command);
        look_for("socket", || (home.run(&["ps"]).code == Some(0)).then_some(()));
        home.run(&["wait", "late", "--for", "running"]).with_code(0);
        Tree { home, up }
    }

    /// Runs a verb with `--json`.
    #[track_caller]
    fn json(&self, code: i32, args: &[&str]) -> Value {
        self.home.run(&[args, &["--json"]].concat()).with_code(code).json()
    }

    /// Returns the state of a child.
    #[track_caller]
    fn state(&self, path: &str) -> String {
        self.json(0, &["ps", path])[0]["state"].as_str().expect("a state").to_owned()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.home.socket("shop").exists() {
            self.up.signal(Signal::KILL);
        }
    }
}

#[test]
fn every_verb_that_reads_answers_about_a_real_tree() {
    let tree = Tree::up();
    let children = tree.json(0, &["ps"]);
    assert_eq!(children.as_array().map(Vec::len), Some(12));
    assert_eq!(tree.json(0, &["ps", "ingest/*"]).as_array().map(Vec::len), Some(3));
    let nested = tree.json(0, &["tree"]);
    assert_eq!(nested["children"][0]["title"], "Order store");
    let status = tree.json(1, &["status"]);
    assert_eq!((&status["tree"], &status["pid"]), (&"shop".into(), &tree.up.pid().into()));
    assert_eq!(status["file"], tree.home.at("p/liveoak.toml").display().to_string());
    let explanation = tree.json(0, &["explain", "api"]);
    assert_eq!((&explanation["path"], &explanation["state"]), (&"/shop/api".into(), &"running".into()));
    for key in ["waiting_for", "window", "exits", "commands", "checks", "spec", "origin"] {
        assert!(explanation.get(key).is_some(), "no {key}");
    }
    let checks = tree.json(0, &["checks", "checked"]);
    assert_eq!((&checks[0]["path"], &checks[0]["ok"]), (&"/shop/checked".into(), &true.into()));
    write(&tree.home.at("p/unready"), "");
    let checks = tree.json(1, &["checks", "**"]);
    assert_eq!((&checks[0]["kind"], &checks[0]["ok"]), (&"readiness".into(), &false.into()));
    let logs = tree.home.run(&["logs", "api", "--json"]).with_code(0).stdout;
    let line: Value = serde_json::from_str(logs.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&line["line"], &line["path"]), (&"hello from api".into(), &"/shop/api".into()));
    assert_eq!(tree.home.run(&["logs", "ingest"]).with_code(0).stdout, "/shop/ingest/files | file\n");
    let exits = tree.home.run(&["events", "--kind", "exited", "--path", "fails"]).with_code(0).stdout;
    assert!(exits.contains("/shop/fails: exit code 3"), "{exits}");
    assert_eq!(tree.home.run(&["events", "--since", "2100-01-01T00:00:00Z"]).with_code(0).stdout, "");
    for verb in ["explain", "checks", "stop", "logs", "wait", "attach"] {
        tree.home.run(&[verb, "kafak"]).with_code(5);
    }
    tree.home.run(&["explain", "kafka"]).with_code(5).says(&["did you mean /shop/ingest/kafka?"]);
}

#[test]
fn every_command_has_its_effect_before_it_answers() {
    let tree = Tree::up();
    let outcome = |code: i32, args: &[&str]| {
        let answer = tree.json(code, args);
        answer[0]["outcome"].as_str().expect("an outcome").to_owned()
    };
    assert_eq!(outcome(0, &["stop", "api", "--by", "ops", "--because", "a test"]), "stopped");
    assert_eq!(tree.state("api"), "stopped");
    let commands = tree.json(0, &["explain", "api"])["commands"].clone();
    assert_eq!((&commands[0]["by"], &commands[0]["because"]), (&"ops".into(), &"a test".into()));
    assert_eq!(outcome(0, &["stop", "api"]), "kept");
    assert_eq!(outcome(0, &["start", "api"]), "ready");
    assert_eq!(outcome(0, &["restart", "api"]), "ready");
    assert_eq!(tree.json(0, &["ps", "api"])[0]["attempt"], 3);
    assert_eq!(outcome(0, &["pause", "api"]), "paused");
    assert_eq!(tree.json(0, &["ps", "api"])[0]["paused"], true);
    assert_eq!(outcome(0, &["resume", "api"]), "resumed");
    assert_eq!(outcome(0, &["quarantine", "api"]), "quarantined");
    assert_eq!(tree.state("api"), "quarantined");
    assert_eq!(outcome(0, &["release", "api"]), "ready");
    tree.home.run(&["start", "fails"]).with_code(1).says(&["/shop/fails"]);
    write(&tree.home.at("p/fixed"), "");
    assert_eq!(outcome(0, &["start", "fails"]), "ready");
    tree.home.run(&["wait", "job", "--for", "completed"]).with_code(0);
    tree.home.run(&["wait", "late", "--for", "stopped", "--within", "50ms"]).with_code(1);
    tree.home.run(&["stop", "ingest/*"]).with_code(2).says(&["needs --yes"]);
    assert_eq!(tree.state("ingest/kafka"), "running");
    let stopped = tree.json(0, &["stop", "ingest/*", "--yes"]);
    assert!(stopped.as_array().expect("an array").iter().all(|row| row["outcome"] == "stopped"), "{stopped}");
}

#[test]
fn a_stop_that_takes_longer_than_within_goes_on_and_so_does_one_that_was_interrupted() {
    let tree = Tree::up();
    let ran = tree.home.run(&["stop", "stubborn", "--within", "100ms", "--json"]).with_code(1);
    assert_eq!(ran.json()[0]["outcome"], "pending");
    let mut waiting = tree.home.start(&["stop", "stubborn"]);
    waiting.says("waiting for");
    waiting.signal(Signal::INT);
    waiting.end().with_code(130).says(&["the command goes on"]);
    assert_eq!(tree.state("stubborn"), "stopping");
}

#[test]
fn down_prints_the_report_and_leaves_the_place_free_for_the_next_up() {
    let tree = Tree::up();
    let mut follower = tree.home.start(&["attach"]);
    follower.says("attached to shop");
    tree.home.run(&["logs", "-n", "1"]).with_code(0);
    let report = tree.json(3, &["down", "--within", "500ms", "--because", "the end"]);
    assert_eq!((&report["tree"], &report["clean"]), (&"/shop".into(), &false.into()));
    let killed = |of: &Value| of["path"] == "/shop/stubborn" && of["stage"] == "killed";
    assert!(report["children"].as_array().expect("an array").iter().any(killed), "{report}");
    assert!(!tree.home.socket("shop").exists());
    follower.end();
    tree.home.run(&["stop", "api"]).with_code(4);
}

#[test]
fn a_followed_log_goes_on_over_restarts_of_its_program() {
    let tree = Tree::up();
    let mut follower = tree.home.start(&["logs", "api", "-f"]);
    assert_eq!(follower.line(), "/shop/api | hello from api");
    for _ in 0..2 {
        tree.home.run(&["restart", "api"]).with_code(0);
        assert_eq!(follower.line(), "/shop/api | hello from api");
    }
    assert_eq!(follower.end_after_close(), Some(0));
}
