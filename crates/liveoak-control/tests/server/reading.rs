//! What is read: children, waits, health, metrics; and requests that are wrong.

use crate::client::{get, post, raw};
use crate::{Served, shop, steady};
use liveoak_api::{Method, ROUTES};
use liveoak_control::{Control, Controlled as _};
use liveoak_runtime::{Child, Ctx, Health, StartError, Supervisor};
use serde_json::json;

#[test]
fn every_route_of_the_table_is_answered() {
    let served = Served::new(shop()).ready();
    for route in ROUTES.iter().filter(|route| route.path != "/v1/commands/down") {
        let path = route.path.replace("{path}", "web");
        let answer = match route.method {
            Method::Get => get(&served.socket, &path),
            Method::Post => post(&served.socket, &path, &json!({ "paths": ["web"], "mode": "x" })),
        };
        // A body that is wrong for its route, and a report before the end, are refused in words.
        assert!([200, 400, 403, 409].contains(&answer.status), "{path}: {answer:?}");
        let problem = answer.head.contains("application/problem+json");
        assert_eq!(problem, answer.status != 200, "{path}: {answer:?}");
    }
}

#[test]
fn a_child_is_found_with_and_without_the_name_of_the_tree() {
    let served = Served::new(shop()).ready();
    for path in ["ingest/kafka", "ingest%2Fkafka", "%2Fshop%2Fingest%2Fkafka", "/shop/ingest/kafka"] {
        let answer = get(&served.socket, &format!("/v1/children/{path}"));
        assert_eq!(answer.json()["path"], "/shop/ingest/kafka", "{path}");
    }
    let answer = get(&served.socket, "/v1/children/kafka");
    assert_eq!((answer.status, answer.code().as_str()), (404, "no-such-child"));
    assert_eq!(answer.json()["near_miss"], "/shop/ingest/kafka");
    let near = get(&served.socket, "/v1/explain/wbe").json();
    assert_eq!(near["near_miss"], "/shop/web");
}

#[test]
fn a_list_and_a_tree_show_the_same_children() {
    let served = Served::new(shop()).ready();
    let list = get(&served.socket, "/v1/children").json();
    let paths: Vec<_> =
        list.as_array().unwrap().iter().map(|child| child["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/shop", "/shop/web", "/shop/ingest", "/shop/ingest/kafka", "/shop/ingest/files"]);
    let web = &list[1];
    assert_eq!(
        (&web["kind"], &web["state"], &web["title"]),
        (&json!("task"), &json!("running"), &json!("Web shop"))
    );
    assert_eq!(
        (&web["health"], &web["pid"], &web["tags"]),
        (&json!("unknown"), &json!(null), &json!(["edge"]))
    );
    let tree = get(&served.socket, "/v1/tree").json();
    assert_eq!(tree["children"][1]["children"][1]["path"], "/shop/ingest/files");
    assert!(tree["n"].as_u64().unwrap() > 0 && tree["children"][0].get("children").is_none());
    let some = get(&served.socket, "/v1/children?path=ingest/*").json();
    assert_eq!(some.as_array().unwrap().len(), 2);
}

#[test]
fn what_the_query_or_the_body_should_not_have_is_refused_with_what_was_probably_meant() {
    let served = Served::new(shop()).ready();
    let answer = get(&served.socket, "/v1/events?knid=ready");
    assert_eq!((answer.status, answer.json()["near_miss"].as_str()), (400, Some("kind")));
    assert_eq!(get(&served.socket, "/v1/events?kind=raedy").json()["near_miss"], "ready");
    assert_eq!(get(&served.socket, "/v1/events?last=1&last=2").status, 400);
    assert_eq!(get(&served.socket, "/v1/tree?x=1").status, 400);
    assert_eq!(get(&served.socket, "/v1/events?since=yesterday").status, 400);
    let answer = post(&served.socket, "/v1/commands/stop", &json!({ "paths": ["web"], "force": true }));
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("unknown field `force`"), "{answer:?}");
    assert_eq!(get(&served.socket, "/v1/childern").json()["near_miss"], "/v1/children");
    let answer = raw(&served.socket, "DELETE /v1/tree HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(answer.status == 405 && answer.head.contains("allow: GET, HEAD"), "{answer:?}");
}

#[test]
fn the_health_of_the_tree_is_red_over_an_unhealthy_child_and_names_it() {
    let sick = Child::task("sick", |ctx: Ctx| async move {
        ctx.health(Health::Unhealthy, "disk full");
        ctx.stopping().await;
    });
    let served = Served::new(shop().child(sick.reports_health())).ready();
    let path = "/shop/sick";
    let seen = served.tree.wait_for(path, |view| view.health == Health::Unhealthy);
    served.runtime.block_on(seen).unwrap();
    let answer = get(&served.socket, "/healthz");
    assert_eq!((answer.status, answer.body.as_str()), (503, "/shop/sick is running: disk full\n"));
    assert_eq!(get(&served.socket, "/readyz").status, 200);
    let status = get(&served.socket, "/v1/status").json();
    assert_eq!(
        (&status["health"], &status["failing"], &status["children"]),
        (&json!("unhealthy"), &json!(1), &json!(4))
    );
    served.runtime.block_on(served.tree.stop_child(path)).unwrap();
    assert_eq!(get(&served.socket, "/healthz").body, "ok\n");
}

#[test]
fn a_wait_ends_when_the_child_is_as_wanted_or_the_time_is_over() {
    let served = Served::new(shop()).ready();
    let waited = get(&served.socket, "/v1/wait/web?for=running").json();
    assert_eq!((&waited["reached"], &waited["state"]), (&json!(true), &json!("running")));
    let waited = get(&served.socket, "/v1/wait/web?for=stopped&within_s=0.05").json();
    assert_eq!((&waited["reached"], &waited["state"]), (&json!(false), &json!("running")));
    assert!(waited["reason"].as_str().unwrap().contains("ready"), "{waited}");
    let socket = served.socket.clone();
    let wait = std::thread::spawn(move || get(&socket, "/v1/wait/web?for=stopped"));
    served.runtime.block_on(served.tree.stop_child("/shop/web")).unwrap();
    assert_eq!(wait.join().unwrap().json()["reached"], true);
}

#[test]
fn the_metrics_count_restarts_and_exits_and_bound_their_labels() {
    let group = liveoak_runtime::Group::new("conns", |ctx: Ctx, (): ()| async move { ctx.stopping().await });
    let conns = group.handle();
    let flaky = Child::task("flaky", |ctx: Ctx| async move {
        if ctx.attempt().0 < 3 {
            return Err("not yet \"really\"\n");
        }
        ctx.stopping().await;
        Ok(())
    });
    let served = Served::new(Supervisor::new("shop").child(flaky.backoff(None)).child(group));
    served.runtime.block_on(async {
        served.tree.wait_for("/shop/flaky", |view| view.attempt.0 == 3).await.unwrap();
        for _ in 0..5 {
            conns.spawn(()).unwrap();
        }
    });
    let restarts = "liveoak_restarts_total{path=\"/shop/flaky\",class=\"failure\"} 2";
    let mut text = String::new();
    // The recorder reads the events a moment later.
    for _ in 0..1000 {
        text = get(&served.socket, "/metrics").body;
        if text.contains(restarts) {
            break;
        }
    }
    assert!(text.contains(restarts), "{text}");
    assert!(text.contains("liveoak_exits_total{path=\"/shop/flaky\",kind=\"failed\"} 2"), "{text}");
    assert!(text.contains("liveoak_state{path=\"/shop/conns\",state=\"running\"} 5"), "{text}");
    assert!(!text.contains("/shop/conns/"), "members have no series of their own: {text}");
    for line in text.lines() {
        let is_comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        assert!(is_comment || (line.starts_with("liveoak_") && value.is_some()), "{line}");
    }
}

#[test]
fn control_belongs_to_the_root() {
    let inner = Supervisor::new("inner").child(steady("a")).control(Control::new());
    let served = Served::new(shop()).ready();
    let refused = served.runtime.block_on(async { Supervisor::new("outer").child(inner).begin() });
    let text = match refused {
        Err(StartError::Spec(errors)) => errors.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(text.contains("on_begin") && text.contains("at the root"), "{text}");
}
