//! Handles of single children: commands, exits and readiness; waits for any state; filtered events.

use liveoak_runtime::testing::{LeakCheck, paused};
use liveoak_runtime::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn until_stopped(ctx: Ctx) {
    ctx.stopping().await;
}

#[test]
fn a_handle_by_path_by_id_from_an_addition_and_of_a_member_commands_the_same_child() {
    paused(async {
        let members = Group::new("g", |ctx: Ctx, (): ()| until_stopped(ctx));
        let adds = members.handle();
        let tree =
            Supervisor::new("t").child(Child::task("a", until_stopped)).child(members).start().await.unwrap();
        let added = tree.add_child("/t", Child::task("b", until_stopped)).await.unwrap();
        assert!(matches!(added.outcome, Outcome::Ready { .. }));
        let by_path = tree.child("/t/a").unwrap();
        let handles = [
            by_path.clone(),
            tree.child_by_id(by_path.id()).unwrap(),
            added.child,
            tree.begin_add_child("/t", Child::task("c", until_stopped)).unwrap(),
            adds.spawn(()).unwrap(),
            adds.start(Some(Name::new("m").unwrap()), ()).await.unwrap(),
        ];
        for handle in &handles {
            let before = handle.view().unwrap().attempt;
            let Ok(Outcome::Ready { id, attempt }) = handle.restart().await else { panic!("{handle:?}") };
            assert_eq!((id, attempt.0), (handle.id(), before.0 + 1), "{handle:?}");
            assert!(matches!(handle.stop().await, Ok(Outcome::Stopped(_))));
            assert!(matches!(handle.start().await, Ok(Outcome::Ready { .. })));
            handle.begin_stop().unwrap();
            assert!(matches!(handle.ready().await, Err(Refusal::Down { state: "stopped" })));
            handle.begin_start().unwrap();
            handle.begin_restart().unwrap();
            assert!(matches!(handle.ready().await, Ok(Outcome::Ready { .. })));
        }
        assert!(tree.child("/t/absent").is_err());
        assert!(matches!(by_path.remove().await, Ok(Outcome::Removed(_))));
        assert!(matches!(by_path.stop().await, Err(Refusal::NotFound)));
        assert!(matches!(by_path.exited().await, Err(Refusal::NotFound)));
        assert!(by_path.view().is_none() && by_path.path().is_none());
        // The next child of that path is another child.
        tree.add_child("/t", Child::task("a", until_stopped)).await.unwrap();
        assert!(matches!(by_path.begin_restart(), Err(Refusal::NotFound)));
        tree.stop().await;
    });
}

#[test]
fn exited_returns_the_exit_of_the_attempt_that_ran_at_the_call() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a");
        let tree = Supervisor::new("t").child(a.child().backoff(None)).start().await.unwrap();
        let handle = tree.child("/t/a").unwrap();
        let waits = |handle: &ChildHandle| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.exited().await })
        };
        let first = waits(&handle);
        tokio::task::yield_now().await;
        a.fail("one");
        a.started(2).await;
        let second = waits(&handle);
        tokio::task::yield_now().await;
        a.fail("two");
        let told = |exited: Result<Exited, Refusal>| {
            let exited = exited.unwrap();
            (exited.attempt.0, exited.exit.to_string())
        };
        assert_eq!(told(first.await.unwrap()), (1, "failed: one".to_owned()));
        assert_eq!(told(second.await.unwrap()), (2, "failed: two".to_owned()));
        a.started(3).await;
        let waiting = waits(&handle);
        tokio::task::yield_now().await;
        tree.stop().await;
        assert_eq!(told(waiting.await.unwrap()).0, 3);
        assert_eq!(told(handle.exited().await).0, 3, "also after the end of the tree");
        leak_check.check().await;
    });
}

#[test]
fn the_exit_of_a_spawned_child_is_known_to_each_clone_of_its_handle_after_it_left_the_tree() {
    paused(async {
        let told = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&told);
        let body = move |ctx: Ctx| {
            let told = Arc::clone(&theirs);
            async move {
                let job = spawn("job", async { Err::<(), _>("no paper") }).unwrap();
                tokio::time::sleep(s(5)).await;
                let clone = job.clone();
                let other = ctx.spawn(async move { clone.exited().await.unwrap().exit.to_string() });
                let exits = [job.exited().await.unwrap().exit.to_string(), other.await.unwrap()];
                told.lock().unwrap().extend(exits);
                ctx.stopping().await;
            }
        };
        let tree = Supervisor::new("t").child(Child::task("a", body)).start().await.unwrap();
        let late = Child::once("late", |_| async { Err::<(), _>("late") });
        let late = tree.begin_add_child("/t", late).unwrap();
        tokio::time::sleep(s(10)).await;
        assert!(late.view().is_none(), "it has left the tree");
        assert_eq!(late.exited().await.unwrap().exit.to_string(), "failed: late");
        assert_eq!(*told.lock().unwrap(), ["failed: no paper", "failed: no paper"]);
        tree.stop().await;
    });
}

#[test]
fn a_member_that_is_run_returns_its_exit_however_early_it_leaves_the_tree() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let group = Group::<u32>::temporary("g", |_ctx, n| async move {
            if n % 2 == 0 { Ok(()) } else { Err(format!("odd {n}")) }
        });
        let members = group.handle();
        assert!(matches!(members.members(), Err(Refusal::SupervisorDown)));
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        for n in 0..200 {
            let exit = members.run(n).await.unwrap();
            assert_eq!(!exit.is_failure(), n % 2 == 0, "{n}: {exit}");
        }
        tree.stop().await;
        assert!(members.run(1).await.is_err());
    });
}

#[test]
fn the_members_of_a_group_are_listed_in_the_order_of_their_addition() {
    paused(async {
        let group = Group::<()>::new("g", |ctx, ()| until_stopped(ctx));
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        let added: Vec<ChildId> = (0..3).map(|_| members.spawn(()).unwrap().id()).collect();
        let listed: Vec<ChildId> = members.members().unwrap().iter().map(ChildHandle::id).collect();
        assert_eq!(listed, added);
        members.members().unwrap()[1].remove().await.unwrap();
        assert_eq!(members.members().unwrap().len(), 2);
        assert_eq!(members.group().unwrap().path().unwrap().as_str(), "/t/g");
        tree.stop().await;
    });
}

#[test]
fn a_child_that_waits_for_its_own_exit_or_readiness_is_refused_immediately() {
    paused(async {
        let told = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&told);
        let body = move |ctx: Ctx| {
            let told = Arc::clone(&theirs);
            async move {
                for path in ["/t/a", "/t"] {
                    let handle = ctx.tree().child(path).unwrap();
                    let subtask = handle.clone();
                    let subtask = ctx.spawn(async move { format!("{:?}", subtask.exited().await.map(drop)) });
                    let refused = [
                        format!("{:?}", handle.ready().await),
                        format!("{:?}", handle.exited().await.map(drop)),
                        subtask.await.unwrap(),
                    ];
                    told.lock().unwrap().extend(refused);
                }
                ctx.ready();
                let own = ctx.tree().child("/t/a").unwrap();
                // It ends with the request to stop.
                ctx.unless_stopping(own.exited()).await;
            }
        };
        let tree = Supervisor::new("t").child(Child::task("a", body).reports_ready()).start().await.unwrap();
        let refused = "Err(WouldWaitForItself { begun: false })";
        assert_eq!(*told.lock().unwrap(), [refused; 6]);
        assert!(tree.stop().await.is_clean());
    });
}

#[test]
fn ready_waits_over_restarts_and_ends_when_the_child_is_given_up_on_or_the_tree_ends() {
    paused(async {
        let a = testing::Puppet::new("a").slow_to_start();
        let limit = Limit { give_up: GiveUp::QUARANTINE, ..Limit::new(2, s(60)) };
        let child = a.child().limit(limit).start_within(s(5));
        let tree = Supervisor::new("t").first_start(FirstStart::Retry).child(child).begin().unwrap();
        let handle = tree.child("/t/a").unwrap();
        let waits = {
            let handle = handle.clone();
            tokio::spawn(async move { handle.ready().await })
        };
        a.fail("first");
        a.started(2).await;
        assert!(!waits.is_finished());
        a.ready();
        assert!(matches!(waits.await.unwrap(), Ok(Outcome::Ready { attempt: Attempt(2), .. })));
        a.fail("second");
        a.started(3).await;
        a.fail("third");
        let given_up = handle.ready().await;
        assert!(matches!(given_up, Err(Refusal::Down { state: "quarantined" })), "{given_up:?}");
        handle.begin_start().unwrap();
        let waits = tokio::spawn(async move { handle.ready().await });
        tokio::task::yield_now().await;
        tree.kill().await;
        assert!(waits.await.unwrap().is_err());
    });
}

#[test]
fn a_wait_for_a_state_sees_what_holds_already_what_comes_later_and_the_end_of_the_tree() {
    paused(async {
        let a = testing::Puppet::new("a");
        let inner = Supervisor::new("s").child(a.child());
        let tree = Supervisor::new("t").child(inner).start().await.unwrap();
        let running = tree.wait_for("/t/s/a", |view| view.state == ChildState::Running).await.unwrap();
        assert_eq!(running.attempt.0, 1);
        let wait = |path: &str, wanted: fn(&ChildView) -> bool| {
            let (tree, path) = (tree.handle(), path.to_owned());
            tokio::spawn(async move { tree.wait_for(path, wanted).await })
        };
        let third = wait("/t/s/a", |view| view.attempt.0 == 3);
        let whole = wait("/t", |view| view.children[0].children[0].restarts == 2);
        let added = wait("/t/s/b", |_| true);
        let health = wait("/t", |view| view.health == Health::Unhealthy);
        let never = wait("/t/s/a", |view| view.attempt.0 == 99);
        tokio::task::yield_now().await;
        a.fail("x");
        a.started(2).await;
        assert!(!third.is_finished());
        a.fail("x");
        assert_eq!(third.await.unwrap().unwrap().attempt.0, 3);
        assert_eq!(whole.await.unwrap().unwrap().path.as_str(), "/t");
        tree.add_child("/t/s", Child::task("b", until_stopped)).await.unwrap();
        assert_eq!(added.await.unwrap().unwrap().path.as_str(), "/t/s/b");
        a.started(3).await;
        a.health(Health::Unhealthy);
        assert!(health.await.unwrap().is_ok());
        tree.stop().await;
        assert!(matches!(never.await.unwrap(), Err(Refusal::TreeEnded)));
        // What holds at the end is still seen.
        let over = tree.wait_for("/t/s/a", |view| matches!(view.state, ChildState::Idle(_))).await;
        assert!(over.is_ok());
    });
}

#[test]
fn waits_for_a_state_lose_no_wake_up_while_other_threads_change_the_tree() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tree = Supervisor::new("t").child(Child::task("a", until_stopped)).start().await.unwrap();
        for attempt in 2..300 {
            let handle = tree.handle();
            let waits = tokio::spawn(async move {
                let handle = handle;
                let reached = handle.wait_for("/t/a", |view| view.attempt.0 >= attempt).await;
                reached.map(|view| view.attempt.0)
            });
            let exited = {
                let child = tree.child("/t/a").unwrap();
                tokio::spawn(async move { child.exited().await.unwrap().attempt.0 })
            };
            tree.restart_child("/t/a").await.unwrap();
            assert_eq!(waits.await.unwrap().unwrap(), attempt);
            // If the wait began late, it is for the new attempt.
            if !exited.is_finished() {
                exited.abort();
            }
        }
        tree.stop().await;
    });
}

#[test]
fn a_filter_lets_only_events_of_its_paths_kinds_and_severity_pass_and_loses_none_of_them() {
    paused(async {
        let (a, b) = (testing::Puppet::new("a"), testing::Puppet::new("b"));
        let children = [a.child(), b.child()].map(|child| child.backoff(None));
        let tree = Supervisor::new("t").child(Supervisor::new("s").children(children)).start().await.unwrap();
        let exits = |kind: &EventKind| matches!(kind, EventKind::Exited { .. });
        let below = Glob::new("/t/s/*").unwrap();
        let mut of_a = tree
            .events_where(EventFilter::new().path(Glob::exactly(&Path::new("/t/s/a"))).least(Severity::Warn));
        let mut all_exits = tree.events_where(EventFilter::new().path(below).kind(exits));
        b.fail("b");
        b.started(2).await;
        a.fail("a");
        a.started(2).await;
        async fn next(events: &mut Events) -> String {
            let event = testing::next_event(events).await;
            format!("{} {}", event.path, event.kind.name())
        }
        assert_eq!(next(&mut of_a).await, "/t/s/a exited");
        assert_eq!(next(&mut all_exits).await, "/t/s/b exited");
        assert_eq!(next(&mut all_exits).await, "/t/s/a exited");
        tree.stop().await;
        assert_eq!(next(&mut all_exits).await, "/t/s/b exited");
        assert_eq!(next(&mut all_exits).await, "/t/s/a exited");
        assert!(all_exits.next().await.is_none());
        assert!(of_a.next().await.is_none());
    });
}

#[test]
#[should_panic(expected = "/t/a was not in its third attempt in time")]
fn a_wait_of_the_testing_kit_fails_the_test_with_the_state_of_the_child() {
    paused(async {
        let tree = Supervisor::new("t").child(Child::task("a", until_stopped)).start().await.unwrap();
        testing::wait_for(&tree, "/t/a", "running", |view| view.state == ChildState::Running).await;
        testing::wait_for(&tree, "/t/a", "in its third attempt", |view| view.attempt.0 == 3).await;
    });
}

#[test]
fn a_reader_with_a_filter_that_is_too_slow_is_told_that_it_has_lost_events() {
    paused(async {
        let a = testing::Puppet::new("a");
        let child = a.child().backoff(None).limit(Limit::unlimited());
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        let mut nothing = tree.events_where(EventFilter::new().kind(|_| false));
        let waits = {
            let tree = tree.handle();
            tokio::spawn(async move { tree.wait_for("/t/a", |view| view.attempt.0 == 2_000).await })
        };
        for attempt in 2..=2_000 {
            a.fail("x");
            a.started(attempt).await;
        }
        assert_eq!(waits.await.unwrap().unwrap().attempt.0, 2_000);
        tree.stop().await;
        let mut lost = 0;
        while let Some(next) = nothing.next().await {
            let EventOrLost::Lost(count) = next else { panic!("{next:?}") };
            lost += count;
        }
        assert!(lost > 1_000, "{lost}");
    });
}
