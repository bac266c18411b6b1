//! Row C51: reports. Every transition is an event with a severity: a failure is a warning, giving up is an error.

use crate::fixture::{Fixture, run_paused, s};
use liveoak_runtime::testing::Puppet;
use liveoak_runtime::*;
use std::time::Duration;

/// Reads the events that there are now. Returns the severity, the path and the word of each event.
async fn read_all(events: &mut Events) -> Vec<(Severity, String, &'static str)> {
    let mut seen = Vec::new();
    while let Ok(Some(EventOrLost::Event(event))) =
        tokio::time::timeout(Duration::from_millis(1), events.next()).await
    {
        seen.push((event.severity, event.path.to_string(), event.kind.name()));
    }
    seen
}

/// Reads the events that there are now. Returns those above the severity `Debug`, as text.
async fn reported(events: &mut Events) -> Vec<String> {
    let mut seen = read_all(events).await;
    seen.retain(|(severity, ..)| *severity > Severity::Debug);
    seen.into_iter().map(|(severity, path, word)| format!("{severity:?} {path} {word}")).collect()
}

#[test]
fn c51_an_exit_is_an_event_whose_severity_says_whether_it_was_a_failure() {
    for (restart, exit, severity, follows) in [
        (Restart::Permanent, Exit::failed("x"), Severity::Warn, "Info /t/a ready"),
        (Restart::Transient, Exit::failed("x"), Severity::Warn, "Info /t/a ready"),
        (Restart::Temporary, Exit::failed("x"), Severity::Warn, "Info /t/a finished"),
        (Restart::Permanent, Exit::Completed, Severity::Debug, "Info /t/a ready"),
        (Restart::Transient, Exit::Completed, Severity::Debug, "Info /t/a finished"),
        (Restart::Temporary, Exit::Completed, Severity::Debug, "Info /t/a finished"),
    ] {
        run_paused(async {
            let fixture = Fixture::new();
            let a = fixture.puppet("a");
            let tree = Supervisor::new("t").child(a.child().restart(restart)).start().await.unwrap();
            let (_, mut events) = tree.watch();
            let case = format!("{restart:?} {exit}");
            tokio::time::sleep(s(7)).await;
            a.end(exit.clone());
            let Some(EventOrLost::Event(event)) = events.next().await else { panic!("{case}: no event") };
            assert_eq!((event.path.as_str(), event.severity), ("/t/a", severity), "{case}");
            assert_eq!(tree.snapshot().get("/t/a").map(|view| view.id), Some(event.id), "{case}");
            let EventKind::Exited { attempt, exit: reported_exit, ran, stopped_by_others } = event.kind
            else {
                panic!("{case}: {event:?}")
            };
            assert_eq!((attempt, ran, stopped_by_others), (Attempt(1), s(7), false), "{case}");
            assert_eq!(reported_exit.to_string(), exit.to_string(), "{case}");
            assert_eq!(reported(&mut events).await, [follows], "{case}");
            fixture.end(tree).await;
        });
    }
}

#[test]
fn c51_a_start_is_reported_as_progress_and_a_failed_first_start_as_an_error() {
    run_paused(async {
        let fixture = Fixture::new();
        let a = fixture.puppet("a");
        let bad = fixture.puppet_with("bad", Puppet::slow_to_start);
        let tree = Supervisor::new("t").child(a.child()).child(bad.child()).begin().unwrap();
        let (_, mut events) = tree.watch();
        assert_eq!(reported(&mut events).await, ["Info /t/a ready"]);
        bad.fail("no disk");
        assert_eq!(
            reported(&mut events).await,
            ["Warn /t/bad exited", "Error /t start-failed", "Info /t/a stopped", "Info /t exited"]
        );
        assert!(matches!(tree.join().await.exit, Exit::StartFailed(_)));
        fixture.ended().await;
    });
}

#[test]
fn c51_giving_up_is_an_error_of_the_supervisor_that_names_the_child_its_exit_and_the_count() {
    run_paused(async {
        let fixture = Fixture::new();
        let a = fixture.puppet("a");
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
        assert_eq!(after, ["Info /t/s/a ready", "Info /t/s ready"], "it is one error, reported once");
        fixture.end(tree).await;
    });
}

#[test]
fn c51_a_forced_stop_is_a_warning_and_a_clean_stop_is_not() {
    run_paused(async {
        let fixture = Fixture::new();
        let (polite, deaf) = (fixture.puppet("polite"), fixture.puppet_with("deaf", Puppet::ignoring_stop));
        let tree = Supervisor::new("t").child(deaf.child()).child(polite.child()).start().await.unwrap();
        let (_, mut events) = tree.watch();
        tree.stop().await;
        assert_eq!(
            reported(&mut events).await,
            ["Info /t/polite stopped", "Warn /t/deaf killed", "Info /t/deaf stopped", "Info /t exited"]
        );
        fixture.ended().await;
    });
}
