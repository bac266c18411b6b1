//! The file of a running tree, applied again: by `liveoak apply`, by `liveoak scale` and by SIGHUP.

use std::collections::BTreeMap;
use std::process::Output;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Stream, TestDir, Up, look_for};

/// A tree whose file changes.
struct Tree {
    dir: TestDir,
    up: Up,
}

const DB: &str = "[child.db]\nshell = \"exec sleep 1000\"\n";
const API: &str = "[child.api]\nshell = \"exec sleep 1000\"\nafter = [\"db\"]\n";
const WEB: &str = "[child.web]\nshell = \"exec sleep 1000\"\nreplicas = 2\n";

impl Tree {
    fn of(toml: &str, args: &[&str]) -> Tree {
        let dir = TestDir::of(toml);
        let up = dir.up(args);
        up.is_ready();
        Tree { dir, up }
    }

    fn write(&self, toml: &str) {
        self.dir.file("liveoak.toml", format!("name = \"t\"\n{toml}"), 0o644);
    }

    fn verb(&self, args: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.dir.verb(args).output().expect("the program runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (status.code().expect("an exit code"), text(stdout), text(stderr))
    }

    /// Writes the file, and applies it. Returns what was done, as `/path step outcome`.
    #[track_caller]
    fn apply(&self, toml: &str) -> Vec<String> {
        self.write(toml);
        let (code, out, errors) = self.verb(&["apply", "--yes", "--json"]);
        assert_eq!(code, 0, "{out}\n{errors}");
        done(&out)
    }

    /// Returns the process of each program, by the name of the child.
    fn pids(&self) -> BTreeMap<String, u64> {
        let (code, out, errors) = self.verb(&["ps", "--json"]);
        assert_eq!(code, 0, "{errors}");
        let list: Value = serde_json::from_str(&out).expect("JSON");
        let pid = |child: &Value| {
            let path = child["path"].as_str()?.strip_prefix("/t/")?;
            Some((path.to_owned(), child["pid"].as_u64()?))
        };
        list.as_array().expect("a list").iter().filter_map(pid).collect()
    }

    /// Asserts that exactly these children have the process that they had before.
    #[track_caller]
    fn kept(&self, before: &BTreeMap<String, u64>, names: &[&str]) -> BTreeMap<String, u64> {
        let now = self.pids();
        let kept =
            now.iter().filter(|(name, pid)| before.get(*name) == Some(pid)).map(|(name, _)| name.as_str());
        assert_eq!(kept.collect::<Vec<_>>(), names, "{before:?} {now:?}");
        now
    }
}

/// Returns the steps in which something was done.
fn done(json: &str) -> Vec<String> {
    let steps: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let text = |step: &Value| {
        let word = |key: &str| step[key].as_str().unwrap_or_default();
        format!("{} {} {}", word("path"), word("step"), word("outcome"))
    };
    let steps = steps.as_array().expect("a list").iter();
    steps.filter(|step| step["step"] != "keep").map(text).collect()
}

#[test]
fn what_differs_in_the_file_is_done_and_every_other_child_keeps_its_process() {
    let tree = Tree::of(&format!("{DB}{API}{WEB}"), &[]);
    let pids = tree.pids();
    assert_eq!(tree.apply(&format!("# only a comment\n{DB}{API}{WEB}")), [""; 0]);
    let pids = tree.kept(&pids, &["api", "db", "web.1", "web.2"]);
    // The command of one child.
    let api = API.replace("1000", "1001");
    assert_eq!(tree.apply(&format!("{DB}{api}{WEB}")), ["/t/api restart ready"]);
    let pids = tree.kept(&pids, &["db", "web.1", "web.2"]);
    // A child more, and an edge to it.
    let api = api.replace("[\"db\"]", "[\"db\", \"new\"]");
    let new = "[child.new]\nshell = \"exec sleep 1000\"\n";
    let steps = tree.apply(&format!("{DB}{api}{WEB}{new}"));
    assert_eq!(steps, ["/t change changed", "/t/new start ready", "/t/api change changed"]);
    let pids = tree.kept(&pids, &["api", "db", "web.1", "web.2"]);
    // A child less, and the edge to it.
    let api = api.replace("[\"db\", \"new\"]", "[]");
    let steps = tree.apply(&format!("{api}{WEB}{new}"));
    assert!(
        steps.contains(&"/t/db stop removed".to_owned())
            && steps.contains(&"/t/api change changed".to_owned()),
        "{steps:?}"
    );
    let pids = tree.kept(&pids, &["api", "new", "web.1", "web.2"]);
    // More replicas, then fewer.
    let web = WEB.replace("replicas = 2", "replicas = 4");
    let steps = tree.apply(&format!("{api}{web}{new}"));
    assert_eq!(steps, ["/t/web.3 start ready", "/t/web.4 start ready"]);
    let pids = tree.kept(&pids, &["api", "new", "web.1", "web.2"]);
    let steps = tree.apply(&format!("{api}{WEB}{new}"));
    assert_eq!(steps, ["/t/web.4 stop removed", "/t/web.3 stop removed"]);
    let pids = tree.kept(&pids, &["api", "new", "web.1", "web.2"]);
    // Rules only, in a supervisor of the same children.
    let ruled = format!(
        "intensity = {{ restarts = 3, period = \"1m\" }}\n{api}{WEB}{new}limit = {{ restarts = 2, period = \"1m\" }}\n"
    );
    let steps = tree.apply(&ruled);
    assert!(steps.iter().all(|step| step.ends_with("change changed")) && steps.len() >= 2, "{steps:?}");
    tree.kept(&pids, &["api", "new", "web.1", "web.2"]);
    tree.up.stop().with_code(0);
}

#[test]
fn a_plan_is_shown_and_without_a_terminal_it_needs_yes() {
    let tree = Tree::of(DB, &[]);
    tree.write(&format!("{DB}{API}"));
    let (code, out, _) = tree.verb(&["apply", "--dry-run"]);
    assert_eq!(code, 0);
    assert!(out.contains("/t/api") && out.contains("start") && out.contains("it is new"), "{out}");
    let (code, out, errors) = tree.verb(&["apply"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        errors.contains("/t/api") && errors.contains("needs --yes without a terminal; nothing was done"),
        "{errors}"
    );
    let (code, out, _) = tree.verb(&["apply", "--dry-run", "--json", "liveoak.toml"]);
    let plan: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (code, &plan[2]["step"], &plan[2]["reason"]),
        (0, &"start".into(), &"it is new".into()),
        "{plan}"
    );
    assert_eq!(tree.pids().len(), 1, "nothing was done");
    let (code, out, errors) = tree.verb(&["apply", "--yes", "--by", "ci", "--because", "deploy"]);
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("/t/api") && out.contains("ready") && out.contains("2 children kept"), "{out}");
    let (code, out, errors) = tree.verb(&["apply"]);
    assert_eq!((code, out.as_str()), (0, "nothing differs; 3 children kept\n"), "{errors}");
    let (_, explained, _) = tree.verb(&["explain", "api"]);
    assert!(explained.contains("ci") && explained.contains("deploy"), "{explained}");
    tree.up.stop().with_code(0);
}

#[test]
fn a_file_with_errors_or_without_a_tree_changes_nothing() {
    let tree = Tree::of(&format!("{DB}{API}"), &[]);
    let pids = tree.pids();
    tree.write(&format!("{DB}[child.api]\ncommnd = \"x\"\n"));
    let (code, out, errors) = tree.verb(&["apply", "--yes"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(errors.contains("liveoak.toml:5:1") && errors.contains("did you mean `command`"), "{errors}");
    tree.write(&format!("{DB}{}", API.replace("\"db\"", "\"bd\"")));
    let (code, _, errors) = tree.verb(&["apply", "--yes"]);
    assert!(code == 2 && errors.contains("did you mean `db`"), "{code} {errors}");
    tree.dir.file("liveoak.toml", format!("name = \"u\"\n{DB}"), 0o644);
    let (code, _, errors) = tree.verb(&["apply", "--yes"]);
    assert!(code == 1 && errors.contains("the name of the tree differs: `t`, now `u`"), "{code} {errors}");
    std::fs::remove_file(tree.dir.at("liveoak.toml")).expect("removed");
    for args in [&["apply", "--yes"][..], &["apply", "--yes", "liveoak.toml"]] {
        let (code, _, errors) = tree.verb(args);
        assert!(code == 2 && errors.contains("cannot read"), "{code} {errors}");
    }
    tree.dir.file("other.toml", DB, 0o644);
    let (code, _, errors) = tree.verb(&["apply", "--yes", "other.toml"]);
    assert!(code == 4 && errors.contains("no tree of the file"), "{code} {errors}");
    let (code, _, errors) = tree.verb(&["apply", "--yes", "--tree", "t", "other.toml"]);
    assert!(code == 2 && errors.contains("does not run"), "{code} {errors}");
    tree.kept(&pids, &["api", "db"]);
    tree.up.stop().with_code(0);
}

#[test]
fn two_applies_at_once_do_the_same_once() {
    let slow = |name: &str| {
        format!("[child.{name}]\nshell = \"sleep 0.3; echo up; exec sleep 1000\"\nready = {{ log = 'up' }}\n")
    };
    let tree = Tree::of(DB, &[]);
    tree.write(&format!("{DB}{}{}", slow("a"), slow("b")));
    let both = [(); 2].map(|()| tree.dir.verb(&["apply", "--yes"]).spawn().expect("it starts"));
    for mut apply in both {
        assert_eq!(look_for("end of apply", || apply.try_wait().expect("ours")).code(), Some(0));
    }
    assert_eq!(tree.pids().len(), 3);
    let (_, out, _) = tree.verb(&["ps", "--json"]);
    let list: Value = serde_json::from_str(&out).expect("JSON");
    assert!(list.as_array().expect("a list").iter().all(|child| child["attempt"] == 1), "{list}");
    tree.up.stop().with_code(0);
}

#[test]
fn an_apply_that_waits_for_a_child_is_overtaken_by_its_correction() {
    let tree = Tree::of(DB, &[]);
    let never = "[child.never]\nshell = \"exec sleep 1000\"\nready = { file = \"never\", within = \"1h\" }\n";
    tree.write(&format!("{DB}{never}"));
    let mut first = tree.dir.verb(&["apply", "--yes"]).spawn().expect("it starts");
    tree.up.logs("waiting for /t/never to be ready");
    assert_eq!(tree.apply(&format!("{DB}{API}")), ["/t/never stop removed", "/t/api start ready"]);
    assert_eq!(look_for("end of apply", || first.try_wait().expect("ours")).code(), Some(1));
    tree.up.stop().with_code(0);
}

#[test]
fn during_a_stop_nothing_is_applied_and_a_stop_ends_what_is_being_applied() {
    let stubborn = "[child.db]\nshell = \"trap '' TERM; echo up; while :; do sleep 0.1; done\"\nstop = { within = \"3s\" }\n";
    let tree = Tree::of(stubborn, &[]);
    tree.up.line("/t/db", 0);
    tree.write(&format!("{stubborn}[child.never]\nshell = \"exec sleep 1000\"\nready = {{ file = \"never\", within = \"1h\" }}\n"));
    let mut apply = tree.dir.verb(&["apply", "--yes"]).spawn().expect("it starts");
    tree.up.logs("waiting for /t/never to be ready");
    tree.up.signal(Signal::TERM);
    tree.up.logs("stopping all children");
    assert_eq!(look_for("end of apply", || apply.try_wait().expect("ours")).code(), Some(1));
    let (code, _, errors) = tree.verb(&["apply", "--yes"]);
    assert!(code == 1 && errors.contains("the tree has ended"), "{code} {errors}");
    tree.up.end().with_code(3);
}

#[test]
fn a_child_that_does_not_start_is_named_and_the_rest_is_applied() {
    let tree = Tree::of(&format!("order = \"edges\"\n{DB}{API}"), &[]);
    let pids = tree.pids();
    let good = "[child.good]\nshell = \"exec sleep 1000\"\n";
    tree.write(&format!("order = \"edges\"\n{DB}{API}[child.bad]\ncommand = \"/no/such\"\n{good}"));
    let (code, out, errors) = tree.verb(&["apply", "--yes"]);
    assert_eq!(code, 1, "{out}\n{errors}");
    assert!(errors.contains("/t/bad") && errors.contains("/no/such"), "{errors}");
    assert!(out.contains("/t/good") && tree.pids().contains_key("good"), "{out}");
    let steps = tree.apply(&format!("order = \"edges\"\n{DB}{API}{good}"));
    assert_eq!(steps, ["/t/bad stop removed"]);
    tree.kept(&pids, &["api", "db"]);
    tree.up.stop().with_code(0);
}

#[test]
fn replicas_are_scaled_until_the_file_is_applied() {
    let tree = Tree::of(&format!("{WEB}{}", API.replace("\"db\"", "\"web\"")), &[]);
    let pids = tree.pids();
    let scale = |replicas: &str| {
        let (code, out, errors) = tree.verb(&["scale", "web", replicas, "--json"]);
        assert_eq!(code, 0, "{errors}");
        done(&out)
    };
    let steps = scale("4");
    assert_eq!(steps, ["/t/web.3 start ready", "/t/web.4 start ready", "/t/api change changed"]);
    let pids = tree.kept(&pids, &["api", "web.1", "web.2"]);
    let steps = scale("1");
    assert_eq!(steps[..3], ["/t/web.4 stop removed", "/t/web.3 stop removed", "/t/web.2 stop removed"]);
    let pids = tree.kept(&pids, &["api", "web.1"]);
    for (path, replicas, wanted) in [
        ("web.1", "2", 5),
        ("nope", "2", 5),
        ("web", "0", 1),
        ("web", "2000", 1),
        ("web", "many", 2),
        ("*", "2", 2),
    ] {
        let (code, _, errors) = tree.verb(&["scale", path, replicas]);
        assert_eq!(code, wanted, "{path} {replicas}: {errors}");
    }
    let (_, _, errors) = tree.verb(&["scale", "web.1", "2"]);
    assert!(errors.contains("did you mean /t/web?"), "{errors}");
    let (code, out, errors) = tree.verb(&["apply", "--yes"]);
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("/t/web.2"), "{out}");
    tree.kept(&pids, &["api", "web.1"]);
    tree.up.stop().with_code(0);
}

#[test]
fn with_the_option_sighup_applies_the_file_and_without_it_stops_the_tree() {
    let tree = Tree::of(DB, &["--reload-on-hup"]);
    let pids = tree.pids();
    let applied = |count: usize| {
        let of = |lines: &[String]| {
            lines
                .iter()
                .filter(|line| line.contains("was applied") || line.contains("says nothing new"))
                .count()
        };
        tree.up.until(Stream::Stderr, "applied", |lines| (of(lines) >= count).then_some(()));
    };
    tree.write(&format!("{DB}{API}"));
    tree.up.signal(Signal::HUP);
    tree.up.signal(Signal::HUP);
    tree.up.logs("was applied: 1 started");
    let pids = tree.kept(&pids, &["db"]);
    tree.write(&format!("{DB}{}", API.replace("1000", "1001")));
    tree.up.signal(Signal::HUP);
    tree.up.logs("was applied: 1 restarted");
    let pids = tree.kept(&pids, &["db"]);
    tree.write("[child.db]\ncommnd = \"x\"\n");
    tree.up.signal(Signal::HUP);
    tree.up.logs("did you mean `command`");
    tree.up.logs("nothing was changed");
    tree.write(&format!("{DB}{}", API.replace("1000", "1001")));
    tree.up.signal(Signal::HUP);
    applied(3);
    tree.kept(&pids, &["api", "db"]);
    tree.up.stop().with_code(0);
    // The default.
    let plain = Tree::of(DB, &[]);
    plain.up.signal(Signal::HUP);
    plain.up.end().with_code(0).has_in_order(&["SIGHUP: stopping all children"]);
}

#[test]
fn a_service_manager_implies_that_sighup_applies_the_file() {
    let dir = TestDir::of(DB);
    let up = Up::watch(dir.command(&[]).env("NOTIFY_SOCKET", "/nowhere").spawn().expect("it starts"));
    up.is_ready();
    up.signal(Signal::HUP);
    up.logs("says nothing new; nothing was changed");
    up.stop().with_code(0);
}

#[test]
fn a_hang_up_is_answered_although_an_earlier_one_waits_for_a_child_that_never_gets_ready() {
    let tree = Tree::of(DB, &["--reload-on-hup"]);
    let never = "[child.never]\nshell = \"exec sleep 1000\"\nready = { file = \"never\", within = \"1h\" }\n";
    tree.write(&format!("{DB}{never}"));
    tree.up.signal(Signal::HUP);
    tree.up.logs("waiting for /t/never to be ready");
    tree.write(&format!("{DB}{API}"));
    tree.up.signal(Signal::HUP);
    tree.up.logs("was applied: 1 started, 1 stopped");
    tree.up.stop().with_code(0);
}
