//! `after` edges to a child that is unhealthy, stopped on request or finished: what happens to the dependent child, and that
//! other children do not wait for it.

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
fn after_a_restart_of_a_set_a_child_that_depends_on_a_stopped_child_waits_and_all_others_run() {
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
            let refused = tree.restart_child("/t/app").await.unwrap_err().to_string();
            assert!(refused.contains("it comes after db (ready), which is stopped"), "{refused}");
            tree.start_child("/t/db").await.unwrap();
            eventually("app", || states(&tree, ["/t/app"]) == ["running"]).await;
            tree.stop().await;
            leak_check.check().await;
        });
    }
}

#[test]
fn a_restart_that_depends_on_an_unhealthy_sibling_fails_in_time_is_reported_and_is_retried() {
    paused(async {
        let leak_check = LeakCheck::new();
        let [db, app] = puppets(&leak_check, ["db", "app"]);
        let child = app.child().after_when("db", Condition::Healthy).start_within(s(10));
        let tree = Supervisor::new("t").child(db.child()).child(child).start().await.unwrap();
        let mut events = tree.events();
        db.health(Health::Degraded);
        eventually("it is unhealthy", || tree.snapshot().get("/t/db").unwrap().health != Health::Healthy)
            .await;
        app.fail("x");
        let mut reported = Vec::new();
        while reported.len() < 3 {
            let Some(EventOrLost::Event(event)) = events.next().await else { continue };
            if let EventKind::Exited { exit, .. } = &event.kind {
                reported.push((event.at.since(Time::ZERO).as_secs(), exit.to_string()));
            }
        }
        let why = "failed: it comes after db (healthy), which is ready but was not healthy in time";
        assert_eq!(reported[1].1, why);
        assert_eq!(reported[2].1, why);
        assert!(reported[1].0 >= reported[0].0 + 10 && reported[2].0 >= reported[1].0 + 11, "{reported:?}");
        assert_eq!(app.starts(), 1, "no attempt was begun");
        db.health(Health::Healthy);
        app.started(2).await;
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn if_a_restart_of_a_set_stops_a_one_shot_its_dependent_is_down_and_charged_for_nothing_until_the_supervisor_is_restarted()
 {
    paused(async {
        let leak_check = LeakCheck::new();
        let [first, job, app, web] = puppets(&leak_check, ["first", "job", "app", "web"]);
        let job_child = job.child().restart(Restart::Temporary);
        let app_child = app.child().after_when("job", Condition::Started).limit(Limit::new(3, s(1_000)));
        let children = [first.child(), job_child, app_child, web.child()];
        let nested = Supervisor::new("s").strategy(Strategy::OneForAll).children(children);
        let tree = Supervisor::new("t").child(nested).start().await.unwrap();
        first.fail("x");
        first.gone().await;
        // The app lacks its job. That uses up no limit, so only a command helps.
        tokio::time::sleep(s(1_000)).await;
        assert_ne!(states(&tree, ["/t/s/app"]), ["running"]);
        tree.restart_child("/t/s").await.unwrap();
        job.started(2).await;
        web.started(2).await;
        let paths = ["/t/s/first", "/t/s/job", "/t/s/app", "/t/s/web"];
        eventually("all run", || states(&tree, paths) == ["running"; 4]).await;
        tree.stop().await;
        leak_check.check().await;
    });
}
