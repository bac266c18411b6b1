//! Restarting: strategies, limits, backoff, escalation.

use liveoak_runtime::testing::{LeakCheck, Puppet, eventually, paused};
use liveoak_runtime::*;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn state(tree: &TreeHandle, path: &str) -> ChildState {
    tree.snapshot().get(path).unwrap().state.clone()
}

fn three(leak_check: &LeakCheck) -> [Puppet; 3] {
    ["a", "b", "c"].map(|name| leak_check.puppet(name).stopping_after(s(1)))
}

fn with_strategy(strategy: Strategy, puppets: &[Puppet; 3]) -> Supervisor {
    let children = puppets.iter().map(|puppet| puppet.child().backoff(None));
    Supervisor::new("t").strategy(strategy).children(children)
}

#[test]
fn a_running_sibling_in_a_restart_set_is_stopped_before_its_new_attempt_starts() {
    for (strategy, starts) in [
        (Strategy::OneForOne, [1, 2, 1]),
        (Strategy::RestForOne, [1, 2, 2]),
        (Strategy::OneForAll, [2, 2, 2]),
    ] {
        paused(async {
            let leak_check = LeakCheck::new();
            let puppets = three(&leak_check);
            let tree = with_strategy(strategy, &puppets).start().await.unwrap();
            puppets[1].fail("x");
            puppets[1].started(2).await;
            eventually("all of them", || puppets.iter().all(|puppet| puppet.live() == 1)).await;
            tokio::time::sleep(s(10)).await;
            assert_eq!(puppets.each_ref().map(Puppet::starts), starts, "{strategy:?}");
            assert!(!puppets.iter().any(Puppet::overlapped), "exactly one live attempt");
            tree.stop().await;
            assert!(puppets.iter().all(|puppet| puppet.live() == 0), "and none after shutdown");
            leak_check.check().await;
        });
    }
}

#[test]
fn a_restart_set_starts_in_declared_order_and_a_finished_sibling_does_not_delay_it() {
    paused(async {
        let log: Arc<Mutex<Vec<&str>>> = Arc::default();
        let child = |name: &'static str| {
            let log = Arc::clone(&log);
            Child::task(name, move |ctx: Ctx| {
                log.lock().unwrap().push(name);
                async move {
                    if name == "m" && ctx.attempt() == Attempt(1) {
                        ctx.sleep(s(1)).await;
                        return Err("x");
                    }
                    ctx.stopping().await;
                    Ok(())
                }
            })
        };
        let dead = Child::task("dead", |_ctx| async {}).restart(Restart::Temporary);
        // The declared order is not the order of the names.
        let tree = Supervisor::new("t")
            .strategy(Strategy::OneForAll)
            .child(child("z"))
            .child(dead)
            .child(child("m").backoff(None))
            .child(child("b"))
            .start()
            .await
            .unwrap();
        eventually("the restart of all", || log.lock().unwrap().len() == 6).await;
        assert_eq!(*log.lock().unwrap(), ["z", "m", "b", "z", "m", "b"]);
        tree.stop().await;
    });
}

#[test]
fn a_child_does_not_use_up_the_restart_limit_of_its_siblings() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppets: Vec<_> = (0..100).map(|n| leak_check.puppet(format!("p{n}"))).collect();
        let children = puppets.iter().map(|puppet| puppet.child().limit(Limit::new(1, s(60))));
        let tree = Supervisor::new("t").children(children).start().await.unwrap();
        puppets.iter().for_each(|puppet| puppet.fail("once each, all at once"));
        for puppet in &puppets {
            puppet.started(2).await;
        }
        assert!(tree.stop().await.is_clean());
        leak_check.check().await;
    });
}

#[test]
fn a_child_that_keeps_failing_just_below_the_limit_is_never_given_up_on() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppet = leak_check.puppet("a");
        let limit = Limit::new(3, s(10)).on_exceeded(GiveUp::QUARANTINE);
        let tree = Supervisor::new("t").intensity(limit).child(puppet.child().backoff(None));
        let tree = tree.start().await.unwrap();
        for attempt in 2..300 {
            tokio::time::sleep(Duration::from_millis(3400)).await;
            puppet.fail("below the rate");
            puppet.started(attempt).await;
        }
        // At the rate of the limit the child is given up on.
        for _ in 0..4 {
            tokio::time::sleep(s(2)).await;
            puppet.fail("above the rate");
        }
        tokio::time::sleep(s(100)).await;
        assert_eq!(state(&tree, "/t/a"), ChildState::Idle(IdleReason::Quarantined));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn giving_up_is_visible_in_the_event_the_state_the_exit_and_the_health_of_all_supervisors_above() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (dead, well) = (leak_check.puppet("dead"), leak_check.puppet("well"));
        let limit = Limit::new(0, s(10)).on_exceeded(GiveUp::QUARANTINE);
        let inner = Supervisor::new("inner").child(dead.child().limit(limit)).child(well.child());
        let tree = Supervisor::new("t").child(inner).start().await.unwrap();
        let mut events = tree.events();
        assert_eq!(tree.snapshot().root.health, Health::Healthy);
        dead.fail("at once");
        let gave_up = loop {
            match events.next().await {
                Some(EventOrLost::Event(Event { kind: EventKind::Quarantined(gave_up), .. })) => {
                    break gave_up;
                }
                Some(_) => {}
                None => panic!("no event about it"),
            }
        };
        assert_eq!((gave_up.path.as_str(), gave_up.count, gave_up.allowed), ("/t/inner/dead", 1, 0));
        let snapshot = tree.snapshot();
        assert_eq!(snapshot.get("/t/inner/dead").unwrap().state, ChildState::Idle(IdleReason::Quarantined));
        for path in ["/t/inner/dead", "/t/inner", "/t"] {
            assert_eq!(snapshot.get(path).unwrap().health, Health::Unhealthy, "{path}");
        }
        assert_eq!(well.live(), 1);
        // `start` gives it another chance.
        tree.start_child("/t/inner/dead").await.unwrap();
        assert_eq!(tree.snapshot().root.health, Health::Healthy);
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn escalation_passes_through_two_levels_and_names_the_child_the_exit_and_the_count() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (bad, beside) = (leak_check.puppet("bad"), leak_check.puppet("beside"));
        let limit = Limit::new(1, s(3600));
        let lowest = Supervisor::new("s2").intensity(limit).child(bad.child().backoff(None)).backoff(None);
        let middle = Supervisor::new("s1").intensity(limit).child(lowest).backoff(None);
        let tree =
            Supervisor::new("t").intensity(limit).child(middle).child(beside.child()).start().await.unwrap();
        // Each level allows one restart of its child: 2 × 2 × 2 attempts in all.
        for attempt in 1..=8 {
            bad.started(attempt).await;
            assert_eq!(beside.starts(), 1);
            bad.fail("always");
        }
        let ended = tree.join().await;
        assert_eq!(bad.starts(), 8);
        let Exit::GaveUp(gave_up) = &ended.exit else { panic!("{ended:?}") };
        assert_eq!((gave_up.path.as_str(), gave_up.count), ("/t/s1", 2));
        let text = ended.exit.to_string();
        for wanted in ["/t/s1", "/t/s1/s2", "/t/s1/s2/bad", "failed: always"] {
            assert!(text.contains(wanted), "{wanted} is missing: {text}");
        }
        leak_check.check().await;
    });
}

#[test]
fn jitter_differs_between_children() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppets: Vec<_> = (0..20).map(|n| leak_check.puppet(format!("p{n}"))).collect();
        let slow = Backoff { from: s(100), to: s(100), reset_after: s(1000), ..Backoff::default() };
        let children = puppets.iter().map(|puppet| puppet.child().backoff(slow));
        let tree = Supervisor::new("t").children(children).start().await.unwrap();
        puppets.iter().for_each(|puppet| puppet.fail("all at once"));
        tokio::task::yield_now().await;
        eventually("all of them", || {
            let snapshot = tree.snapshot();
            let is_waiting = |view: &ChildView| matches!(view.state, ChildState::BackingOff { .. });
            snapshot.root.children.iter().all(is_waiting)
        })
        .await;
        let mut delays: Vec<Duration> = Vec::new();
        for view in &tree.snapshot().root.children {
            if let ChildState::BackingOff { remaining } = view.state {
                delays.push(remaining);
            }
        }
        delays.sort();
        delays.dedup();
        assert_eq!(delays.len(), 20, "{delays:?}");
        assert!(delays[19] - delays[0] > s(20), "{delays:?}");
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_permanent_child_that_succeeds_immediately_is_backed_off() {
    paused(async {
        let starts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&starts);
        let child = Child::task("a", move |_ctx| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        let child = child.limit(Limit::unlimited());
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        tokio::time::sleep(s(600)).await;
        let starts = starts.load(Ordering::Relaxed);
        // The backoff grows from 100 ms to 30 s, with half of it on average: about 10 starts in the first minute, then 4 a
        // minute.
        assert!((20..150).contains(&starts), "{starts}");
        tree.stop().await;
    });
}

#[test]
fn a_finished_job_runs_again_when_its_supervisor_is_restarted() {
    paused(async {
        let leak_check = LeakCheck::new();
        let once = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&once);
        let one_shot = Child::task("once", move |_ctx| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        let bad = leak_check.puppet("bad");
        let inner = Supervisor::new("inner")
            .child(one_shot.restart(Restart::Temporary))
            .child(bad.child().limit(Limit::new(0, s(1))))
            .backoff(None);
        let tree = Supervisor::new("t").child(inner).start().await.unwrap();
        bad.fail("x");
        bad.started(2).await;
        assert_eq!(once.load(Ordering::Relaxed), 2);
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn two_children_that_fail_in_the_same_instant_under_one_for_all_are_restarted_once() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppets = three(&leak_check);
        let tree = with_strategy(Strategy::OneForAll, &puppets).start().await.unwrap();
        puppets[0].fail("both");
        puppets[2].panic("both");
        for puppet in &puppets {
            puppet.started(2).await;
        }
        tokio::time::sleep(s(10)).await;
        assert_eq!(puppets.each_ref().map(Puppet::live), [1, 1, 1]);
        assert!(puppets.iter().all(|puppet| puppet.starts() <= 3));
        assert!(tree.stop().await.is_clean());
        leak_check.check().await;
    });
}

#[test]
fn a_child_that_fails_while_its_restart_set_restarts_never_has_two_live_attempts() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppets = three(&leak_check);
        let tree = with_strategy(Strategy::OneForAll, &puppets).start().await.unwrap();
        for _ in 0..3 {
            let starts = puppets[1].starts();
            puppets[1].fail("first");
            puppets[1].started(starts + 1).await;
            // The next child is starting, or has just started.
            puppets[0].fail("second");
        }
        tokio::time::sleep(s(20)).await;
        assert_eq!(puppets.each_ref().map(Puppet::live), [1, 1, 1]);
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn the_whole_restart_set_waits_for_the_backoff_of_the_child_that_failed() {
    paused(async {
        let leak_check = LeakCheck::new();
        let [a, b, c] = three(&leak_check);
        let slow = Backoff { from: s(3600), to: s(3600), reset_after: s(10_000), ..Backoff::default() };
        let tree = Supervisor::new("t")
            .strategy(Strategy::OneForAll)
            .child(a.child())
            .child(b.child().backoff(slow))
            .child(c.child())
            .start()
            .await
            .unwrap();
        b.fail("x");
        tokio::time::sleep(s(4)).await;
        assert_eq!([a.live(), b.live(), c.live()], [0, 0, 0]);
        let ChildState::Waiting { what, remaining } = state(&tree, "/t/c") else {
            panic!("it does not wait")
        };
        assert_eq!(what, WaitingFor::RestartBackoff(Name::new("b").unwrap()));
        assert!(remaining.is_some());
        for puppet in [&a, &b, &c] {
            puppet.started(2).await;
        }
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn the_end_of_significant_children_ends_the_supervisor_with_success() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (main, helper) = (leak_check.puppet("main"), leak_check.puppet("helper"));
        let tree = Supervisor::new("t")
            .auto_shutdown(AutoShutdown::AnySignificant)
            .child(helper.child())
            .child(main.child().restart(Restart::Transient).significant())
            .start()
            .await
            .unwrap();
        main.complete();
        let ended = tree.join().await;
        assert!(matches!(ended.exit, Exit::AutoShutdown), "{ended:?}");
        assert_eq!(helper.live(), 0);
        leak_check.check().await;
    });
}

#[test]
fn without_capture_panics_a_panic_keeps_only_its_message() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppet = leak_check.puppet("a");
        // No test of this file calls `capture_panics`.
        let tree = Supervisor::new("t").child(puppet.child().backoff(None)).start().await.unwrap();
        puppet.panic("boom");
        puppet.started(2).await;
        let exit = tree.snapshot().root.children[0].last_exit.clone();
        let Some(Exit::Panicked(panic)) = exit else { panic!("{exit:?}") };
        assert_eq!((&*panic.message, &panic.location, &panic.backtrace), ("boom", &None, &None));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_quarantined_child_is_tried_again_after_retry_after_until_a_trial_is_stable() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (dead, well) = (leak_check.puppet("dead"), leak_check.puppet("well"));
        let give_up = GiveUp::Quarantine { retry_after: Some(s(300)) };
        let limited = dead.child().limit(Limit::new(0, s(10)).on_exceeded(give_up));
        let tree = Supervisor::new("t").strategy(Strategy::OneForAll).child(well.child()).child(limited);
        let tree = tree.start().await.unwrap();
        let view = |path: &str| tree.snapshot().get(path).unwrap().clone();
        let is_quarantined = || view("/t/dead").state == ChildState::Idle(IdleReason::Quarantined);
        dead.fail("the database is down");
        eventually("the child is quarantined", is_quarantined).await;
        for trial in 2..5 {
            assert!(view("/t/dead").retry_in.is_some_and(|retry_in| retry_in <= s(300)));
            tokio::time::sleep(s(300)).await;
            dead.started(trial).await;
            assert_eq!((view("/t/dead").trial, view("/t/dead").health), (true, Health::Unhealthy));
            dead.fail("it is still down");
            eventually("the child is quarantined again", is_quarantined).await;
        }
        tokio::time::sleep(s(300)).await;
        dead.started(5).await;
        tokio::time::sleep(s(11)).await;
        assert_eq!((view("/t/dead").trial, view("/t").health), (false, Health::Healthy));
        assert_eq!(view("/t/well").attempt, Attempt(1), "no trial touches a sibling");
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_constant_backoff_waits_exactly_as_long_before_every_restart() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppet = leak_check.puppet("a");
        let child = puppet.child().backoff(Backoff::constant(s(7))).limit(Limit::unlimited());
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        for attempt in 2..20 {
            let began = tokio::time::Instant::now();
            puppet.fail("again");
            puppet.started(attempt).await;
            assert_eq!(began.elapsed().as_secs(), 7, "attempt {attempt}");
        }
        tree.stop().await;
        leak_check.check().await;
    });
}
