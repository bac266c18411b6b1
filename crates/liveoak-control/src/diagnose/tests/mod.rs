//! Each rule: what it finds, and what it leaves alone. No test reads a clock or asks the system.

use crate::diagnose::found::{
    Disk, Found, Line, Listener, Look, Loss, Memory, Observations, Owner, bytes, quoted, short,
};
use crate::diagnose::rules::{MOST_OF_A_KIND, RULES, findings};
use liveoak_api::FindingKind;
use liveoak_runtime::{
    Attempt, BodyKind, CheckKind, CheckView, ChildHistory, ChildId, ChildSpec, ChildState, ChildView,
    Condition, Event, EventKind, Exit, Health, IdleReason, LimitExceeded, LimitUse, Name, Path, PollLimit,
    Severity, Snapshot, StopStage, Strategy, StuckPoll, Survivors, Time, Unhealthy, WaitingFor,
};
use std::sync::Arc;
use std::time::Duration;

mod children;
mod system;

const MIB: u64 = 1024 * 1024;

/// A moment, in seconds since the tree began. The tests look at the tree at [`NOW`].
const fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

const NOW: u64 = 10_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A program that has run for a long time.
fn program(slot: u32, name: &str) -> ChildView {
    ChildView {
        path: Path::new(&format!("/shop/{name}")),
        id: ChildId { slot, serial: 0 },
        restart: liveoak_runtime::Restart::Permanent,
        strategy: None,
        state: ChildState::Running,
        since: at(100),
        started: Some(at(100)),
        attempt: Attempt(1),
        asked_in: None,
        retry_in: None,
        trial: false,
        paused: false,
        restarts: 0,
        last_exit: None,
        health: Health::Unknown,
        spec: Arc::new(ChildSpec { body: BodyKind::Program, ..ChildSpec::default() }),
        history: None,
        health_reason: None,
        ready: true,
        stuck: None,
        checks: vec![],
        children: vec![],
    }
}

fn tree(children: Vec<ChildView>) -> Snapshot {
    let root = ChildView {
        path: Path::new("/shop"),
        strategy: Some(Strategy::OneForOne),
        spec: Arc::new(ChildSpec::default()),
        children,
        ..program(0, "")
    };
    Snapshot { number: 1, at: at(NOW), root, commands: vec![] }
}

/// What happened to a child at some second.
fn event(seconds: u64, of: &ChildView, kind: EventKind) -> Event {
    let (path, id, severity) = (of.path.clone(), of.id, Severity::Info);
    Event { number: 1, at: at(seconds), path, id, kind, severity, description: None, origin: None }
}

fn exited(exit: Exit, ran: Duration) -> EventKind {
    EventKind::Exited { attempt: Attempt(1), exit, ran, stopped_by_others: false }
}

fn found(children: Vec<ChildView>, events: &[Event], seen: &Observations) -> Vec<Found> {
    let (snapshot, events) = (tree(children), events.iter().collect::<Vec<_>>());
    findings(&Look::new(&snapshot, &events, seen, at(NOW)))
}

/// Asserts that there is one finding, of this kind, with these texts in its evidence, and this command.
#[track_caller]
fn assert_one(found: &[Found], kind: FindingKind, since: u64, evidence: &[&str], command: &str) {
    let [one] = found else { panic!("not one finding: {found:#?}") };
    assert_eq!((one.kind, one.since, one.command.as_str()), (kind, at(since), command), "{one:?}");
    for text in evidence {
        assert!(one.evidence.contains(text), "no {text:?} in {:?}", one.evidence);
    }
}

#[track_caller]
fn assert_nothing(found: &[Found]) {
    assert!(found.is_empty(), "{found:#?}");
}

fn quiet() -> Observations {
    Observations::default()
}

#[test]
fn every_kind_of_finding_has_one_rule_in_the_order_of_their_gravity() {
    assert_eq!(RULES.each_ref().map(|rule| rule.kind), FindingKind::ALL);
}

#[test]
fn thirty_quiet_programs_have_no_finding() {
    let mut children: Vec<_> = (1..=30).map(|slot| program(slot, &format!("p{slot}"))).collect();
    let mut events = Vec::new();
    for of in &children {
        events.push(event(90, of, EventKind::Starting { attempt: Attempt(1), restart: false }));
        events.push(event(100, of, EventKind::Ready { attempt: Attempt(1), took: Duration::from_secs(10) }));
        // A deploy restarts each once; it stops in time.
        events.push(event(9_000, of, EventKind::Stopping { attempt: Attempt(1) }));
        events.push(event(
            9_001,
            of,
            exited(Exit::Signal { signal: 15, core_dumped: false }, Duration::from_secs(8_900)),
        ));
    }
    events.sort_by_key(|event| event.at);
    // One has failed once and was started again, one is stopped by a command, one has done its work, one is not wanted.
    events.push(event(9_900, &children[0], exited(Exit::Code(1), Duration::from_secs(900))));
    children[1].state = ChildState::Idle(IdleReason::StoppedByCommand);
    children[2].state = ChildState::Idle(IdleReason::Finished);
    children[2].last_exit = Some(Exit::Completed);
    children[3].state = ChildState::Idle(IdleReason::NotWanted);
    // One has just begun to wait for another that starts.
    children[4].state =
        ChildState::Waiting { what: WaitingFor::Edge(name("p6"), Condition::Ready), remaining: None };
    children[4].since = at(NOW - 20);
    children[5].state = ChildState::Starting { remaining: Some(Duration::from_secs(10)) };
    children[5].since = at(NOW - 20);
    // One fills its cache when it starts, and then needs as much as before.
    let memory = (0..30).map(|nth| (at(200 + nth * 15), 100 * MIB + nth.min(6) * 20 * MIB)).collect();
    let disk = Disk {
        path: Path::new("/shop"),
        folder: "/srv/shop".into(),
        free: 900 * MIB,
        size: 1 << 40,
        free_files: 1 << 20,
        files: 1 << 24,
        full_since: None,
    };
    let seen = Observations {
        memory: vec![Memory { id: children[6].id, attempt: Attempt(1), samples: memory }],
        disks: vec![disk],
        ..quiet()
    };
    assert_nothing(&found(children, &events, &seen));
}

/// A child that backs off, and its failures at these seconds.
fn failing(times: &[u64], ran: Duration) -> (ChildView, Vec<Event>) {
    let mut api = program(1, "api");
    api.state = ChildState::BackingOff { remaining: Duration::from_secs(1) };
    api.since = at(NOW - 1);
    let events = times.iter().map(|time| event(*time, &api, exited(Exit::Code(3), ran))).collect();
    (api, events)
}

#[test]
fn many_findings_of_a_kind_are_bounded_and_the_rest_is_counted() {
    let failed = |slot| {
        let state = ChildState::Idle(IdleReason::Finished);
        ChildView { state, last_exit: Some(Exit::Code(1)), ..program(slot, &format!("p{slot}")) }
    };
    let all = found((1..=40).map(failed).collect(), &[], &quiet());
    assert_eq!(all.len(), MOST_OF_A_KIND);
    assert!(all.last().unwrap().evidence.ends_with("; 8 more children have a finding of this kind"));
}

#[test]
fn texts_of_findings_are_short_and_safe_for_a_shell() {
    assert_eq!(
        (bytes(1), bytes(1023), bytes(1536)),
        ("1 byte".into(), "1023 bytes".into(), "1.5 KiB".into())
    );
    assert_eq!((bytes(12 * MIB), bytes(u64::MAX)), ("12 MiB".to_owned(), "16384 PiB".to_owned()));
    assert_eq!(short("\n  first \nsecond"), "first");
    assert_eq!(short(&"é".repeat(200)).chars().count(), 161);
    assert_eq!(
        (quoted("/shop/pool.2"), quoted("/a b"), quoted("a'b")),
        ("/shop/pool.2".into(), "'/a b'".into(), "'a'\\''b'".into())
    );
}
