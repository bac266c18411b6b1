//! What a good file is read into: the values, the defaults, the order, the paths, the replicas.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

fn read(text: &str) -> Config {
    read_text(Path::new("/srv/my shop"), text)
        .unwrap_or_else(|report| panic!("{}", render::text(&report, false)))
}

fn process(child: &Child) -> &Process {
    match &child.kind {
        Kind::Process(process) => process,
        Kind::Supervisor { .. } => panic!("{} is a supervisor", child.name),
    }
}

fn names(children: &[Child]) -> Vec<&str> {
    children.iter().map(|child| child.name.as_str()).collect()
}

#[test]
fn a_file_that_says_nothing_gets_the_defaults() {
    let config = read("[child.a]\ncommand = \"sleep 60\"");
    assert_eq!(config.name, "my-shop", "the folder's name, made fit for a path");
    assert_eq!(config.stop_within, Duration::from_secs(30));
    let root = &config.root;
    assert_eq!((root.strategy, root.order), (Strategy::OneForOne, Order::Declared));
    assert_eq!((root.auto_shutdown, &root.intensity), (AutoShutdown::Never, &None));
    let child = &root.children[0];
    assert_eq!((child.restart, child.significant, child.line), (Restart::Permanent, false, 1));
    assert_eq!((&child.limit, child.after.as_slice()), (&None, [].as_slice()));
    let backoff = child.backoff.as_ref().expect("the default");
    assert_eq!(backoff.from, Duration::from_millis(100));
    assert_eq!((backoff.to, backoff.reset_after), (Duration::from_secs(30), Duration::from_secs(10)));
    let process = process(child);
    assert_eq!(process.ready, Ready { probe: Probe::Running, within: Duration::from_secs(30) });
    assert_eq!((process.stop_signal, process.stop_within), (Signal::Term, Some(Duration::from_secs(5))));
    assert_eq!((process.success.as_slice(), process.replicas), ([0].as_slice(), 1));
    assert_eq!(process.cwd, PathBuf::from("/srv/my shop"));
}

#[test]
fn children_keep_the_order_of_the_file_whatever_their_names() {
    let config = read(
        "child.q.command = \"x\"\n[child.z]\ncommand = \"x\"\n[child.b.child.y]\ncommand = \"x\"\n\
         [child.b.child.a]\ncommand = \"x\"\n[child.a]\ncommand = \"x\"",
    );
    assert_eq!(names(&config.root.children), ["q", "z", "b", "a"]);
    let Kind::Supervisor { supervisor, .. } = &config.root.children[2].kind else { panic!("b has children") };
    assert_eq!(names(&supervisor.children), ["y", "a"]);
    let inline =
        read("child = { c = { command = \"x\" }, b = { command = \"x\" }, a = { command = \"x\" } }");
    assert_eq!(names(&inline.root.children), ["c", "b", "a"]);
}

#[test]
fn a_supervisor_stands_where_its_own_header_stands() {
    let config = read(
        "[child.b.child.y]\ncommand = \"x\"\n[child.a]\ncommand = \"x\"\n[child.b]\nstrategy = \"one-for-all\"",
    );
    assert_eq!(names(&config.root.children), ["a", "b"]);
}

#[test]
fn relative_paths_start_at_the_file_and_those_of_a_program_at_its_folder() {
    let config = read(
        "[child.a]\ncommand = \"./run --fast\"\ncwd = \"data\"\nready = { unix = \"a.sock\" }\n\
         [child.b]\ncommand = [\"python3\", \"a b\"]\nready = { command = \"bin/check -q\" }\ncwd = \"/tmp\"",
    );
    let a = process(&config.root.children[0]);
    assert_eq!(a.cwd, PathBuf::from("/srv/my shop/data"));
    let run = PathBuf::from("/srv/my shop/data/run");
    assert_eq!(a.command, Command::Argv { program: run, args: vec!["--fast".to_owned()] });
    assert_eq!(a.ready.probe, Probe::Unix(PathBuf::from("/srv/my shop/data/a.sock")));
    let b = process(&config.root.children[1]);
    assert_eq!(b.command, Command::Argv { program: "python3".into(), args: vec!["a b".to_owned()] });
    let check = Command::Argv { program: "/tmp/bin/check".into(), args: vec!["-q".to_owned()] };
    assert_eq!(b.ready.probe, Probe::Command(check));
}

#[test]
fn replicas_become_children_and_an_edge_to_the_set_waits_for_all() {
    let config = read(
        "[child.db]\ncommand = \"x\"\nreplicas = 2\nafter = [\"one\"]\n[child.app]\ncommand = \"x\"\n\
         after = { db = \"started\" }\n[child.one]\ncommand = \"x\"\nreplicas = 1",
    );
    assert_eq!(names(&config.root.children), ["db", "app", "one"], "as read, the set is one child");
    let root = config.expanded().root;
    assert_eq!(names(&root.children), ["db.1", "db.2", "app", "one"]);
    let after = |at: usize| -> Vec<(&str, Condition)> {
        root.children[at].after.iter().map(|edge| (edge.name.as_str(), edge.condition)).collect()
    };
    assert_eq!(after(1), [("one", Condition::Ready)]);
    assert_eq!(after(2), [("db.1", Condition::Started), ("db.2", Condition::Started)]);
    assert!(root.children.iter().all(|child| process(child).replicas == 1));
}

#[test]
fn env_wins_over_env_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good");
    let text = "[child.a]\ncommand = \"x\"\nenv_file = \".env\"\nenv = { B = \"2\", TOKEN = \"mine\" }";
    let config = read_text(&folder, text).expect("a good file");
    let pairs = [("TOKEN", "mine"), ("B", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(process(&config.root.children[0]).env, pairs);
}

#[test]
fn infinity_and_zero_are_stops_of_a_program() {
    let within = |value: &str| {
        let config = read(&format!("[child.a]\ncommand = \"x\"\nstop = {{ within = \"{value}\" }}"));
        process(&config.root.children[0]).stop_within
    };
    assert_eq!(within("infinity"), None);
    assert_eq!(within("0s"), Some(Duration::ZERO));
}

fn errors(text: &str) -> Vec<String> {
    let report = read_text(Path::new("/nowhere"), text).expect_err("a bad file");
    report.diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect()
}

#[test]
fn the_bounds_on_children_edges_and_depth_hold() {
    let sets = |count: usize| -> String {
        let set = |n| format!("[child.s{n}]\ncommand = \"x\"\nreplicas = 1000\n");
        (0..count).map(set).collect()
    };
    assert_eq!(read(&sets(10)).expanded().root.children.len(), 10_000);
    assert_eq!(errors(&sets(11)), ["this file declares too many children"]);
    let edges = format!("{}[child.t]\ncommand = \"x\"\nreplicas = 1000\nafter = [\"s0\"]", sets(1));
    assert_eq!(errors(&edges), ["this file declares too many `after` edges"]);
    let deep =
        |depth: usize| format!("[child{}.child.x]\ncommand = \"x\"", ".s.child".repeat(depth - 2) + ".s");
    assert_eq!(names(&read(&deep(16)).root.children), ["s"]);
    assert_eq!(errors(&deep(17)), ["supervisors are nested too deeply"]);
}

#[test]
fn a_circle_of_ten_thousand_children_is_told_once_and_briefly() {
    let child = |n: usize| format!("[child.c{n}]\ncommand = \"x\"\nafter = [\"c{}\"]\n", (n + 1) % 10_000);
    let text: String = (0..10_000).map(child).collect();
    let report = read_text(Path::new("/nowhere"), &text).expect_err("a circle");
    assert_eq!(report.diagnostics.len(), 1);
    assert!(render::text(&report, false).len() < 10_000);
}

#[test]
fn only_the_first_errors_are_shown_and_the_rest_are_counted() {
    let text: String = (0..3000).map(|n| format!("k{n} = 1\n")).collect();
    let report = read_text(Path::new("/nowhere"), &text).expect_err("unknown keys");
    assert_eq!((report.diagnostics.len(), report.more), (1000, 2001));
    let shown = render::text(&report, false);
    assert_eq!(shown.matches("error: ").count(), 50);
    assert!(
        shown.ends_with("3001 errors in liveoak.toml (2951 not shown); nothing was started\n"),
        "{shown}"
    );
}
