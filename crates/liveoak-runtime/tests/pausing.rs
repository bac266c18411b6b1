//! Pause and resume, quarantine and release: as calls, by handles, and on many children at once.

use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

async fn until_stopped(ctx: Ctx) {
    ctx.stopping().await;
}

/// Returns a tree with `a`, which fails as soon as `fails` is set, and `b`.
async fn tree_with(fails: &Arc<AtomicBool>) -> Tree {
    let fails = Arc::clone(fails);
    let a = move |ctx: Ctx| {
        let fails = Arc::clone(&fails);
        async move {
            let failed = async {
                while !fails.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            match ctx.unless_stopping(failed).await {
                Some(()) => Err("boom"),
                None => Ok(()),
            }
        }
    };
    let tree = Supervisor::new("t").child(Child::task("a", a)).child(Child::task("b", until_stopped));
    tree.start().await.unwrap()
}

fn state(tree: &Tree, path: &str) -> (&'static str, bool) {
    let view = tree.snapshot().get(path).cloned().unwrap();
    (view.state.as_str(), view.paused)
}

#[test]
fn a_paused_child_that_fails_stays_down_until_it_is_resumed() {
    paused(async {
        let fails = Arc::new(AtomicBool::new(false));
        let tree = tree_with(&fails).await;
        assert!(matches!(tree.pause_child("/t/a").await, Ok(Outcome::Paused)));
        assert_eq!(state(&tree, "/t/a"), ("running", true));
        fails.store(true, Ordering::Relaxed);
        let a = tree.wait_for("/t/a", |a| a.state == ChildState::Idle(IdleReason::Paused)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!((state(&tree, "/t/a"), a.attempt.0), (("paused", true), 1));
        fails.store(false, Ordering::Relaxed);
        assert!(matches!(tree.resume_child("/t/a").await, Ok(Outcome::Ready { .. })));
        assert_eq!(state(&tree, "/t/a"), ("running", false));
        assert!(matches!(tree.resume_child("/t/b").await, Ok(Outcome::Resumed)));
        tree.stop().await;
    });
}

#[test]
fn a_quarantined_child_is_stopped_and_stays_down_until_it_is_released() {
    paused(async {
        let tree = tree_with(&Arc::default()).await;
        let a = tree.child("/t/a").unwrap();
        let Ok(Outcome::Quarantined(report)) = a.quarantine().await else { panic!("a was running") };
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((state(&tree, "/t/a").0, tree.snapshot().root.health), ("quarantined", Health::Unhealthy));
        assert!(matches!(a.release().await, Ok(Outcome::Ready { .. })));
        let refused = a.release().await.unwrap_err();
        assert_eq!(refused.to_string(), "the child is not quarantined: it is running");
        assert!(matches!(tree.quarantine_child("/t").await, Err(Refusal::IsRoot)));
        tree.stop().await;
    });
}

#[test]
fn the_events_and_the_history_say_who_paused_and_who_quarantined_a_child_and_why() {
    paused(async {
        let tree = tree_with(&Arc::default()).await;
        let mut events = tree.events();
        let ci = tree.by("ci").because("deploy");
        ci.begin_pause_child("/t/a").unwrap();
        ci.quarantine_child("/t/b").await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let Some(EventOrLost::Event(event)) = events.next().await else { panic!("the tree runs") };
            let origin = event.origin.as_ref().map(ToString::to_string);
            match &event.kind {
                EventKind::Paused | EventKind::Stopped { why: IdleReason::Quarantined, .. } => {
                    seen.push((event.path.as_str().to_owned(), event.kind.name(), origin));
                }
                _ => {}
            }
        }
        let by_ci = Some("by ci: deploy".to_owned());
        let expected = [("/t/a".to_owned(), "paused", by_ci.clone()), ("/t/b".to_owned(), "stopped", by_ci)];
        assert_eq!(seen, expected);
        let commands: Vec<_> = tree.snapshot().commands.iter().map(|command| command.command).collect();
        assert_eq!(commands, ["pause", "quarantine"]);
        tree.stop().await;
    });
}

#[test]
fn a_child_that_quarantines_itself_does_not_wait_for_itself() {
    paused(async {
        let body = |ctx: Ctx| async move {
            let refused = ctx.tree().quarantine_child("/t/a").await;
            assert!(matches!(refused, Err(Refusal::WouldWaitForItself { begun: true })), "{refused:?}");
            assert!(matches!(ctx.tree().pause_child("/t/a").await, Ok(Outcome::Paused)));
            ctx.stopping().await;
        };
        let tree = Supervisor::new("t").child(Child::task("a", body)).start().await.unwrap();
        tree.wait_for("/t/a", |a| a.state == ChildState::Idle(IdleReason::Quarantined)).await.unwrap();
        tree.stop().await;
    });
}

#[test]
fn a_plan_lists_what_a_pause_a_resume_a_quarantine_and_a_release_of_many_children_would_do() {
    paused(async {
        let tree = tree_with(&Arc::default()).await;
        let all = Glob::new("/t/*").unwrap();
        tree.pause_child("/t/a").await.unwrap();
        let plan = tree.plan(Command::Pause, &all);
        assert_eq!(plan.to_string(), "keep /t/a (running): it is paused already\npause /t/b (running)\n");
        for done in plan.run().await {
            assert!(matches!(done.result, Ok(Outcome::Paused)), "{done:?}");
        }
        let resume = tree.plan(Command::Resume, &all);
        assert_eq!(resume.to_string(), "resume /t/a (running)\nresume /t/b (running)\n");
        assert_eq!(resume.run().await.len(), 2);
        assert!(tree.plan(Command::Resume, &Glob::new("/t").unwrap()).is_empty());
        tree.quarantine_child("/t/b").await.unwrap();
        let release = tree.plan(Command::Release, &all);
        assert_eq!(
            release.to_string(),
            "keep /t/a (running): it is not quarantined\nrelease /t/b (quarantined)\n"
        );
        assert!(release.run().await.iter().all(|done| done.result.is_ok()));
        let plan = tree.plan(Command::Quarantine, &Glob::new("/**").unwrap());
        assert_eq!(
            plan.to_string(),
            "quarantine /t/b (running)\nquarantine /t/a (running)\nkeep /t (running): the root can only be stopped\n"
        );
        tree.stop().await;
    });
}
