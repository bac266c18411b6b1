//! Commands: their effects, plans and refusals.

use crate::client::{get, post};
use crate::{Served, new_folder, shop, steady};
use liveoak_control::{Control, Controlled as _};
use liveoak_runtime::{Child, Ctx, Restart, Supervisor};
use serde_json::{Value, json};

fn outcomes(results: &Value) -> Vec<(String, String, u64)> {
    let of = |result: &Value| {
        let text = |key: &str| result[key].as_str().unwrap_or_default().to_owned();
        (text("path"), text("outcome"), result["attempt"].as_u64().unwrap())
    };
    results.as_array().unwrap_or_else(|| panic!("{results}")).iter().map(of).collect()
}

fn results_of(problem: &Value) -> Vec<(String, String, u64)> {
    outcomes(&problem["results"])
}

fn one(path: &str, outcome: &str, attempt: u64) -> (String, String, u64) {
    (path.to_owned(), outcome.to_owned(), attempt)
}

#[test]
fn a_command_is_answered_with_its_effect() {
    let served = Served::new(shop()).ready();
    let command = |verb: &str, paths: Value| {
        post(
            &served.socket,
            &format!("/v1/commands/{verb}"),
            &json!({ "paths": paths, "by": "ci", "because": "deploy" }),
        )
    };
    assert_eq!(outcomes(&command("restart", json!(["web"])).json()), [one("/shop/web", "ready", 2)]);
    assert_eq!(outcomes(&command("stop", json!(["web"])).json()), [one("/shop/web", "stopped", 2)]);
    let web = get(&served.socket, "/v1/children/web").json();
    assert_eq!((&web["state"], &web["why"]), (&json!("stopped"), &json!("stopped")));
    assert_eq!(outcomes(&command("start", json!(["web"])).json()), [one("/shop/web", "ready", 3)]);
    assert_eq!(outcomes(&command("pause", json!(["web"])).json()), [one("/shop/web", "paused", 3)]);
    assert_eq!(get(&served.socket, "/v1/children/web").json()["paused"], true);
    assert_eq!(outcomes(&command("resume", json!(["web"])).json()), [one("/shop/web", "resumed", 3)]);
    assert_eq!(outcomes(&command("quarantine", json!(["web"])).json()), [one("/shop/web", "quarantined", 3)]);
    assert_eq!(get(&served.socket, "/healthz").status, 503);
    assert_eq!(outcomes(&command("release", json!(["web"])).json()), [one("/shop/web", "ready", 4)]);
    let explained = get(&served.socket, "/v1/explain/web").json();
    let last = explained["commands"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["command"], &last["by"], &last["because"]),
        (&json!("release"), &json!("ci"), &json!("deploy"))
    );
}

#[test]
fn a_command_with_nothing_to_do_is_answered_as_kept_with_the_reason() {
    let served = Served::new(shop()).ready();
    let answer = post(&served.socket, "/v1/commands/start", &json!({ "paths": ["web"] }));
    assert_eq!((answer.status, outcomes(&answer.json())), (200, vec![one("/shop/web", "kept", 1)]));
    assert_eq!(answer.json()[0]["reason"], "it is not down");
}

#[test]
fn a_plan_changes_nothing_and_a_pattern_commands_what_it_shows() {
    let served = Served::new(shop()).ready();
    let ask = |dry_run: bool| {
        post(
            &served.socket,
            "/v1/commands/stop",
            &json!({ "paths": ["ingest/*", "ingest/kafka"], "dry_run": dry_run }),
        )
    };
    let plan = ask(true).json();
    let steps: Vec<_> = plan.as_array().unwrap().iter().map(|step| (&step["path"], &step["step"])).collect();
    assert_eq!(
        steps,
        [(&json!("/shop/ingest/files"), &json!("stop")), (&json!("/shop/ingest/kafka"), &json!("stop"))],
        "each child once, in the order of a stop"
    );
    assert_eq!(get(&served.socket, "/v1/children/ingest/kafka").json()["state"], "running");
    let done = outcomes(&ask(false).json());
    assert_eq!(done, [one("/shop/ingest/files", "stopped", 1), one("/shop/ingest/kafka", "stopped", 1)]);
    let nothing = post(&served.socket, "/v1/commands/stop", &json!({ "paths": ["nope/*"] }));
    assert_eq!((nothing.status, nothing.code().as_str()), (404, "no-such-child"));
    let none = post(&served.socket, "/v1/commands/stop", &json!({ "paths": [] }));
    assert_eq!(none.status, 400);
}

#[test]
fn the_answer_belongs_to_the_attempt_that_the_command_made() {
    let failing = Child::task("failing", |ctx: Ctx| async move {
        match ctx.attempt().0 {
            1 => {
                ctx.stopping().await;
                Ok(())
            }
            attempt => Err(format!("attempt {attempt} cannot")),
        }
    });
    let failing = failing.reports_ready().backoff(None);
    let served = Served::new(shop().child(failing.restart(Restart::Permanent)));
    // The first attempt never becomes ready: the command comes while the tree starts.
    let wait = served.tree.wait_for("/shop/failing", |view| view.attempt.0 == 1);
    served.runtime.block_on(wait).unwrap();
    let answer = post(&served.socket, "/v1/commands/restart", &json!({ "paths": ["failing"] }));
    assert_eq!((answer.status, answer.code().as_str()), (409, "start-failed"), "{answer:?}");
    let problem = answer.json();
    assert!(problem["detail"].as_str().unwrap().contains("attempt 2 cannot"), "{problem}");
    assert_eq!(results_of(&problem), [one("/shop/failing", "failed", 2)]);
}

#[test]
fn the_time_to_wait_bounds_the_answer_and_not_the_command() {
    let stubborn = Child::task("stubborn", |ctx: Ctx| async move {
        ctx.stopping().await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    });
    let served = Served::new(shop().child(stubborn)).ready();
    let asked = json!({ "paths": ["stubborn"], "within_s": 0.01 });
    let answer = post(&served.socket, "/v1/commands/stop", &asked);
    assert_eq!((answer.status, answer.code().as_str()), (504, "within-exceeded"), "{answer:?}");
    assert_eq!(results_of(&answer.json()), [one("/shop/stubborn", "pending", 1)]);
    let stopped = get(&served.socket, "/v1/wait/stubborn?for=stopped").json();
    assert_eq!(stopped["reached"], true);
}

#[test]
fn the_root_is_not_quarantined_and_a_child_of_what_is_down_is_not_started() {
    let served = Served::new(shop()).ready();
    let answer = post(&served.socket, "/v1/commands/quarantine", &json!({ "paths": ["/shop"] }));
    assert_eq!((answer.status, answer.code().as_str()), (409, "root"));
    post(&served.socket, "/v1/commands/stop", &json!({ "paths": ["ingest"] }));
    let answer =
        post(&served.socket, "/v1/commands/start", &json!({ "paths": ["ingest/kafka", "ingest/files"] }));
    assert_eq!((answer.status, answer.code().as_str()), (409, "some-failed"));
    assert!(results_of(&answer.json()).iter().all(|(_, outcome, _)| outcome == "refused"), "{answer:?}");
}

#[test]
fn a_mode_is_shown_before_it_is_changed() {
    let robot = Supervisor::new("robot").children(["camera", "motors", "mapper"].map(steady));
    let robot = robot.mode("teleop", ["camera", "motors"]).mode("mapping", ["camera", "mapper"]);
    let served = Served::new(robot.start_in_mode("teleop")).ready();
    let ask = |asked: Value| post(&served.socket, "/v1/commands/mode", &asked);
    let plan = ask(json!({ "mode": "mapping", "dry_run": true })).json();
    assert_eq!((&plan["plan"][0]["step"], &plan["end"]), (&json!("stop"), &json!(null)));
    assert_eq!(get(&served.socket, "/v1/status").json()["mode"], "teleop");
    assert_eq!(ask(json!({ "mode": "mapping" })).json()["end"], "done");
    let status = get(&served.socket, "/v1/status").json();
    assert_eq!((&status["mode"], &status["modes"]), (&json!("mapping"), &json!(["teleop", "mapping"])));
    let motors = get(&served.socket, "/v1/children/motors").json();
    assert_eq!((&motors["state"], &motors["why"]), (&json!("stopped"), &json!("not-wanted")));
    let unknown = ask(json!({ "mode": "maping" }));
    assert_eq!((unknown.status, unknown.json()["near_miss"].as_str()), (404, Some("mapping")));
}

#[test]
fn the_end_of_the_tree_is_answered_with_its_report() {
    let served = Served::new(shop()).ready();
    assert_eq!(get(&served.socket, "/v1/report").code(), "not-ended");
    let report = post(&served.socket, "/v1/commands/down", &json!({ "by": "me", "because": "done" })).json();
    assert_eq!((&report["state"], &report["clean"]), (&json!("completed"), &json!(true)));
    assert_eq!((&report["asked"]["by"], &report["asked"]["because"]), (&json!("me"), &json!("done")));
    assert_eq!(report["children"].as_array().unwrap().len(), 4);
    for _ in 0..1000 {
        if !served.socket.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the socket goes with the tree");
}

#[test]
fn the_end_of_the_tree_within_a_time_asks_every_child_before_it_kills_one_that_does_not_end() {
    let stubborn = Child::task("stubborn", |ctx: Ctx| async move {
        ctx.stopping().await;
        std::future::pending::<()>().await;
    });
    // It is stopped first, and would hold up the others for an hour.
    let stubborn = stubborn.stop_within(std::time::Duration::from_secs(3600));
    let tree = shop().child(stubborn).stop_within(std::time::Duration::from_secs(3600));
    let served = Served::new(tree).ready();
    let report = post(&served.socket, "/v1/commands/down", &json!({ "within_s": 2 })).json();
    let stages = report["children"].as_array().unwrap().iter();
    let mut stages: Vec<_> =
        stages.map(|of| (of["path"].as_str().unwrap(), of["stage"].as_str().unwrap())).collect();
    stages.sort_unstable();
    let expected = [
        ("/shop/ingest", "asked"),
        ("/shop/ingest/files", "asked"),
        ("/shop/ingest/kafka", "asked"),
        ("/shop/stubborn", "killed"),
        ("/shop/web", "asked"),
    ];
    assert_eq!(stages, expected, "{report}");
}

#[test]
fn commands_are_answered_during_a_restart_storm() {
    let storm = |name: String| Child::task(name, |_: Ctx| async { Err::<(), _>("at once") });
    let storm = (0..20).map(|nth| {
        let limit = liveoak_runtime::Limit::unlimited();
        storm(format!("s{nth}")).backoff(None).limit(limit)
    });
    let served = Served::new(Supervisor::new("shop").child(steady("web")).children(storm));
    for attempt in 2..10 {
        let answer = post(&served.socket, "/v1/commands/restart", &json!({ "paths": ["web"] }));
        assert_eq!(outcomes(&answer.json()), [one("/shop/web", "ready", attempt)]);
    }
}

#[test]
fn a_program_whose_main_ends_with_its_run_still_answers_the_command_that_ends_the_tree() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for round in 0..10 {
        let folder = new_folder();
        let socket = folder.join("s.sock");
        let supervisor = shop().control(Control::new().socket(&socket));
        let asked = std::thread::spawn({
            let socket = socket.clone();
            move || {
                while !socket.exists() {
                    std::thread::yield_now();
                }
                post(&socket, "/v1/commands/down", &json!({}))
            }
        });
        runtime.block_on(supervisor.run()).unwrap();
        // A program would end now.
        assert!(!socket.exists(), "the server has ended, in round {round}");
        assert_eq!(asked.join().unwrap().status, 200);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
