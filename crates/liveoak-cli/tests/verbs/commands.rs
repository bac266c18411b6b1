//! Commands on children, modes, waits and the end of a tree, against canned answers.

use liveoak::api::{
    CommandRequest, CommandResult, Exit, Outcome, PlanStep, Planned, Problem, Report, State, TreeState,
    Waited,
};
use rustix::process::Signal;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::canned::{noon, shop};
use crate::fake::{Reply, Request, json, problem};
use crate::support::{Home, Ran, RunToEnd as _};

fn step(path: &str, step: &str, reason: &str) -> PlanStep {
    PlanStep {
        path: path.to_owned(),
        step: step.to_owned(),
        reason: reason.to_owned(),
        state: Some("running".to_owned()),
    }
}

fn result(path: &str, outcome: Outcome) -> CommandResult {
    CommandResult {
        path: path.to_owned(),
        outcome,
        attempt: 3,
        state: Some(State::Running),
        reason: None,
        error: None,
    }
}

/// Answers a plan with three children of which one is kept, and a command with success of each path.
fn obliging(request: &Request) -> Option<Reply> {
    request.path.strip_prefix("/v1/commands/")?;
    let asked: CommandRequest = serde_json::from_str(&request.body).ok()?;
    if asked.dry_run {
        let steps = [
            step("/shop/ingest/files", "stop", "it is running"),
            step("/shop/ingest/kafka", "stop", "it is running"),
            step("/shop/ingest/old", "keep", "it is stopped"),
        ];
        return Some(json(&steps));
    }
    Some(json(&asked.paths.iter().map(|path| result(path, Outcome::Stopped)).collect::<Vec<_>>()))
}

#[test]
fn a_command_on_named_children_is_given_at_once_with_who_and_why_and_within() {
    let home = Home::new();
    let shop = shop(&home, obliging);
    let ran =
        home.run(&["stop", "api", "ingest/", "--by", "ops", "--because", "deploy", "--within", "1m30s"]);
    assert_eq!(ran.with_code(0).stdout, "api     stopped  attempt 3\ningest  stopped  attempt 3\n");
    let posts = shop.posts();
    let [post] = posts.as_slice() else { panic!("{posts:?}") };
    assert_eq!(post.path, "/v1/commands/stop");
    let body: CommandRequest = serde_json::from_str(&post.body).expect("a request");
    assert_eq!(body.paths, ["api", "ingest"]);
    assert_eq!((body.by.as_deref(), body.because.as_deref()), (Some("ops"), Some("deploy")));
    assert_eq!(body.within_s, Some(90.0));
}

#[test]
fn a_pattern_of_more_than_one_child_needs_yes_without_a_terminal_and_shows_its_plan() {
    let home = Home::new();
    let shop = shop(&home, obliging);
    let ran = home.run(&["stop", "ingest/*"]).with_code(2);
    let ran =
        ran.says(&["/shop/ingest/files", "stop of 2 children by a pattern needs --yes", "nothing was done"]);
    assert_eq!(ran.stdout, "");
    assert!(shop.posts().iter().all(|post| post.body.contains("\"dry_run\":true")), "nothing but the plan");
}

/// Runs a verb in a terminal of its own, and types this.
fn in_terminal(home: &Home, verb: &str, typed: &str) -> Ran {
    let template = home.command(&[]);
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &format!("\"$LIVEOAK\" {verb}"), "/dev/null"]);
    command
        .current_dir(home.at("p"))
        .envs(template.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.env("LIVEOAK", env!("CARGO_BIN_EXE_liveoak")).env("SHELL", "/bin/sh").env("NO_COLOR", "1");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("`script` of util-linux");
    child.stdin.as_mut().expect("a pipe").write_all(typed.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    Ran { code: output.status.code(), stdout, stderr: String::new() }
}

#[test]
fn on_a_terminal_a_pattern_of_more_than_one_child_is_asked_about_and_only_a_yes_does_it() {
    for (typed, code, posts) in [("y\n", 0, 2), ("n\n", 1, 1), ("\n", 1, 1)] {
        let home = Home::new();
        let shop = shop(&home, obliging);
        let ran = in_terminal(&home, "stop 'ingest/*'", typed).with_code(code);
        assert!(ran.stdout.contains("stop 2 children? [y/N]"), "{}", ran.stdout);
        assert_eq!(shop.posts().len(), posts, "{typed:?}: {}", ran.stdout);
    }
    let home = Home::new();
    let shop = shop(&home, changes_mode);
    let ran = in_terminal(&home, "mode night", "n\n").with_code(1);
    assert!(ran.stdout.contains("change the mode to night? [y/N]"), "{}", ran.stdout);
    assert_eq!(shop.posts().len(), 1);
}

#[test]
fn a_pattern_becomes_exactly_the_children_of_its_plan() {
    let home = Home::new();
    let shop = shop(&home, obliging);
    let ran = home.run(&["stop", "ingest/*", "--yes", "--json"]).with_code(0).json();
    let outcomes: Vec<(&str, &str)> = ran
        .as_array()
        .expect("an array")
        .iter()
        .map(|row| (row["path"].as_str().expect("a path"), row["outcome"].as_str().expect("an outcome")))
        .collect();
    assert_eq!(
        outcomes,
        [("/shop/ingest/files", "stopped"), ("/shop/ingest/kafka", "stopped"), ("/shop/ingest/old", "kept")]
    );
    let last: CommandRequest = serde_json::from_str(&shop.posts()[1].body).expect("a request");
    assert_eq!(last.paths, ["/shop/ingest/files", "/shop/ingest/kafka"]);
}

#[test]
fn dry_run_prints_the_plan_and_does_nothing() {
    let home = Home::new();
    let shop = shop(&home, obliging);
    let plan = home.run(&["stop", "ingest/*", "--dry-run", "--json"]).with_code(0).json();
    assert_eq!(plan[0]["step"], "stop");
    assert_eq!(plan[2]["reason"], "it is stopped");
    assert_eq!(shop.posts().len(), 1);
}

#[test]
fn a_command_that_fails_for_one_child_is_exit_code_1_and_prints_what_came_of_each() {
    let home = Home::new();
    let _shop = shop(&home, |request| {
        request.path.strip_prefix("/v1/commands/")?;
        let failed = Problem::new("start-failed", "/shop/api: the attempt failed: exit code 3");
        let mut some = Problem::new("start-failed", failed.detail.clone());
        let bad = CommandResult { error: Some(failed), ..result("/shop/api", Outcome::Failed) };
        some.results = Some(vec![bad, result("/shop/db", Outcome::Ready)]);
        Some(problem(&some))
    });
    let ran = home.run(&["start", "api", "db", "--json"]).with_code(1);
    assert_eq!(ran.json()[1]["outcome"], "ready");
    assert_eq!(ran.stderr, "error: /shop/api: the attempt failed: exit code 3\n");
    let ran = home.run(&["start", "api", "db"]).with_code(1);
    assert_eq!(ran.stdout, "/shop/api  failed  attempt 3  now running\n/shop/db   ready   attempt 3\n");
}

#[test]
fn ctrl_c_during_a_command_ends_the_client_and_says_that_the_command_goes_on() {
    let home = Home::new();
    let _shop = shop(&home, |request| request.path.starts_with("/v1/commands/").then_some(Reply::Silence));
    let mut running = home.start(&["restart", "api"]);
    // The line about what is waited for.
    running.says("waiting for");
    running.signal(Signal::INT);
    let ran = running.end();
    ran.with_code(130).says(&["interrupted; the command goes on"]);
}

fn planned(end: Option<&str>) -> Planned {
    Planned {
        plan: vec![
            step("/shop/db", "keep", "wanted by both"),
            step("/shop/cache", "start", "wanted by night"),
            step("/shop/api", "stop", "not wanted by night"),
        ],
        end: end.map(str::to_owned),
        failed: vec![],
    }
}

fn changes_mode(request: &Request) -> Option<Reply> {
    request.path.strip_prefix("/v1/commands/mode")?;
    let is_plan = request.body.contains("\"dry_run\":true");
    Some(json(&planned((!is_plan).then_some("done"))))
}

#[test]
fn a_change_of_the_mode_prints_its_plan_with_the_outcome_of_each_step() {
    let home = Home::new();
    let shop = shop(&home, changes_mode);
    let ran = home.run(&["mode", "night", "--on-failure", "stay", "--by", "ops", "--json"]).with_code(0);
    let rows = ran.json();
    assert_eq!((&rows[0]["step"], &rows[0]["outcome"]), (&"keep".into(), &"kept".into()));
    assert_eq!((&rows[1]["path"], &rows[1]["outcome"]), (&"/shop/cache".into(), &"ready".into()));
    assert_eq!((&rows[2]["reason"], &rows[2]["outcome"]), (&"not wanted by night".into(), &"stopped".into()));
    let last = shop.posts().pop().expect("a request").body;
    assert!(last.contains("\"on_failure\":\"stay\"") && last.contains("\"by\":\"ops\""), "{last}");
    let text = home.run(&["mode", "night"]).with_code(0).stdout;
    assert!(text.ends_with("the mode is night; 1 child kept\n"), "{text}");
    let plan = home.run(&["mode", "night", "--dry-run", "--json"]).with_code(0).json();
    assert_eq!(plan[1]["step"], "start");
    home.run(&["mode", "--dry-run"]).with_code(2);
}

#[test]
fn a_change_of_the_mode_that_fails_or_is_unknown_says_so() {
    let home = Home::new();
    let _shop = shop(&home, |request| {
        request.path.strip_prefix("/v1/commands/mode")?;
        if request.body.contains("nihgt") {
            let unknown = Problem::new("no-such-mode", "there is no mode \"nihgt\"").near_miss(Some("night"));
            return Some(problem(&unknown));
        }
        if request.body.contains("\"dry_run\":true") {
            return Some(json(&planned(None)));
        }
        let mut failed = Problem::new("some-failed", "the change to night went back");
        let error = Some(Problem::new("start-failed", "/shop/cache: exit code 3"));
        failed.results = Some(vec![CommandResult { error, ..result("/shop/cache", Outcome::Failed) }]);
        Some(problem(&failed))
    });
    home.run(&["mode", "nihgt"]).with_code(2).says(&["did you mean night?"]);
    let ran = home.run(&["mode", "night", "--json"]).with_code(1);
    assert_eq!(ran.json()[1]["outcome"], "failed");
    ran.says(&["/shop/cache: exit code 3", "the change to night went back"]);
}

#[test]
fn a_wait_is_exit_code_1_when_the_time_is_over_and_says_what_the_child_waits_for() {
    let home = Home::new();
    let shop = shop(&home, |request| {
        let query = request.path.strip_prefix("/v1/wait/")?;
        let reached = query.contains("for=running");
        Some(json(&Waited {
            path: "/shop/api".to_owned(),
            state: if reached { State::Running } else { State::Waiting },
            waited_s: 1.5,
            reached,
            reason: (!reached).then(|| "waits for /shop/db to be ready".to_owned()),
        }))
    });
    let ran = home.run(&["wait", "api", "--for", "healthy", "--within", "1500ms", "--json"]).with_code(1);
    assert_eq!((&ran.json()["state"], &ran.json()["waited_s"]), (&"waiting".into(), &1.5.into()));
    ran.says(&["/shop/api is not healthy after 1.5s; it is waiting: waits for /shop/db to be ready"]);
    assert_eq!(
        home.run(&["wait", "api", "--for", "running"]).with_code(0).stdout,
        "/shop/api is running after 1.5s\n"
    );
    let asked: Vec<String> = shop.requests().into_iter().map(|request| request.path).collect();
    assert!(asked.contains(&"/v1/wait/api?for=healthy&within_s=1.5".to_owned()), "{asked:?}");
    assert!(asked.contains(&"/v1/wait/api?for=running&within_s=60".to_owned()), "{asked:?}");
    home.run(&["wait", "api", "--for", "raedy"]).with_code(2).says(&["ready"]);
}

#[test]
fn down_has_the_exit_codes_of_up() {
    let ended = |kind: &str, failure: bool, clean: bool| {
        let home = Home::new();
        let exit = Exit {
            kind: kind.to_owned(),
            failure,
            text: "stopped as asked".to_owned(),
            code: None,
            signal: None,
            location: None,
            backtrace: None,
        };
        let report = Report {
            tree: "/shop".to_owned(),
            state: TreeState::Completed,
            exit,
            began: noon(),
            ended: noon(),
            took_s: 0.5,
            clean,
            asked: None,
            first_failure: None,
            failure: None,
            children: vec![],
            unlisted: 2,
            unlisted_forced: 0,
        };
        let socket = home.socket("shop");
        let _shop = shop(&home, move |request| {
            request.path.strip_prefix("/v1/commands/down")?;
            // As a tree that ends: nothing is there any more.
            std::fs::remove_file(&socket).expect("the socket");
            Some(json(&report))
        });
        let ran = home.run(&["down", "--json"]);
        assert_eq!(ran.json()["took_s"], 0.5);
        ran.code
    };
    assert_eq!(ended("stopped", false, true), Some(0));
    assert_eq!(ended("gave-up", true, true), Some(1));
    assert_eq!(ended("stopped", false, false), Some(3));
}

#[test]
fn verbs_that_change_something_do_not_take_the_only_tree_that_runs() {
    let home = Home::new();
    let shop = shop(&home, obliging);
    for args in [&["stop", "api"][..], &["down"], &["mode", "night"], &["release", "api"]] {
        let ran = home.command(args).current_dir(home.at("run")).ran().with_code(4);
        ran.says(&["no tree has its file in", "--tree", "shop runs: process 4700"]);
    }
    assert!(shop.posts().is_empty());
    home.command(&["stop", "api"]).current_dir(home.at("p/below")).ran().with_code(0);
    let socket = shop.socket.display().to_string();
    let elsewhere = |args: &[&str]| home.command(args).current_dir("/").ran();
    elsewhere(&["stop", "api", "--socket", &socket]).with_code(0);
    home.command(&["stop", "api"]).current_dir("/").env("LIVEOAK_SOCKET", &socket).ran().with_code(0);
    elsewhere(&["stop", "api", "--socket", &socket, "--tree", "shop"]).with_code(2);
}
