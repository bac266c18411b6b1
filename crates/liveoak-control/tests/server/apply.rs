//! Another declaration for a running tree: plans, outcomes and refusals.

use crate::client::{get, post};
use crate::{Served, steady};
use liveoak_control::{Control, ReloadError};
use liveoak_runtime::{Child, Ctx, Group, Path, Supervisor};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// The names of the children that a declaration has, and how many replicas of `web`.
type Declared = Arc<Mutex<Result<(Vec<&'static str>, u32), &'static str>>>;

fn tree((names, replicas): &(Vec<&'static str>, u32)) -> Supervisor {
    let web = (1..=*replicas).map(|number| steady(&format!("web.{number}")));
    let child = |name: &&str| match *name {
        "bad" => Child::task("bad", |_: Ctx| async { Err::<(), _>("no luck") }).reports_ready(),
        "other" => steady("other").version("2"),
        name => steady(name),
    };
    let group = Group::new("pool", |ctx: Ctx, (): ()| async move { ctx.stopping().await });
    Supervisor::new("shop").children(names.iter().map(child)).child(group).children(web)
}

/// A tree whose declaration can change.
fn served(names: &[&'static str]) -> (Served, Declared) {
    let declared: Declared = Arc::new(Mutex::new(Ok((names.to_vec(), 2))));
    let first = tree(declared.lock().unwrap().as_ref().unwrap());
    let read = Arc::clone(&declared);
    let reload = move |scaled: &[(Path, u32)]| match &*read.lock().unwrap() {
        Err(error) => Err(ReloadError::wrong(*error, "line 1: all errors")),
        Ok((names, replicas)) => match scaled {
            [] => Ok(tree(&(names.clone(), *replicas))),
            [(path, number)] if path.as_str() == "/shop/web" => Ok(tree(&(names.clone(), *number))),
            [(path, _), ..] => Err(ReloadError::no_such_child(path, Some("/shop/web".to_owned()))),
        },
    };
    let control = move |control: Control, folder: &std::path::Path| {
        let file = folder.join("shop.toml");
        std::fs::write(&file, "").unwrap();
        control.file(file).reload(reload)
    };
    (Served::with(first, control).ready(), declared)
}

fn steps(answer: &Value) -> Vec<String> {
    let text = |step: &Value| {
        let word = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", word("path").trim_start_matches("/shop"), word("step"), word("outcome"))
    };
    answer
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"))
        .iter()
        .map(text)
        .filter(|text| !text.contains("keep"))
        .collect()
}

#[test]
fn a_declaration_is_shown_before_it_is_applied_and_each_step_has_its_outcome() {
    let (served, declared) = served(&["a", "b"]);
    *declared.lock().unwrap() = Ok((vec!["b", "c"], 2));
    let ask = |asked: Value| post(&served.socket, "/v1/commands/apply", &asked);
    let plan = ask(json!({ "dry_run": true })).json();
    assert_eq!(steps(&plan), ["/a stop ", "/c start "]);
    assert_eq!(plan[1]["reason"], "it is no longer declared");
    assert_eq!(get(&served.socket, "/v1/children/a").json()["state"], "running");
    let done = ask(json!({ "by": "ci", "because": "deploy" })).json();
    assert_eq!(steps(&done), ["/a stop removed", "/c start ready"]);
    let of = |path: &str| done.as_array().unwrap().iter().find(|step| step["path"] == path).unwrap();
    assert_eq!((&of("/shop/a")["state"], &of("/shop/a")["attempt"]), (&json!(null), &json!(1)));
    assert_eq!((&of("/shop/c")["state"], &of("/shop/c")["attempt"]), (&json!("running"), &json!(1)));
    assert_eq!((&of("/shop/b")["step"], &of("/shop/b")["outcome"]), (&json!("keep"), &json!("kept")));
    let explained = get(&served.socket, "/v1/explain/c").json();
    let last = explained["commands"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["by"], &last["because"]), (&json!("ci"), &json!("deploy")));
    assert_eq!(steps(&post(&served.socket, "/v1/commands/apply", &json!({})).json()), [""; 0]);
}

#[test]
fn a_step_that_fails_is_an_error_with_the_outcome_of_every_step() {
    let (served, declared) = served(&["a", "other"]);
    *declared.lock().unwrap() = Ok((vec!["bad", "other"], 2));
    let answer = post(&served.socket, "/v1/commands/apply", &json!({}));
    assert_eq!((answer.status, answer.code().as_str()), (409, "start-failed"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(steps(&problem["steps"]), ["/a stop removed", "/bad start failed"]);
    assert!(problem["detail"].as_str().unwrap().contains("no luck"), "{problem}");
}

#[test]
fn a_declaration_with_errors_and_another_file_change_nothing() {
    let (served, declared) = served(&["a"]);
    let ask = |asked: Value| post(&served.socket, "/v1/commands/apply", &asked);
    *declared.lock().unwrap() = Err("the file has 1 error");
    let wrong = ask(json!({}));
    assert_eq!((wrong.status, wrong.code().as_str()), (422, "bad-file"));
    assert_eq!(wrong.json()["text"], "line 1: all errors");
    *declared.lock().unwrap() = Ok((vec!["a", "a"], 2));
    let twice = ask(json!({ "dry_run": true }));
    assert_eq!(twice.code(), "bad-file");
    assert!(twice.json()["text"].as_str().unwrap().contains("used twice"), "{twice:?}");
    let other = ask(json!({ "file": "/other.toml" }));
    assert_eq!((other.status, other.code().as_str()), (409, "other-file"));
    assert!(other.json()["expected"].as_str().unwrap().ends_with("shop.toml"), "{other:?}");
    *declared.lock().unwrap() = Ok((vec!["a"], 2));
    let folder = served.folder.join("../").join(served.folder.file_name().unwrap());
    let own = ask(json!({ "file": folder.join("shop.toml") }));
    assert_eq!(own.status, 200, "another way to the same file: {own:?}");
    assert_eq!(ask(json!({ "fiel": "x" })).status, 400);
    let without = Served::new(tree(&(vec!["a"], 2))).ready();
    let never = post(&without.socket, "/v1/commands/apply", &json!({}));
    assert_eq!((never.status, never.code().as_str()), (409, "no-file"));
}

#[test]
fn replicas_are_scaled_until_the_declaration_is_applied_again() {
    let (served, declared) = served(&["a"]);
    let scale = |path: &str, replicas: u32, dry_run: bool| {
        let asked = json!({ "path": path, "replicas": replicas, "dry_run": dry_run });
        post(&served.socket, "/v1/commands/scale", &asked)
    };
    assert_eq!(steps(&scale("web", 4, true).json()), ["/web.3 start ", "/web.4 start "]);
    assert_eq!(steps(&scale("/shop/web", 4, false).json()), ["/web.3 start ready", "/web.4 start ready"]);
    let fewer = ["/web.4 stop removed", "/web.3 stop removed", "/web.2 stop removed"];
    assert_eq!(steps(&scale("web", 1, false).json()), fewer);
    let back = post(&served.socket, "/v1/commands/apply", &json!({})).json();
    assert_eq!(steps(&back), ["/web.2 start ready"]);
    assert_eq!(steps(&scale("web", 2, false).json()), [""; 0]);
    let unknown = scale("wbe", 2, false);
    assert_eq!((unknown.status, unknown.json()["near_miss"].as_str()), (404, Some("/shop/web")));
    let group = scale("pool", 2, false);
    assert_eq!((group.status, group.code().as_str()), (409, "cannot-scale"));
    *declared.lock().unwrap() = Ok((vec!["a", "new"], 2));
    let changed = scale("web", 3, false);
    assert_eq!(changed.code(), "cannot-scale");
    assert!(changed.json()["detail"].as_str().unwrap().contains("apply it first"), "{changed:?}");
    assert_eq!(get(&served.socket, "/v1/children/new").status, 404);
}

#[test]
fn what_was_agreed_to_is_done_and_nothing_else() {
    let (served, declared) = served(&["a", "b"]);
    *declared.lock().unwrap() = Ok((vec!["b", "c"], 2));
    let ask = |asked: Value| post(&served.socket, "/v1/commands/apply", &asked);
    let plan = ask(json!({ "dry_run": true })).json();
    let agreed: Vec<&Value> = plan.as_array().unwrap().iter().filter(|step| step["step"] != "keep").collect();
    *declared.lock().unwrap() = Ok((vec!["b", "d"], 2));
    let refused = ask(json!({ "agreed": agreed }));
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("plan-changed")));
    assert_eq!(get(&served.socket, "/v1/children/a").json()["state"], "running", "nothing was done");
    *declared.lock().unwrap() = Ok((vec!["b", "c"], 2));
    assert_eq!(steps(&ask(json!({ "agreed": agreed })).json()), ["/a stop removed", "/c start ready"]);
    // Scaling is held to the plan, too.
    let scale = |asked: Value| post(&served.socket, "/v1/commands/scale", &asked);
    let other = scale(json!({ "path": "web", "replicas": 3, "agreed": agreed }));
    assert_eq!((other.status, &other.json()["code"]), (409, &json!("plan-changed")));
}
