//! Starting: order, readiness, deadlines, edges, and the error of a failed first start.

use liveoak_runtime::testing::{LeakCheck, eventually, paused};
use liveoak_runtime::*;
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn state(tree: &TreeHandle, path: &str) -> ChildState {
    tree.snapshot().get(path).unwrap().state.clone()
}

#[test]
fn the_next_child_starts_when_the_one_before_is_ready() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (a, b) = (leak_check.puppet("a").slow_to_start(), leak_check.puppet("b"));
        let tree = Supervisor::new("t").child(a.child()).child(b.child()).begin().unwrap();
        tokio::time::sleep(s(20)).await;
        assert_eq!((a.starts(), b.starts()), (1, 0));
        let what = WaitingFor::Turn(Name::new("a").unwrap());
        assert_eq!(state(&tree, "/t/b"), ChildState::Waiting { what, remaining: Some(s(10)) });
        a.ready();
        tree.ready().await.unwrap();
        assert_eq!((a.live(), b.live()), (1, 1));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_child_that_is_not_ready_in_time_fails_the_start_with_its_path_and_cause() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (a, b) = (leak_check.puppet("a"), leak_check.puppet("b").slow_to_start());
        let nested = Supervisor::new("nested").child(b.child().start_within(s(7)));
        let error = Supervisor::new("t").child(a.child()).child(nested).start().await.unwrap_err();
        let StartError::Failed { failure, report } = &error else { panic!("{error:?}") };
        assert_eq!(failure.path.as_str(), "/t/nested/b");
        assert!(matches!(failure.exit, Exit::StartTimeout(within) if within == s(7)), "{failure:?}");
        assert!(report.is_clean(), "{report:?}");
        assert!(error.to_string().starts_with("/t/nested/b failed to start: not ready within 7s"), "{error}");
        assert_eq!((a.starts(), b.starts()), (1, 1));
        leak_check.check().await;
    });
}

#[test]
fn a_failed_first_start_stops_the_started_children_in_reverse_order() {
    paused(async {
        let leak_check = LeakCheck::new();
        let [a, b] = ["a", "b"].map(|name| leak_check.puppet(name).stopping_after(s(1)));
        let bad = leak_check.puppet("bad").slow_to_start();
        bad.fail("no disk");
        let error = Supervisor::new("t")
            .child(a.child())
            .child(b.child())
            .child(bad.child())
            .start()
            .await
            .unwrap_err();
        let StartError::Failed { failure, report } = error else { panic!("{error:?}") };
        assert_eq!(failure.exit.to_string(), "failed: no disk");
        let names: Vec<_> = report.entries.iter().map(|entry| entry.path.name().to_owned()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(bad.starts(), 1, "a first start is not retried");
        leak_check.check().await;
    });
}

#[test]
fn a_dependency_declared_later_works() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (user, db) = (leak_check.puppet("user"), leak_check.puppet("db").slow_to_start());
        let tree = Supervisor::new("t").child(user.child().after("db")).child(db.child()).begin().unwrap();
        tokio::time::sleep(s(5)).await;
        assert_eq!((user.starts(), db.starts()), (0, 1));
        db.ready();
        tree.ready().await.unwrap();
        assert_eq!(user.live(), 1);
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_child_that_never_becomes_ready_times_out_while_commands_are_served() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (db, other) = (leak_check.puppet("db").slow_to_start(), leak_check.puppet("other"));
        let tree = Supervisor::new("t")
            .order(Order::Edges)
            .child(other.child())
            .child(db.child().start_within(s(60)))
            .child(leak_check.puppet("user").child().after("db"))
            .begin()
            .unwrap();
        tokio::time::sleep(s(1)).await;
        let done = tree.restart_child("/t/other").await;
        assert!(matches!(done, Ok(Outcome::Ready { attempt: Attempt(2), .. })), "{done:?}");
        let Err(ended) = tree.ready().await else { panic!("it cannot be ready") };
        let Exit::StartFailed(failure) = &ended.exit else { panic!("{ended:?}") };
        assert_eq!(failure.path.as_str(), "/t/db");
        assert_eq!(tree.now().since(Time::ZERO), s(60));
        leak_check.check().await;
    });
}

#[test]
fn with_order_edges_children_whose_edges_hold_start_side_by_side() {
    paused(async {
        let leak_check = LeakCheck::new();
        let [a, b] = ["a", "b"].map(|name| leak_check.puppet(name).slow_to_start());
        let c = leak_check.puppet("c");
        let tree = Supervisor::new("t")
            .order(Order::Edges)
            .child(a.child())
            .child(b.child())
            .child(c.child().after("a").after_when("b", Condition::Started))
            .begin()
            .unwrap();
        tokio::time::sleep(s(1)).await;
        assert_eq!((a.starts(), b.starts(), c.starts()), (1, 1, 0));
        a.ready();
        c.started(1).await;
        b.ready();
        tree.ready().await.unwrap();
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_child_waits_until_its_dependencies_are_healthy_or_completed() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (once, weak, last) =
            (leak_check.puppet("once"), leak_check.puppet("weak"), leak_check.puppet("last"));
        weak.health(Health::Degraded);
        let tree = Supervisor::new("t")
            .order(Order::Edges)
            .child(once.child().restart(Restart::Temporary))
            .child(weak.child())
            .child(
                last.child().after_when("once", Condition::Completed).after_when("weak", Condition::Healthy),
            )
            .begin()
            .unwrap();
        tokio::time::sleep(s(1)).await;
        once.complete();
        tokio::time::sleep(s(1)).await;
        let what = WaitingFor::Edge(Name::new("weak").unwrap(), Condition::Healthy);
        assert_eq!(state(&tree, "/t/last"), ChildState::Waiting { what, remaining: Some(s(28)) });
        weak.health(Health::Healthy);
        tree.ready().await.unwrap();
        assert_eq!(last.live(), 1);
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn unknown_names_cycles_and_duplicates_are_reported_together_before_anything_starts() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppet = leak_check.puppet("a");
        let error = Supervisor::new("t")
            .child(puppet.child().after("absent"))
            .child(puppet.child())
            .child(leak_check.puppet("x").child().after("y"))
            .child(leak_check.puppet("y").child().after("x"))
            .child(leak_check.puppet("bad/name").child())
            .child(leak_check.puppet("z").child().after("no/such"))
            .start()
            .await
            .unwrap_err();
        let text = error.to_string();
        for wanted in ["absent", "used twice", "x after y after x", "bad/name", "no|such"] {
            assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
        }
        assert_eq!(puppet.starts(), 0);
        leak_check.check().await;
    });
}

#[test]
fn a_nested_supervisor_is_ready_when_its_children_are() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (inner, after) = (leak_check.puppet("inner").slow_to_start(), leak_check.puppet("after"));
        let tree = Supervisor::new("t")
            .child(Supervisor::new("s1").child(Supervisor::new("s2").child(inner.child())))
            .child(after.child())
            .begin()
            .unwrap();
        tokio::time::sleep(s(1)).await;
        assert!(matches!(state(&tree, "/t/s1"), ChildState::Starting { .. }));
        assert_eq!(after.starts(), 0);
        inner.ready();
        tree.ready().await.unwrap();
        assert_eq!(after.live(), 1);
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn run_ends_when_all_children_have_finished() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppets: Vec<_> = (0..3).map(|n| leak_check.puppet(format!("p{n}"))).collect();
        let children = puppets.iter().map(|puppet| puppet.child().restart(Restart::Transient));
        let run = tokio::spawn(Supervisor::new("t").child(Supervisor::new("inner").children(children)).run());
        for puppet in &puppets {
            puppet.started(1).await;
            puppet.complete();
            assert!(!run.is_finished());
        }
        run.await.unwrap().unwrap();
        leak_check.check().await;
    });
}

#[test]
fn run_returns_the_failed_start_and_the_give_up_as_errors() {
    paused(async {
        let leak_check = LeakCheck::new();
        let bad = leak_check.puppet("bad").slow_to_start();
        bad.fail("no disk");
        let error = Supervisor::new("t").child(bad.child()).run().await.unwrap_err();
        assert!(matches!(&error, Error::Start(StartError::Failed { .. })), "{error:?}");
        let worse = leak_check.puppet("worse");
        let child = worse.child().backoff(None).limit(Limit::new(2, s(60)));
        let run = tokio::spawn(Supervisor::new("t").child(child).run());
        for attempt in 1..=3 {
            worse.started(attempt).await;
            worse.fail("always");
        }
        let error = run.await.unwrap().unwrap_err();
        let Error::Failed(ended) = &error else { panic!("{error:?}") };
        let Exit::GaveUp(gave_up) = &ended.exit else { panic!("{ended:?}") };
        assert_eq!((gave_up.path.as_str(), gave_up.count, gave_up.allowed), ("/t/worse", 3, 2));
        assert_eq!(gave_up.exit.to_string(), "failed: always");
        leak_check.check().await;
    });
}

#[test]
fn a_tree_with_nothing_in_it_is_ready_and_stops() {
    paused(async {
        let tree = Supervisor::new("t").start().await.unwrap();
        let report = tree.stop().await;
        assert!(report.is_clean() && report.entries.is_empty());
        Supervisor::new("t").run().await.unwrap();
        eventually("nothing more", || true).await;
    });
}

#[test]
fn no_more_children_and_members_than_allowed_are_starting_and_the_others_say_that_they_wait_for_a_place() {
    paused(async {
        let slow = |ctx: Ctx| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ctx.ready();
            ctx.stopping().await;
        };
        let pool = Group::new("pool", move |ctx, _: std::sync::Arc<u32>| slow(ctx));
        let pool = pool.reports_ready(Duration::from_secs(9)).max_starting(1);
        let jobs = pool.handle();
        let names = ["a", "b", "c", "d", "e"];
        let children = names.map(|name| Child::task(name, slow).reports_ready());
        let tree = Supervisor::new("t").order(Order::Edges).max_starting(2).children(children).child(pool);
        let tree = tree.begin().expect("a good spec");
        let waits =
            |view: &ChildView| matches!(view.state, ChildState::Waiting { what: WaitingFor::Place, .. });
        tree.wait_for("/t/e", waits).await.expect("it waits");
        let began = tree.now();
        tree.ready().await.expect("it starts");
        assert_eq!(tree.now().since(began), Duration::from_secs(3), "two at a time");
        let members: Vec<_> = (0..3).map(|n| jobs.spawn(std::sync::Arc::new(n)).expect("a member")).collect();
        assert!(members[2].view().is_some_and(|view| waits(&view)));
        members[2].ready().await.expect("it starts");
        assert_eq!(tree.now().since(began), Duration::from_secs(6), "one after another");
        let explained = tree.explain("/t/a").expect("a child");
        assert!(explained.to_string().contains("running"));
    });
}
