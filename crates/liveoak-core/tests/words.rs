//! The words and sentences of the core, which logs, scripts and people read. Scripts may depend on each of them.

use liveoak_core::{
    Attempt, AutoShutdownFailure, ChildId, Condition, EventKind, Exit, Health, IdleReason, LimitExceeded,
    Name, Panic, Path, Refusal, Restart, Severity, SpecError, SpecErrors, SpecProblem, StartFailure,
    StopStage, Survivors, Unhealthy,
};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn gave_up(own_limit: bool) -> Arc<LimitExceeded> {
    Arc::new(LimitExceeded {
        path: Path::new("t/db"),
        child: name("db"),
        exit: Exit::Code(1),
        count: 4,
        allowed: 3,
        period: 5 * SECOND,
        own_limit,
        retry_after: None,
        in_a_row: false,
    })
}

fn panic(location: Option<&str>, during: Option<&'static str>) -> Exit {
    let location = location.map(str::to_owned);
    Exit::Panicked(Arc::new(Panic { message: "oh".to_owned(), location, backtrace: None, during }))
}

#[derive(Debug)]
struct Chain(&'static str, Option<Box<Chain>>);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Chain {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

#[test]
fn the_page_about_the_file_lists_each_word_of_an_exit() {
    let between = |text: &'static str, from: &str, to: &str| {
        text.split_once(from).and_then(|(_, rest)| rest.split_once(to)).expect("both places").0
    };
    let quoted = |text: &'static str, quote: char| -> BTreeSet<&'static str> {
        text.split(quote).skip(1).step_by(2).collect()
    };
    let words = quoted(between(include_str!("../src/exit.rs"), "fn kind(&self)", "\n    }\n"), '"');
    let page = include_str!("../../../docs/liveoak-toml.md");
    assert_eq!(quoted(between(page, "\n- `kind` is one of ", "`text`"), '`'), words);
    assert!(words.len() >= 15, "{words:?}");
}

#[test]
fn each_exit_has_a_word_and_a_sentence() {
    let signal = |signal, core_dumped| Exit::Signal { signal, core_dumped };
    let failed_start =
        Arc::new(StartFailure { path: Path::new("t/db"), exit: Exit::StartTimeout(30 * SECOND) });
    let chain = Chain("no row", Some(Box::new(Chain("no table", Some(Box::new(Chain("no disk", None)))))));
    let refused = Arc::new(Survivors { pids: vec![7], refused: Some("process 7: EPERM".to_owned()) });
    let hangs = Arc::new(Survivors { pids: vec![8], refused: None });
    let unhealthy = Arc::new(Unhealthy { check: name("http"), reason: "status 503".into() });
    let table = [
        (Exit::Completed, "completed", "completed"),
        (Exit::Ignored, "ignored", "not needed here"),
        (Exit::Stopped, "stopped", "stopped as asked"),
        (Exit::AutoShutdown, "auto-shutdown", "ended because its significant children had ended"),
        (Exit::failed("boom"), "failed", "failed: boom"),
        (Exit::failed(chain), "failed", "failed: no row: no table: no disk"),
        (Exit::Code(3), "code", "exit code 3"),
        (Exit::StartTimeout(SECOND), "start-timeout", "not ready within 1s"),
        (Exit::RunTimeout(SECOND), "run-timeout", "ran longer than 1s"),
        (Exit::restart_requested("new settings"), "restart-requested", "asked for its restart: new settings"),
        (Exit::HeartbeatTimeout(SECOND), "heartbeat-timeout", "no heartbeat for 1s"),
        (Exit::Unhealthy(unhealthy), "unhealthy", "unhealthy: the check http failed: status 503"),
        (Exit::Killed, "killed", "killed"),
        (Exit::Abandoned, "abandoned", "abandoned: it could not be ended and may still run"),
        (Exit::StillRuns(refused), "abandoned", "abandoned: the system refused to kill process 7: EPERM"),
        (
            Exit::StillRuns(hangs),
            "abandoned",
            "abandoned: process 8 was killed but has not ended; a process in state D cannot end",
        ),
        (signal(15, false), "signal", "ended by SIGTERM"),
        (signal(11, true), "signal", "ended by SIGSEGV, core dumped"),
        (signal(34, false), "signal", "ended by signal 34"),
        (Exit::StartFailed(failed_start), "start-failed", "/t/db failed to start: not ready within 30s"),
    ];
    for (exit, word, sentence) in table {
        assert_eq!((exit.kind(), exit.to_string().as_str()), (word, sentence));
    }
    assert_eq!(Exit::GaveUp(gave_up(true)).kind(), "gave-up");
    let failure = Arc::new(AutoShutdownFailure { path: Path::new("t/db"), exit: Exit::Code(1) });
    let exit = Exit::AutoShutdownFailed(failure);
    assert_eq!(exit.kind(), "auto-shutdown-failed");
    assert_eq!(exit.to_string(), "ended because its significant child /t/db had ended: exit code 1");
    let names = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
    ];
    for (number, name) in names {
        assert_eq!(signal(number, false).to_string(), format!("ended by {name}"));
    }
}

#[test]
fn the_exit_of_a_panic_includes_its_location_if_known() {
    assert_eq!(panic(None, None).to_string(), "panicked: oh");
    assert_eq!(panic(Some("a.rs:1:2"), None).to_string(), "panicked at a.rs:1:2: oh");
    assert_eq!(panic(None, Some("init")).to_string(), "panicked in its init: oh");
}

#[test]
fn giving_up_names_the_child_the_count_and_whose_limit_it_was() {
    let own = Exit::GaveUp(gave_up(true)).to_string();
    let joint = Exit::GaveUp(gave_up(false)).to_string();
    assert_eq!(
        own,
        "gave up on /t/db: 4 restarts within 5s are more than its own limit, 3; its last exit: exit code 1"
    );
    assert_eq!(
        joint,
        "gave up on /t/db: 4 restarts within 5s are more than the limit of its supervisor, 3; its last exit: exit code 1"
    );
    let row = LimitExceeded { in_a_row: true, ..(*gave_up(true)).clone() };
    assert_eq!(
        row.to_string(),
        "gave up on /t/db: 4 failures in a row are more than its own limit, 3; its last exit: exit code 1"
    );
}

#[test]
fn each_event_has_a_word_and_a_severity() {
    use Severity::{Debug, Error, Info, Warn};
    let attempt = Attempt(1);
    let exited =
        |exit, stopped_by_others| EventKind::Exited { attempt, exit, ran: SECOND, stopped_by_others };
    let failure = Arc::new(StartFailure { path: Path::new("t"), exit: Exit::Killed });
    let significant = Arc::new(AutoShutdownFailure { path: Path::new("t/db"), exit: Exit::Code(1) });
    let survivors = Arc::new(Survivors { pids: vec![7, 8], refused: None });
    let said = |health| EventKind::Health { health, reason: None };
    let table = [
        (exited(Exit::AutoShutdownFailed(Arc::clone(&significant)), false), "exited", Debug),
        (EventKind::Added { restart: Restart::Permanent, strategy: None }, "added", Debug),
        (EventKind::Removed, "removed", Debug),
        (EventKind::Waiting, "waiting", Debug),
        (EventKind::Starting { attempt, restart: false }, "starting", Debug),
        (EventKind::Ready { attempt, took: SECOND }, "ready", Info),
        (exited(Exit::Completed, false), "exited", Debug),
        (exited(Exit::Killed, false), "exited", Warn),
        (exited(Exit::Killed, true), "exited", Debug),
        (EventKind::BackingOff { delay: SECOND, nth: 1 }, "backing-off", Info),
        (EventKind::Stopping { attempt }, "stopping", Debug),
        (EventKind::Killed { attempt }, "killed", Warn),
        (EventKind::Abandoned { attempt }, "abandoned", Error),
        (EventKind::Stopped { stage: StopStage::Asked, why: IdleReason::SupervisorDown }, "stopped", Info),
        (EventKind::Stopped { stage: StopStage::Cancelled, why: IdleReason::NotWanted }, "stopped", Debug),
        (EventKind::Finished, "finished", Info),
        (EventKind::Ignored, "ignored", Info),
        (EventKind::NeedLost { need: name("db"), grace: SECOND }, "need-lost", Warn),
        (EventKind::StoppedForNeed { need: name("db") }, "stopped-for-need", Warn),
        (EventKind::Quarantined(gave_up(true)), "quarantined", Error),
        (EventKind::StillRuns(survivors), "still-runs", Error),
        (EventKind::GaveUp(gave_up(false)), "gave-up", Error),
        (EventKind::StartFailed(failure), "start-failed", Error),
        (EventKind::AutoShutdown, "auto-shutdown", Info),
        (EventKind::AutoShutdownFailed(significant), "auto-shutdown-failed", Error),
        (EventKind::RestartSet { children: 2 }, "restart-set", Info),
        (EventKind::Unready { check: name("http"), reason: "status 503".into() }, "unready", Warn),
        (EventKind::ReadyAgain, "ready-again", Info),
        (said(Health::Unknown), "health", Info),
        (said(Health::Healthy), "health", Info),
        (said(Health::Degraded), "health", Warn),
        (said(Health::Unhealthy), "health", Warn),
    ];
    for (kind, word, severity) in table {
        assert_eq!((kind.name(), kind.severity()), (word, severity), "{kind:?}");
    }
}

#[test]
fn each_refusal_has_a_sentence_that_says_why() {
    let errors = SpecErrors(vec![
        SpecError {
            path: Path::new("t/a"),
            field: "limit",
            problem: SpecProblem::Refused("the period is zero".into()),
        },
        SpecError { path: Path::new("t/b"), field: "after", problem: SpecProblem::AfterItself },
    ]);
    let table = [
        (Refusal::NotFound, "there is no such child"),
        (Refusal::NotDown { state: "running" }, "the child is not down: it is running"),
        (Refusal::AlreadyExists { state: "stopped" }, "a child of that name exists: it is stopped"),
        (
            Refusal::SupervisorDown,
            "its supervisor is down or stopping, or it is being removed, or it is a root that stops",
        ),
        (Refusal::NotASupervisor, "it is not a supervisor, so it has no children"),
        (Refusal::IsAGroup, "it is a dynamic group, so its members come from its template only"),
        (Refusal::NotAGroup, "it is not a dynamic group"),
        (Refusal::Full { max: 7 }, "it is full: it may have 7 members or children"),
        (
            Refusal::Invalid(errors),
            "its spec is wrong: /t/a: limit: the period is zero; /t/b: after: a child cannot come after itself",
        ),
        (
            Refusal::NeededBy(vec![name("a"), name("b")]),
            "these siblings come after it and must be removed first: a b",
        ),
        (
            Refusal::OnlyOnce,
            "it has ended for good, or runs only once; a child that is declared with keep() can be started again",
        ),
        (Refusal::IsRoot, "it is the root of the tree, which can only be stopped"),
        (
            Refusal::DeclaresNeeds { path: Path::new("t/s") },
            "/t/s declares needs, and a stop for a need would lose the added child",
        ),
        (Refusal::IsTemporary, "it is temporary, so it is never restarted"),
        (Refusal::Busy, "too many commands wait for this child, or for its tree"),
        (Refusal::DestructorsWaiting, "too many values of earlier children wait for their destructors"),
        (Refusal::TreeEnded, "the tree has ended"),
        (Refusal::Failed(Exit::Killed), "the attempt failed: killed"),
        (
            Refusal::StillRuns(Arc::new(Survivors {
                pids: vec![7],
                refused: Some("process 7: EPERM".to_owned()),
            })),
            "processes of its last attempt are still alive: the system refused to kill process 7: EPERM",
        ),
        (Refusal::Superseded { by: "a stop" }, "it was overtaken by a stop"),
    ];
    for (refusal, sentence) in table {
        assert_eq!(refusal.to_string(), sentence);
    }
}

#[test]
fn states_stop_stages_and_conditions_are_one_word_each() {
    let idle = [
        IdleReason::SupervisorDown,
        IdleReason::StoppedByCommand,
        IdleReason::NotWanted,
        IdleReason::Finished,
        IdleReason::Ignored,
        IdleReason::Quarantined,
        IdleReason::Paused,
    ];
    assert_eq!(
        idle.map(IdleReason::as_str),
        ["down", "stopped", "not-wanted", "finished", "ignored", "quarantined", "paused"]
    );
    let stages = [StopStage::Cancelled, StopStage::Asked, StopStage::Killed, StopStage::Abandoned];
    assert_eq!(stages.map(StopStage::as_str), ["cancelled", "asked", "killed", "abandoned"]);
    assert_eq!(stages.map(StopStage::is_forced), [false, false, true, true]);
    let conditions = [Condition::Started, Condition::Ready, Condition::Healthy, Condition::Completed];
    assert_eq!(conditions.map(Condition::as_str), ["started", "ready", "healthy", "completed"]);
}

#[test]
fn equal_paths_from_different_sources_are_equal() {
    let path = Path::new("/t/a");
    assert_eq!(Path::from("t/a"), path);
    assert_eq!(Path::from("/t/a".to_owned()), path);
    assert_eq!(Path::from(&path), path);
    assert_eq!((path.to_string().as_str(), format!("{path:?}").as_str()), ("/t/a", "\"/t/a\""));
    assert_eq!((path.name(), path.join("b").as_str()), ("a", "/t/a/b"));
    assert_eq!(path.names().collect::<Vec<_>>(), ["t", "a"]);
    assert_eq!(Attempt(7).to_string(), "7");
    assert!(ChildId { slot: 1, serial: 0 } < ChildId { slot: 1, serial: 1 });
}
