//! `after` edges to a child that is unhealthy, stopped by command or finished. The tests show what happens to the dependent
//! child, and that other children do not wait for it.

use liveoak_runtime::testing::{LeakCheck, Puppet, eventually, paused};
use liveoak_runtime::*;
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn states<const N: usize>(tree: &TreeHandle, paths: [&str; N]) -> [&'static str; N] {
    let snapshot = tree.snapshot();
    paths.map(|path| snapshot.get(path).map_or("removed", |node| node.state.as_str()))
}

fn puppets<const N: usize>(leak_check: &LeakCheck, names: [&str; N]) -> [Puppet; N] {
    names.map(|name| leak_check.puppet(name))
}

#[test]
fn after_a_restart_of_a_set_only_dependents_of_a_stopped_child_wait() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        paused(async {
            let leak_check = LeakCheck::new();
            let [first, db, app, web] = puppets(&leak_check, ["first", "db", "app", "web"]);
            let app = app.child().after("db");
            let children = [first.child(), db.child(), app, web.child()];
            let tree = Supervisor::new("t").strategy(strategy).children(children).start().await.unwrap();
            tree.stop_child("/t/db").await.unwrap();
            first.fail("x");
            first.started(2).await;
            web.started(2).await;
            assert_eq!(states(&tree, ["/t/db", "/t/app", "/t/web"]), ["stopped", "waiting", "running"]);
            let told = tree.restart_child("/t/app").await.unwrap_err().to_string();
            assert_eq!(told, "it still waits for /t/db, and starts when it may");
            tree.start_child("/t/db").await.unwrap();
            eventually("app", || states(&tree, ["/t/app"]) == ["running"]).await;
            tree.stop().await;
            leak_check.check().await;
        });
    }
}

#[test]
fn a_wait_for_a_sibling_never_fails_a_child_and_a_command_is_answered_after_the_start_deadline() {
    paused(async {
        let leak_check = LeakCheck::new();
        let [db, app] = puppets(&leak_check, ["db", "app"]);
        let child =
            app.child().after_when("db", Condition::Healthy).start_within(s(10)).limit(Limit::new(1, s(60)));
        let tree = Supervisor::new("t").child(db.child()).child(child).start().await.unwrap();
        db.health(Health::Degraded);
        eventually("it is unhealthy", || tree.snapshot().get("/t/db").unwrap().health != Health::Healthy)
            .await;
        app.fail("x");
        eventually("app waits", || states(&tree, ["/t/app"]) == ["waiting"]).await;
        let began = tree.now();
        let told = tree.restart_child("/t/app").await.unwrap_err();
        assert!(matches!(&told, Refusal::WaitsFor { path } if path.as_str() == "/t/db"), "{told}");
        assert_eq!(tree.now().since(began), s(10));
        tokio::time::sleep(s(100_000)).await;
        assert_eq!((states(&tree, ["/t/app"]), app.starts()), (["waiting"], 1));
        db.health(Health::Healthy);
        app.started(2).await;
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn in_a_first_start_a_wait_for_a_sibling_fails_the_supervisor_after_the_start_deadline_of_the_child() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (db, app) = (leak_check.puppet("db").slow_to_start(), leak_check.puppet("app"));
        let child = app.child().after_when("db", Condition::Healthy).start_within(s(10));
        let tree = Supervisor::new("t").child(db.child()).child(child).begin().unwrap();
        db.health(Health::Degraded);
        db.ready();
        let Err(ended) = tree.ready().await else { panic!("it cannot be ready") };
        assert_eq!(tree.now().since(Time::ZERO), s(10));
        let Exit::StartFailed(failure) = &ended.exit else { panic!("{ended:?}") };
        assert_eq!(failure.path.as_str(), "/t/app");
        assert!(failure.to_string().ends_with("which is ready but was not healthy in time"), "{failure}");
        assert_eq!(app.starts(), 0, "no attempt was begun");
        leak_check.check().await;
    });
}

#[test]
fn a_dependent_of_a_job_that_a_restart_set_stopped_waits_without_delaying_other_children() {
    paused(async {
        let leak_check = LeakCheck::new();
        let [first, job, app, web] = puppets(&leak_check, ["first", "job", "app", "web"]);
        let job_child = job.child().restart(Restart::Temporary);
        let app_child = app.child().after_when("job", Condition::Started).limit(Limit::new(0, s(1_000)));
        let children = [first.child(), job_child, app_child, web.child()];
        let nested = Supervisor::new("s").strategy(Strategy::OneForAll).children(children);
        let tree = Supervisor::new("t").child(nested).start().await.unwrap();
        first.fail("x");
        first.gone().await;
        web.started(2).await;
        tokio::time::sleep(s(10_000)).await;
        let paths = ["/t/s/first", "/t/s/job", "/t/s/app", "/t/s/web"];
        assert_eq!(states(&tree, paths), ["running", "finished", "waiting", "running"]);
        tree.start_child("/t/s/job").await.unwrap();
        eventually("all run", || states(&tree, paths) == ["running"; 4]).await;
        tree.stop().await;
        leak_check.check().await;
    });
}
