//! Checks of programs while they run.

use crate::support::{Dir, within};
use liveoak_process::{CommandLine, Probe, ProcessChild};
use liveoak_runtime::{Backoff, Check, Child, Event, EventKind, EventOrLost, Events, Exit, Supervisor};
use std::time::Duration;

fn often() -> Check {
    Check::every(Duration::from_millis(20)).failures(2)
}

async fn until(events: &mut Events, wanted: impl Fn(&EventKind) -> bool) -> Event {
    loop {
        match within(events.next()).await.expect("the tree runs") {
            EventOrLost::Event(event) if wanted(&event.kind) => return event,
            EventOrLost::Event(_) | EventOrLost::Lost(_) => {}
        }
    }
}

#[tokio::test]
async fn a_program_is_unready_while_its_readiness_check_fails_and_runs_on() {
    let dir = Dir::new();
    let alive = dir.path().join("ready");
    std::fs::write(&alive, "").unwrap();
    // The path is relative to the folder of the program.
    let child =
        Child::command("a", ["sleep", "1000"]).cwd(dir.path()).readiness(often(), Probe::file("ready"));
    let tree = Supervisor::new("t").child(child).start().await.unwrap();
    let mut events = tree.events();
    std::fs::remove_file(&alive).unwrap();
    until(&mut events, |kind| matches!(kind, EventKind::Unready { .. })).await;
    assert!(!tree.snapshot().root.ready);
    std::fs::write(&alive, "").unwrap();
    until(&mut events, |kind| matches!(kind, EventKind::ReadyAgain)).await;
    let view = tree.snapshot().get("/t/a").unwrap().clone();
    assert_eq!((view.attempt.0, view.ready), (1, true));
    tree.stop().await;
}

#[tokio::test]
async fn a_program_whose_liveness_command_fails_is_restarted_and_the_command_knows_the_attempt() {
    let second =
        Backoff { from: Duration::from_millis(1), to: Duration::from_millis(1), ..Backoff::default() };
    let command = CommandLine::shell("test \"$LIVEOAK_ATTEMPT$MORE\" = 2x");
    let child = Child::command("a", ["sleep", "1000"])
        .env("MORE", "x")
        .backoff(second)
        .liveness(often().timeout(Duration::from_secs(10)).named("pulse"), Probe::command(command));
    let tree = Supervisor::new("t").child(child).start().await.unwrap();
    let mut events = tree.events();
    let ended = until(&mut events, |kind| matches!(kind, EventKind::Exited { .. })).await;
    let EventKind::Exited { exit: Exit::Unhealthy(exit), .. } = ended.kind else { panic!("{ended:?}") };
    assert_eq!(exit.check.as_str(), "pulse");
    until(&mut events, |kind| matches!(kind, EventKind::Ready { .. })).await;
    let answers = tree.check_now("/t").await.unwrap();
    assert!(answers.len() == 1 && answers[0].ok(), "{answers:?}");
    tree.stop().await;
}
