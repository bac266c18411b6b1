//! The values, defaults, order, paths and replicas that are read from a correct file, and the bounds of a file.

mod apply;
mod checks;
mod corners;
mod defaults;
mod description;
mod fuzz;
mod kinds;
mod literal;
mod modes;
mod plan;
mod replicas;
mod scaled;
mod schema;
mod surroundings;

use crate::bounds::DEFAULT_FILE;
use crate::{ChildConfig, Config, Diagnostics, Form, ProgramConfig, load, source};
use liveoak_core::{
    AutoShutdown, Backoff, ChildSpec, Condition, FirstStart, GiveUp, Limit, Order, Restart, Strategy,
};
use liveoak_process::{CommandLine, Probe, Signal};
use std::path::Path;
use std::time::Duration;

/// Reads a text as if it were a file in `folder`, with the env files that are there.
pub(crate) fn read_text(folder: &Path, text: &str) -> Result<Config, Diagnostics> {
    load::read(
        Path::new(DEFAULT_FILE),
        folder,
        text,
        &|file| source::Sources::new(&|_| {}).read_env_file(file),
        None,
    )
}

fn read(text: &str) -> Config {
    read_text(Path::new("/srv/my shop"), text).unwrap_or_else(|report| panic!("{}", report.text(false)))
}

fn program(child: &ChildConfig) -> &ProgramConfig {
    match &child.form {
        Form::Program(program) => program,
        Form::Supervisor(_) | Form::Kind(_) => panic!("{} is no program", child.name),
    }
}

fn names(children: &[ChildConfig]) -> Vec<&str> {
    children.iter().map(|child| child.name.as_str()).collect()
}

#[test]
fn the_spec_of_each_child_names_the_line_of_the_file_that_declares_it() {
    let text = "[child.a]\ncommand = \"x\"\nreplicas = 2\n\n[child.s.child.b]\ncommand = \"y\"";
    let config = read(text).expanded();
    let place = |spec: &ChildSpec| spec.declared_at.to_string();
    let shown: Vec<String> = config.root.children.iter().map(|child| place(&child.spec)).collect();
    let file = config.shown_file();
    assert_eq!(shown, [1, 1, 5].map(|line| format!("{file}:{line}")));
    let Form::Supervisor(s) = &config.root.children[2].form else { panic!("s has children") };
    assert_eq!(place(&s.children[0].spec), format!("{file}:5"));
    assert_eq!(place(&config.spec), format!("{file}:1"));
}

#[test]
fn a_file_that_leaves_keys_out_gets_the_defaults() {
    let config = read("[child.a]\ncommand = \"sleep 60\"");
    assert_eq!(config.name.as_str(), "my-shop", "the folder's name, made fit for a path");
    assert_eq!(config.spec.stop_within, Duration::from_secs(30));
    let root = &config.root.spec;
    assert_eq!((root.strategy, root.order), (Strategy::OneForOne, Order::Declared));
    assert_eq!((root.auto_shutdown, &root.intensity), (AutoShutdown::Never, &None));
    assert_eq!(root.first_start, FirstStart::Retry);
    let child = &config.root.children[0];
    assert_eq!((child.spec.restart, child.spec.significant, child.line), (Restart::Permanent, false, 1));
    let limit = Limit::DEFAULT_OF_A_CHILD.on_exceeded(GiveUp::QUARANTINE);
    assert_eq!((child.spec.limit, child.spec.after.as_slice()), (Some(limit), [].as_slice()));
    let (from, second) = (Duration::from_millis(100), Duration::from_secs(1));
    assert_eq!(
        child.spec.backoff,
        Some(Backoff { from, to: 30 * second, reset_after: 10 * second, ..Backoff::default() })
    );
    assert_eq!((child.spec.start_within, child.spec.stop_within), (30 * second, 5 * second));
    let program = program(child);
    assert_eq!((&program.ready, program.replicas), (&None, 1));
    let command = &program.command;
    assert_eq!((command.stop_signal, command.success.as_slice()), (Signal::TERM, [0].as_slice()));
    assert_eq!(command.cwd.as_deref(), Some(Path::new("/srv/my shop")));
}

fn shown_errors(text: &str) -> String {
    read_text(Path::new("/srv/my shop"), text).err().map(|report| report.text(false)).unwrap_or_default()
}

#[test]
fn a_supervisor_may_bound_how_many_children_start_side_by_side() {
    let child = "[child.a]\ncommand = \"x\"\nreplicas = 9";
    assert_eq!(read(child).root.spec.max_starting, None);
    assert_eq!(read(&format!("max_starting = 2\n{child}")).root.spec.max_starting, Some(2));
    let nested = read("[child.s]\nmax_starting = 3\n[child.s.child.a]\ncommand = \"x\"");
    let Form::Supervisor(s) = &nested.root.children[0].form else { panic!("s has children") };
    assert_eq!(s.spec.max_starting, Some(3));
    for bad in ["0", "\"2\"", "10001", "-1", "2.5"] {
        let errors = shown_errors(&format!("max_starting = {bad}\n{child}"));
        assert!(errors.contains("max_starting") && errors.contains("from 1 to 10000"), "{bad}: {errors}");
    }
    let of_program = shown_errors("[child.a]\ncommand = \"x\"\nmax_starting = 1");
    assert!(of_program.contains("max_starting"), "{of_program}");
}

#[test]
fn output_is_merged_only_if_the_file_says_so() {
    for (output, merged) in [
        ("", false),
        ("output = {}", false),
        ("output = { merge = false }", false),
        ("output = { merge = true }", true),
    ] {
        let config = read(&format!("[child.a]\ncommand = \"x\"\n{output}"));
        assert_eq!(program(&config.root.children[0]).command.merge_output, merged, "{output}");
    }
}

#[test]
fn children_keep_the_order_of_the_file_whatever_their_names() {
    let config = read(
        "child.q.command = \"x\"\n[child.z]\ncommand = \"x\"\n[child.b.child.y]\ncommand = \"x\"\n\
         [child.b.child.a]\ncommand = \"x\"\n[child.a]\ncommand = \"x\"",
    );
    assert_eq!(names(&config.root.children), ["q", "z", "b", "a"]);
    let Form::Supervisor(supervisor) = &config.root.children[2].form else { panic!("b has children") };
    assert_eq!(names(&supervisor.children), ["y", "a"]);
    let inline =
        read("child = { c = { command = \"x\" }, b = { command = \"x\" }, a = { command = \"x\" } }");
    assert_eq!(names(&inline.root.children), ["c", "b", "a"]);
}

#[test]
fn the_header_of_a_supervisor_decides_its_position() {
    let config = read(
        "[child.b.child.y]\ncommand = \"x\"\n[child.a]\ncommand = \"x\"\n[child.b]\nstrategy = \"one-for-all\"",
    );
    assert_eq!(names(&config.root.children), ["a", "b"]);
}

#[test]
fn cwd_is_relative_to_the_folder_of_the_file_and_program_paths_are_relative_to_cwd() {
    let config = read(
        "[child.a]\ncommand = \"./run --fast\"\ncwd = \"data\"\nready = { unix = \"a.sock\" }\n\
         [child.b]\ncommand = [\"python3\", \"a b\"]\nready = { command = \"bin/check -q\" }\ncwd = \"/tmp\"",
    );
    let a = program(&config.root.children[0]);
    let data = "/srv/my shop/data";
    assert_eq!(a.command, CommandLine::argv(["/srv/my shop/data/run", "--fast"]).cwd(data));
    assert_eq!(a.ready, Some(Probe::unix("/srv/my shop/data/a.sock")));
    let b = program(&config.root.children[1]);
    assert_eq!(b.command, CommandLine::argv(["python3", "a b"]).cwd("/tmp"));
    let check = CommandLine::argv(["/tmp/bin/check", "-q"]).cwd("/tmp");
    assert_eq!(b.ready, Some(Probe::command(check)));
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
        let edges = root.children[at].spec.after.iter();
        edges.map(|edge| (edge.child.as_str(), edge.condition)).collect()
    };
    assert_eq!(after(1), [("one", Condition::Ready)]);
    assert_eq!(after(2), [("db.1", Condition::Started), ("db.2", Condition::Started)]);
    assert!(root.children.iter().all(|child| program(child).replicas == 1));
}

#[test]
fn env_overrides_env_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../liveoak-cli/tests/good");
    let text = "[child.a]\ncommand = \"x\"\nenv_file = \".env\"\nenv = { B = \"2\", TOKEN = \"mine\" }";
    let config = read_text(&folder, text).expect("a good file");
    let command = &program(&config.root.children[0]).command;
    let pairs = [("B", "2"), ("TOKEN", "mine")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(command.env, pairs.into());
}

#[test]
fn a_program_may_have_a_stop_deadline_of_zero_or_infinity() {
    let within = |value: &str| {
        let config = read(&format!("[child.a]\ncommand = \"x\"\nstop = {{ within = \"{value}\" }}"));
        config.root.children[0].spec.stop_within
    };
    assert_eq!(within("infinity"), Duration::MAX);
    assert_eq!(within("0s"), Duration::ZERO);
}

/// Returns the messages of the errors of a text; none if it is good.
fn errors(text: &str) -> Vec<String> {
    let found = read_text(Path::new("/nowhere"), text).err().map(|report| report.diagnostics);
    found.unwrap_or_default().into_iter().map(|diagnostic| diagnostic.message).collect()
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
fn a_cycle_of_ten_thousand_children_is_one_short_error() {
    let child = |n: usize| format!("[child.c{n}]\ncommand = \"x\"\nafter = [\"c{}\"]\n", (n + 1) % 10_000);
    let text: String = (0..10_000).map(child).collect();
    let report = read_text(Path::new("/nowhere"), &text).expect_err("a cycle");
    assert_eq!(report.diagnostics.len(), 1);
    assert!(report.text(false).len() < 10_000);
}

#[test]
fn only_the_first_errors_are_shown_and_the_rest_are_counted() {
    let text: String = (0..3000).map(|n| format!("k{n} = 1\n")).collect();
    let report = read_text(Path::new("/nowhere"), &text).expect_err("unknown keys");
    assert_eq!((report.diagnostics.len(), report.more), (1000, 2001));
    let shown = report.text(false);
    assert_eq!(shown.matches("error: ").count(), 50);
    assert!(shown.ends_with("3001 errors in liveoak.toml (2951 not shown)\n"), "{shown}");
}

#[test]
fn an_address_or_url_without_a_host_or_with_wrong_parts_is_refused() {
    let ready = |ready: &str| errors_at(&format!("[child.a]\ncommand = \"x\"\nready = {{ {ready} }}"));
    for (text, part) in [
        ("tcp = \":7000\"", "it has no host before the port"),
        ("tcp = \"::1:7000\"", "needs brackets"),
        ("tcp = \"tcp://a:80\"", "it is a URL"),
        ("tcp = \"a:0\"", "from 1 to 65535"),
        ("http = \"http://a/#b\"", "it has a fragment"),
        ("http = \"http://u@a/\"", "it has a user name"),
    ] {
        let labels = ready(text);
        assert!(labels.len() == 1 && labels[0].contains(part), "{text}: {labels:?}");
    }
    let config = read("[child.a]\ncommand = \"x\"\nready = { http = \"http://[::1]:81/a?b=c\" }");
    assert_eq!(program(&config.root.children[0]).ready, Probe::http("http://[::1]:81/a?b=c").ok());
}

fn errors_at(text: &str) -> Vec<String> {
    let report = read_text(Path::new("/nowhere"), text).expect_err("a bad file");
    report.diagnostics.into_iter().map(|diagnostic| diagnostic.label).collect()
}

#[test]
fn the_keys_of_a_child_with_an_invalid_name_are_still_checked() {
    let text = "[child.\"a/b\"]\ncommand = \"x\"\nrestart = \"often\"\n[child.c]\ncommand = \"x\"\nafter = [\"a/b\", \"d\"]";
    assert_eq!(
        errors(text),
        [
            "this cannot be a child's name",
            "`child.\"a/b\".restart` has an unknown value",
            "this cannot be a child's name",
            "there is no sibling called \"d\"",
        ]
    );
}

#[test]
fn the_check_whether_an_intensity_can_be_exceeded_counts_each_replica() {
    let file = |replicas: u16, backoff: &str| {
        format!(
            "intensity = {{ restarts = 25, period = \"1m\" }}\n[child.a]\ncommand = \"x\"\nreplicas = {replicas}\n{backoff}\n"
        )
    };
    let refused = |replicas, backoff| {
        let report = read_text(Path::new("/srv"), &file(replicas, backoff)).err();
        report.map(|report| report.diagnostics.iter().map(|found| found.path.clone()).collect::<Vec<_>>())
    };
    // Each replica fails at least ten times within a minute.
    assert_eq!(refused(2, ""), Some(vec!["intensity".to_owned()]));
    assert_eq!(refused(3, ""), None);
    assert_eq!(refused(1, "backoff = false"), None);
    assert_eq!(refused(1, "backoff = 7"), Some(vec!["child.a.backoff".to_owned()]), "that one error only");
}

#[test]
fn the_keys_of_trials_constant_delays_and_the_wait_after_a_kill_reach_the_spec() {
    let text = "[child.a]\ncommand = \"x\"\nbackoff = { constant = \"3s\", reset_after = \"1m\" }\n\
                limit = { restarts = 1, period = \"1m\", retry_after = \"5m\" }\nstop = { kill_wait = \"4s\" }\n\
                [child.b]\ncommand = \"x\"\nbackoff = { jitter = \"equal\" }\n";
    let config = read_text(Path::new("/srv"), text).expect("a good file");
    let [a, b] = &config.root.children[..] else { panic!("two children") };
    let second = Duration::from_secs(1);
    assert_eq!(a.spec.backoff, Some(Backoff { reset_after: 60 * second, ..Backoff::constant(3 * second) }));
    let retry_after = Some(300 * second);
    assert_eq!(a.spec.limit.map(|limit| limit.give_up), Some(GiveUp::Quarantine { retry_after }));
    assert_eq!((a.spec.kill_wait, b.spec.kill_wait), (4 * second, liveoak_core::KILL_WAIT));
    assert_eq!(b.spec.backoff, Some(Backoff { jitter: liveoak_core::Jitter::Equal, ..Backoff::default() }));
}

#[test]
fn the_longest_run_and_the_codes_that_ask_for_a_restart_reach_the_spec() {
    let config =
        read("[child.a]\ncommand = \"x\"\nrun_within = \"12h\"\nrestart_codes = [75, 76, 75]\nsuccess = [3]");
    let spec = &config.root.children[0].spec;
    assert_eq!(spec.run_within, Some(Duration::from_secs(12 * 3_600)));
    let codes = spec.restart_codes.as_deref().expect("codes");
    assert_eq!((codes.codes.as_slice(), codes.success.as_slice()), (&[75, 76][..], &[3][..]));
    let without = read("[child.a]\ncommand = \"x\"");
    let spec = &without.root.children[0].spec;
    assert_eq!((spec.run_within, &spec.restart_codes), (None, &None));
}

#[test]
fn a_need_is_also_an_edge_and_stands_for_each_replica() {
    let config = read(
        "[child.db]\ncommand = \"x\"\nreplicas = 2\n[child.a]\ncommand = \"x\"\nneeds = [\"db\"]\n\
         [child.b]\ncommand = \"x\"\nafter = [\"a\"]\nneeds = { a = { grace = \"0s\" }, db = {} }",
    );
    let tree = config.expanded();
    let needs = |at: usize| -> Vec<(&str, u64)> {
        let needs = tree.root.children[at].spec.needs.iter();
        needs.map(|need| (need.child.as_str(), need.grace.as_secs())).collect()
    };
    assert_eq!(needs(2), [("db.1", 5), ("db.2", 5)]);
    assert_eq!(needs(3), [("a", 0), ("db.1", 5), ("db.2", 5)]);
    let after = |at: usize| -> Vec<&str> {
        let after = tree.root.children[at].spec.after.iter();
        after.map(|edge| edge.child.as_str()).collect()
    };
    assert_eq!(after(3), ["a", "db.1", "db.2"]);
}
