//! The complete matrix restart × exit × strategy: three children, the middle one ends.

use super::shape::{SECOND, group, leaf, name, secs, sup};
use super::test_driver::TestDriver;
use crate::{
    AutoShutdownFailure, EventKind, Exit, Limit, LimitExceeded, Panic, Path, Restart, StartFailure, Strategy,
    Survivors, Unhealthy,
};
use std::sync::Arc;

/// The expected effect of the middle child's exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Restarts,
    Finishes,
    IsAbsent,
}
use Then::{Finishes, IsAbsent, Restarts};

/// Returns every exit, with what is expected of a permanent, a transient and a temporary child. Written from OTP's rows
/// C19–C21 and C36 and our deviations, not from the code.
fn table() -> Vec<(Exit, [Then; 3])> {
    let path = Path::new("/t/b/x");
    let failure = StartFailure { path: path.clone(), exit: Exit::Killed };
    let panic = Panic { message: "oh".into(), location: None, backtrace: None, during: None };
    let gave_up = LimitExceeded {
        path,
        child: name("x"),
        exit: Exit::Killed,
        count: 2,
        allowed: 1,
        period: SECOND,
        own_limit: true,
        retry_after: None,
        in_a_row: false,
    };
    let significant = AutoShutdownFailure { path: Path::new("/t/b/x"), exit: Exit::Killed };
    let unhealthy = Unhealthy { check: name("r"), reason: "refused".into() };
    let survivors = Survivors { pids: vec![7], refused: None };
    let wanted = [Restarts, Finishes, Finishes];
    let failed = [Restarts, Restarts, Finishes];
    vec![
        (Exit::Completed, wanted),
        (Exit::Stopped, wanted),
        (Exit::AutoShutdown, wanted),
        (Exit::Ignored, [IsAbsent; 3]),
        (Exit::failed("boom"), failed),
        (Exit::Panicked(Arc::new(panic)), failed),
        (Exit::Code(1), failed),
        (Exit::Signal { signal: 9, core_dumped: false }, failed),
        (Exit::StartTimeout(SECOND), failed),
        (Exit::RunTimeout(SECOND), failed),
        (Exit::HeartbeatTimeout(SECOND), failed),
        (Exit::Unhealthy(Arc::new(unhealthy)), failed),
        (Exit::Killed, failed),
        (Exit::Abandoned, failed),
        (Exit::StillRuns(Arc::new(survivors)), failed),
        (Exit::StartFailed(Arc::new(failure)), failed),
        (Exit::GaveUp(Arc::new(gave_up)), failed),
        // A failure, but also the declared end.
        (Exit::AutoShutdownFailed(Arc::new(significant)), wanted),
        (Exit::restart_requested("new settings"), failed),
    ]
}

const RESTARTS: [Restart; 3] = [Restart::Permanent, Restart::Transient, Restart::Temporary];

#[test]
fn the_table_of_this_file_has_every_exit() {
    let seen: std::collections::BTreeSet<_> = table().iter().map(|(exit, _)| exit.kind()).collect();
    for (exit, _) in table() {
        // A new variant does not compile until it is listed here; then raise the number in the assertion.
        match exit {
            Exit::Completed
            | Exit::Ignored
            | Exit::Stopped
            | Exit::AutoShutdown
            | Exit::Failed(_)
            | Exit::Panicked(_)
            | Exit::Code(_)
            | Exit::Signal { .. }
            | Exit::StartTimeout(_)
            | Exit::RunTimeout(_)
            | Exit::HeartbeatTimeout(_)
            | Exit::Unhealthy(_)
            | Exit::Killed
            | Exit::Abandoned
            | Exit::StillRuns(_)
            | Exit::StartFailed(_)
            | Exit::GaveUp(_)
            | Exit::AutoShutdownFailed(_)
            | Exit::RestartRequested(_) => {}
        }
    }
    // `StillRuns` has the word of `Abandoned`.
    assert_eq!(seen.len(), 18);
}

#[test]
fn every_exit_under_every_restart_type_and_strategy_has_the_expected_effect() {
    for (exit, row) in table() {
        for (restart, then) in RESTARTS.into_iter().zip(row) {
            for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
                let case = format!("{restart:?} × {} × {strategy:?}", exit.kind());
                check(&case, restart, &exit, strategy, then);
            }
        }
    }
}

fn check(case: &str, restart: Restart, exit: &Exit, strategy: Strategy, then: Then) {
    let tree = sup("t", [leaf("a"), leaf("b").restart(restart), leaf("c")]);
    let mut driver = TestDriver::started(&tree.strategy(strategy).intensity(5, secs(10)));
    driver.exit("b", exit.clone());
    let expected: &[&str] = match (then, strategy) {
        (Finishes | IsAbsent, _) => &["gone b"],
        (Restarts, Strategy::OneForOne) => &["gone b", "start b"],
        (Restarts, Strategy::OneForAll) => {
            &["gone b", "ask c", "gone c", "ask a", "gone a", "start a", "start b", "start c"]
        }
        (Restarts, Strategy::RestForOne) => &["gone b", "ask c", "gone c", "start b", "start c"],
    };
    assert_eq!(driver.log(), expected, "{case}");
    let state = match then {
        Restarts => "running",
        Finishes => "finished",
        IsAbsent => "ignored",
    };
    assert_eq!(driver.states(["a", "b", "c"]), ["running", state, "running"], "{case}");
    let attempts = match (then, strategy) {
        (Finishes | IsAbsent, _) => [1, 1, 1],
        (Restarts, Strategy::OneForOne) => [1, 2, 1],
        (Restarts, Strategy::OneForAll) => [2, 2, 2],
        (Restarts, Strategy::RestForOne) => [1, 2, 2],
    };
    assert_eq!(["a", "b", "c"].map(|child| driver.view(child).attempt.0), attempts, "{case}");
    let restarts = usize::from(then == Restarts);
    // A restart that the child asked for is not charged.
    let charged = if exit.is_restart_request() { 0 } else { restarts };
    assert_eq!(
        driver.machine.supervisor(driver.machine.root().slot).window.len(),
        charged,
        "{case}: the window"
    );
    assert_eq!(driver.view("b").last_exit.map(|exit| exit.kind()), Some(exit.kind()), "{case}");
    let groups = driver.events.iter().filter(|event| matches!(event.kind, EventKind::RestartSet { .. }));
    assert_eq!(groups.count(), usize::from(restarts == 1 && strategy != Strategy::OneForOne), "{case}");
}

#[test]
fn every_exit_of_a_member_under_every_restart_type_has_the_expected_effect() {
    for (exit, row) in table() {
        for (restart, then) in RESTARTS.into_iter().zip(row) {
            let case = format!("{restart:?} × {}", exit.kind());
            let mut driver = TestDriver::started(&group("t").members(|group| {
                group.template.restart = restart;
                group.intensity = Some(Limit::new(5, secs(10)));
            }));
            for member in ["a", "b", "c"] {
                driver.add_member("", Some(member)).expect("room");
            }
            driver.log();
            driver.exit("b", exit.clone());
            let (log, state) = match then {
                Restarts => (["gone b", "start b"], "running"),
                Finishes | IsAbsent => (["gone b", "forget b"], "gone"),
            };
            assert_eq!(driver.log(), log, "{case}");
            assert_eq!(driver.states(["a", "b", "c"]), ["running", state, "running"], "{case}");
            let counted = usize::from(then == Restarts && !exit.is_restart_request());
            assert_eq!(
                driver.machine.supervisor(driver.machine.root().slot).window.len(),
                counted,
                "{case}: the window"
            );
        }
    }
}
