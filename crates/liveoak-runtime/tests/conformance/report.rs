//! Row C51: reports. Every transition is an event with a severity; failures are warnings, giving up is an error.

use crate::stage::{Stage, play, s};
use liveoak_runtime::testing::Puppet;
use liveoak_runtime::*;
use std::time::Duration;

/// Reads what there is now: severity, path and word of each event.
async fn told(events: &mut Events) -> Vec<(Severity, String, &'static str)> {
    let mut told = Vec::new();
    while let Ok(Some(EventOrLost::Event(event))) =
        tokio::time::timeout(Duration::from_millis(1), events.next()).await
    {
        told.push((event.kind.severity(), event.path.to_string(), event.kind.name()));
    }
    told
}

/// Without what is part of ordinary life.
async fn reported(events: &mut Events) -> Vec<String> {
    let mut told = told(events).await;
    told.retain(|(severity, ..)| *severity > Severity::Debug);
    told.into_iter().map(|(severity, path, word)| format!("{severity:?} {path} {word}")).collect()
}

#[test]
fn c51_an_exit_is_a_report_whose_severity_says_whether_it_was_a_failure() {
    for (restart, exit, severity, follows) in [
        (Restart::Permanent, Exit::failed("x"), Severity::Warn, "Info /t/a ready"),
        (Restart::Transient, Exit::failed("x"), Severity::Warn, "Info /t/a ready"),
        (Restart::Temporary, Exit::failed("x"), Severity::Warn, "Info /t/a finished"),
        (Restart::Permanent, Exit::Completed, Severity::Debug, "Info /t/a ready"),
        (Restart::Transient, Exit::Completed, Severity::Debug, "Info /t/a finished"),
        (Restart::Temporary, Exit::Completed, Severity::Debug, "Info /t/a finished"),
    ] {
        play(async {
            let stage = Stage::new();
            let a = stage.actor("a");
            let tree = Supervisor::new("t").child(a.child().restart(restart)).start().await.unwrap();
            let (_, mut events) = tree.watch();
            let case = format!("{restart:?} {exit}");
            tokio::time::sleep(s(7)).await;
            a.end(exit.clone());
            let Some(EventOrLost::Event(event)) = events.next().await else { panic!("{case}: no report") };
            assert_eq!((event.path.as_str(), event.kind.severity()), ("/t/a", severity), "{case}");
            assert_eq!(tree.snapshot().get("/t/a").map(|view| view.id), Some(event.id), "{case}");
            let EventKind::Exited { attempt, exit: told, ran, stopping } = event.kind else {
                panic!("{case}: {event:?}")
            };
            assert_eq!((attempt, ran, stopping), (Attempt(1), s(7), false), "{case}");
            assert_eq!(told.to_string(), exit.to_string(), "{case}");
            assert_eq!(reported(&mut events).await, [follows], "{case}");
            stage.end(tree).await;
        });
    }
}

#[test]
fn c51_a_start_is_told_as_progress_and_a_failed_first_start_as_an_error() {
    play(async {
        let stage = Stage::new();
        let a = stage.actor("a");
        let bad = stage.actor_that("bad", Puppet::slow_to_start);
        let tree = Supervisor::new("t").child(a.child()).child(bad.child()).begin().unwrap();
        let (_, mut events) = tree.watch();
        assert_eq!(reported(&mut events).await, ["Info /t/a ready"]);
        bad.fail("no disk");
        assert_eq!(
            reported(&mut events).await,
            ["Warn /t/bad exited", "Error /t start-failed", "Info /t/a stopped"]
        );
        assert!(matches!(tree.join().await.exit, Exit::StartFailed(_)));
        stage.ended().await;
    });
}

#[test]
fn c51_giving_up_is_an_error_of_the_supervisor_that_names_the_child_its_exit_and_the_count() {
    play(async {
        let stage = Stage::new();
        let a = stage.actor("a");
        let nested = Supervisor::new("s").intensity(Limit::new(0, s(5))).child(a.child()).backoff(None);
        let tree = Supervisor::new("t").child(nested).start().await.unwrap();
        let (_, mut events) = tree.watch();
        a.fail("no disk");
        let gave_up = loop {
            match events.next().await {
                Some(EventOrLost::Event(Event { kind: EventKind::GaveUp(gave_up), .. })) => break gave_up,
                Some(EventOrLost::Event(_)) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            gave_up.to_string(),
            "gave up on /t/s/a: 1 restarts within 5s are more than the limit of its supervisor, 0; \
             its last exit: failed: no disk"
        );
        let after = reported(&mut events).await;
        assert_eq!(after, ["Info /t/s/a ready", "Info /t/s ready"], "it is one error, and told once");
        stage.end(tree).await;
    });
}

#[test]
fn c51_a_stop_that_needs_force_is_a_warning_and_one_that_does_not_is_none() {
    play(async {
        let stage = Stage::new();
        let (polite, deaf) = (stage.actor("polite"), stage.actor_that("deaf", Puppet::ignoring_stop));
        let tree = Supervisor::new("t").child(deaf.child()).child(polite.child()).start().await.unwrap();
        let (_, mut events) = tree.watch();
        tree.stop().await;
        assert_eq!(
            reported(&mut events).await,
            ["Info /t/polite stopped", "Warn /t/deaf killed", "Info /t/deaf stopped"]
        );
        stage.ended().await;
    });
}
