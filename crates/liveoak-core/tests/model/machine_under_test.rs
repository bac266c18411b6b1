//! The system under test: the real machine, driven with the same steps as the model and compared with it after each.
//!
//! [`MachineUnderTest`] plays the driver: it remembers which attempts live, performs the machine's effects on them, and
//! checks what a driver relies on: each child has one live attempt, no effect comes twice, and the report is right.

use crate::Reference;
use crate::child::{Kind, NEVER, Path, Phase, exit_of};
use crate::commands::is_addable;
use crate::reference::{Model, ROOT};
use crate::replica::Replica;
use crate::steps::{A_MOMENT, Step};
use liveoak_core::{
    Attempt, ChildId, ChildState, ChildView, Command, Effect, EventKind, Exit, Health, Input, Machine, Name,
    Outcome, Refusal, RequestId, Severity, StopReport, StopStage, Survivors, Time, WaitingFor,
};
use proptest_state_machine::StateMachineTest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// A live attempt of a leaf, or a live dedicated runtime.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    id: ChildId,
    attempt: Attempt,
    /// Its stop has begun, although it may not be asked yet.
    stopping: bool,
    asked: bool,
    killed: bool,
    /// When its stop began.
    since: u64,
    leaf: bool,
}

/// The end of a leaf's last attempt: the time since it was asked or killed, and the stop stage.
type End = (u64, StopStage);

/// The machine and what a driver knows of it.
pub(crate) struct MachineUnderTest {
    pub(crate) machine: Machine,
    random: u64,
    now: u64,
    pub(crate) live: BTreeMap<Path, Live>,
    /// Children that give no heartbeats.
    pub(crate) hung: BTreeSet<Path>,
    /// The last attempts that run processes.
    pub(crate) with_processes: BTreeMap<Path, (ChildId, Attempt)>,
    /// Attempts whose heartbeat the machine asks for.
    checks: Vec<(ChildId, Attempt)>,
    paths: HashMap<ChildId, Path>,
    /// The ends of leaves since the root began to stop, as the report must list them.
    ends: BTreeMap<Path, End>,
    /// Leaves that ended twice in that time. The report lists the more forceful end.
    ended_twice: BTreeSet<Path>,
    /// The exits of attempts according to the events, and whether the attempts were stopping.
    exits: BTreeMap<Path, (Kind, bool)>,
    acts: Vec<String>,
    answers: BTreeMap<u64, &'static str>,
    requests: u64,
    refused: BTreeSet<u64>,
    pub(crate) down: Option<Kind>,
    /// The tree as rebuilt from events alone.
    replica: Replica,
}

impl MachineUnderTest {
    fn new(model: &Model) -> Self {
        let (mut machine, _) = Machine::new(&model.declared).expect("a good spec");
        machine.set_interest(Some(Severity::Debug));
        let replica = Replica::new(&machine.snapshot(Time::ZERO));
        let mut tested = Self {
            machine,
            random: model.random,
            now: 0,
            live: BTreeMap::new(),
            hung: BTreeSet::new(),
            with_processes: BTreeMap::new(),
            checks: Vec::new(),
            paths: HashMap::new(),
            ends: BTreeMap::new(),
            ended_twice: BTreeSet::new(),
            exits: BTreeMap::new(),
            acts: Vec::new(),
            answers: BTreeMap::new(),
            requests: 0,
            refused: BTreeSet::new(),
            down: None,
            replica,
        };
        tested.input(Input::Start);
        tested
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_nanos(self.now)
    }

    fn input(&mut self, input: Input) {
        self.machine.handle(self.time(), self.random, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            self.effect(effect);
        }
        for (id, attempt) in std::mem::take(&mut self.checks) {
            let path = self.path(id);
            let beaten = !self.hung.contains(&path);
            self.input(Input::Heartbeat(id, attempt, beaten));
        }
    }

    fn path(&mut self, id: ChildId) -> Path {
        if let Some(path) = self.machine.path(id) {
            self.paths.insert(id, path.as_str().to_owned());
        }
        self.paths.get(&id).cloned().unwrap_or_else(|| panic!("{id:?} was never seen"))
    }

    fn effect(&mut self, effect: Effect) {
        assert!(
            self.down.is_none() || matches!(effect, Effect::Event(_) | Effect::Reply { .. }),
            "{effect:?}"
        );
        match effect {
            Effect::Start(id, attempt) => {
                let path = self.path(id);
                self.acts.push(format!("spawn {path}"));
                let live = Live {
                    id,
                    attempt,
                    stopping: false,
                    asked: false,
                    killed: false,
                    since: self.now,
                    leaf: self.machine.is_group(id).is_none(),
                };
                let before = self.live.insert(path.clone(), live);
                assert!(before.is_none(), "{path} has two attempts alive");
            }
            Effect::Ask(id, attempt) => self.act("ask", id, attempt),
            Effect::Kill(id, attempt) => self.act("kill", id, attempt),
            Effect::Abandon(id, attempt) => {
                self.act("abandon", id, attempt);
                let path = self.path(id);
                let Some(live) = self.live.remove(&path).filter(|live| live.killed) else {
                    panic!("{path} was abandoned without a kill");
                };
                if live.leaf {
                    self.ended(path, (self.now - live.since, StopStage::Abandoned));
                }
            }
            Effect::Forget(id, _) => {
                let path = self.path(id);
                assert!(!self.live.contains_key(&path), "{path} was forgotten while it lives");
            }
            Effect::LetGo(id) => {
                let path = self.path(id);
                assert!(!self.live.contains_key(&path), "{path} was let go while it lives");
            }
            Effect::Check(..) | Effect::EndCheck(..) => panic!("no child of the model has checks"),
            Effect::CheckHeartbeat(id, attempt) => self.checks.push((id, attempt)),
            Effect::Reply { request, result } => {
                let before = self.answers.insert(request.0, word(&result));
                assert!(before.is_none(), "{request:?} is answered twice");
            }
            Effect::Event(event) => {
                self.replica.apply(&event);
                self.paths.insert(event.id, event.path.as_str().to_owned());
                let anew = matches!(event.kind, EventKind::Stopping { .. } | EventKind::Starting { .. });
                if anew && event.path.as_str() == ROOT {
                    self.ends.clear();
                    self.ended_twice.clear();
                }
                if let (EventKind::Stopping { .. }, Some(live)) =
                    (&event.kind, self.live.get_mut(event.path.as_str()))
                    && live.leaf
                {
                    (live.stopping, live.since) = (true, self.now);
                }
                // The path of a child that has left the tree may be used again. The report has one entry of each path.
                if matches!(event.kind, EventKind::Added { .. })
                    && self.ends.contains_key(event.path.as_str())
                {
                    self.ended_twice.insert(event.path.as_str().to_owned());
                }
                if let EventKind::Exited { exit, stopped_by_others, .. } = &event.kind {
                    self.exits.insert(event.path.as_str().to_owned(), (exit.kind(), *stopped_by_others));
                }
                if let EventKind::BackingOff { delay, .. } = event.kind {
                    assert!(delay <= Duration::from_secs(4), "{} waits for {delay:?}", event.path);
                }
            }
            Effect::TreeReady => {}
            Effect::TreeEnded { exit, report } => {
                assert!(self.live.is_empty(), "alive at the end: {:?}", self.live.keys());
                self.check_report(&report);
                self.down = Some(exit.kind());
            }
        }
    }

    /// Checks the tree's report: it lists each child once, and each stopped leaf with its time, stop stage and exit.
    fn check_report(&self, report: &StopReport) {
        let mut told = BTreeMap::new();
        for entry in &report.entries {
            let exit = entry.exit.as_ref().map(Exit::kind);
            let before = told.insert(entry.path.as_str(), (entry.took.as_nanos() as u64, entry.stage, exit));
            assert_eq!(before, None, "{} is reported twice", entry.path);
        }
        for (path, (took, stage)) in self.ends.iter().filter(|(path, _)| !self.ended_twice.contains(*path)) {
            let told = told.get(path.as_str()).copied();
            // A leaf that was waiting for its next start when the stop came was not stopped a second time.
            let waited = told.is_some_and(|(_, stage, _)| stage == StopStage::Cancelled);
            if let Some((exit, true)) = self.exits.get(path).filter(|_| !waited) {
                let was = Some((*took, *stage, Some(*exit)));
                assert_eq!(told, was, "{path}: the report, and what happened");
            }
        }
    }

    fn act(&mut self, what: &str, id: ChildId, attempt: Attempt) {
        let path = self.path(id);
        self.acts.push(format!("{what} {path}"));
        let live = self.live.get_mut(&path);
        let Some(live) = live else { panic!("{what} {path}, which does not live") };
        assert_eq!(live.attempt, attempt, "{what} {path}");
        if !live.asked && !live.killed && !live.stopping {
            live.since = self.now;
        }
        match what {
            "ask" => assert!(!std::mem::replace(&mut live.asked, true), "{path} is asked twice"),
            "kill" => assert!(!std::mem::replace(&mut live.killed, true), "{path} is killed twice"),
            _ => {}
        }
    }

    fn ended(&mut self, path: Path, end: End) {
        if self.ends.insert(path.clone(), end).is_some() {
            self.ended_twice.insert(path);
        }
    }

    /// Sends every kind of late message from an earlier attempt.
    fn late(&mut self, id: ChildId, attempt: Attempt) {
        self.input(Input::Ready(id, attempt));
        self.input(Input::Health(id, attempt, Health::Unhealthy, None));
        self.input(Input::Heartbeat(id, attempt, false));
        self.input(Input::Ending(id, attempt, Exit::failed("late")));
        self.input(Input::MaySurvive(id, attempt, survivors(true)));
        self.input(Input::Gone(id, attempt));
        self.input(Input::Exited(id, attempt, Exit::failed("late")));
    }

    fn exit(&mut self, path: &str, exit: Exit) {
        if let Some(Live { id, attempt, stopping, asked, killed, since, leaf }) = self.live.remove(path) {
            let took = if stopping || asked || killed { self.now - since } else { 0 };
            if leaf {
                self.ended(
                    path.to_owned(),
                    (took, if killed { StopStage::Killed } else { StopStage::Asked }),
                );
            }
            self.input(Input::Exited(id, attempt, exit));
        }
    }

    fn find(&self, path: &str) -> Option<ChildId> {
        self.machine.find(&path.into())
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    pub(crate) fn step(&mut self, step: &Step) {
        self.acts.clear();
        self.now += A_MOMENT;
        match step {
            Step::Exit(path, exit) => self.exit(path, exit_of(exit)),
            Step::Ending(path, exit) => {
                if let Some(&Live { id, attempt, .. }) = self.live.get(path) {
                    self.input(Input::Ending(id, attempt, exit_of(exit)));
                }
            }
            Step::Ready(path) => {
                if let Some(&Live { id, attempt, .. }) = self.live.get(path) {
                    self.input(Input::Ready(id, attempt));
                }
            }
            Step::Health(path, health) => {
                if let Some(&Live { id, attempt, .. }) = self.live.get(path) {
                    self.input(Input::Health(id, attempt, *health, None));
                }
            }
            Step::MaySurvive(path, refused) => {
                if let Some(&Live { id, attempt, .. }) = self.live.get(path) {
                    self.with_processes.insert(path.clone(), (id, attempt));
                    self.input(Input::MaySurvive(id, attempt, survivors(*refused)));
                }
            }
            Step::Gone(path) => {
                if let Some((id, attempt)) = self.with_processes.remove(path) {
                    self.input(Input::Gone(id, attempt));
                }
            }
            Step::Hang(path, true) => drop(self.hung.insert(path.clone())),
            Step::Hang(path, false) => drop(self.hung.remove(path)),
            Step::Late(path) => {
                if let Some(&Live { id, attempt: Attempt(number), .. }) = self.live.get(path) {
                    self.late(id, Attempt(number - 1));
                }
            }
            Step::Command(path, command) => self.command(path, *command),
            Step::AddChild(path, declared) => {
                assert!(is_addable(declared));
                if let Some(parent) = self.find(path) {
                    let request = self.request();
                    let added = self.machine.add_child(self.time(), parent, declared, Some(request));
                    self.added(request, added.is_ok());
                }
            }
            Step::AddMember(path, name) => {
                if let Some(group) = self.find(path) {
                    let request = self.request();
                    let name = Name::new(name.as_str()).expect("a good name");
                    let added = self.machine.add_member(self.time(), group, Some(name), Some(request));
                    self.added(request, added.is_ok());
                }
            }
            Step::Advance(by) => self.advance(*by),
            Step::Jump(by) => {
                self.now += by.as_nanos() as u64;
                self.input(Input::Tick);
            }
            Step::Obey => self.obey(),
            Step::Stop => self.input(Input::Stop),
            Step::Kill => self.input(Input::Kill),
        }
        // The machine learns that time has passed.
        self.input(Input::Tick);
        while self.machine.poll_deadline().is_some_and(|next| next <= self.time()) {
            self.input(Input::Tick);
        }
    }

    /// Notes that an addition that is refused at once gets no reply later.
    fn added(&mut self, request: RequestId, ok: bool) {
        if !ok {
            self.refused.insert(request.0);
        }
        self.drain();
    }

    fn command(&mut self, path: &str, command: Command) {
        if let Some(id) = self.find(path) {
            let request = self.request();
            self.input(Input::Command { request, id, command });
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by.as_nanos() as u64;
        while let Some(next) = self.machine.poll_deadline().filter(|next| next.as_nanos() <= until) {
            self.now = self.now.max(next.as_nanos());
            self.input(Input::Tick);
        }
        self.now = until;
    }

    fn obey(&mut self) {
        let asked = |live: &Live| live.asked || live.killed;
        let all: Vec<(Path, Live)> = self
            .live
            .iter()
            .filter(|(_, live)| asked(live))
            .map(|(path, live)| (path.clone(), *live))
            .collect();
        for (path, before) in all {
            if self.live.get(&path).is_some_and(asked) {
                self.exit(&path, exit_of(if before.killed { "killed" } else { "stopped" }));
            }
        }
    }

    /// Returns the visible state of each child, and checks the replica against it.
    fn seen(&mut self) -> BTreeMap<Path, String> {
        let snapshot = self.machine.snapshot(self.time());
        self.replica.compare(&snapshot);
        snapshot.nodes().map(|node| (node.path.as_str().to_owned(), describe(node))).collect()
    }

    fn compare(&mut self, model: &Model) {
        if model.tied {
            // The replica must still equal the snapshot.
            self.seen();
            return;
        }
        assert_eq!(self.down, model.down, "how the tree ended");
        let (seen, expected) = (self.seen(), expected(model));
        for (path, expected) in &expected {
            assert_eq!(seen.get(path), Some(expected), "{path}: machine (left), model (right)");
        }
        assert_eq!(seen.len(), expected.len(), "which children there are");
        assert_eq!(model.overstaying(), [""; 0], "what runs without its needs for longer than its grace");
        assert_eq!(self.answers, model.answers, "what commands were answered");
        let deadline = self.machine.poll_deadline().map_or(NEVER, Time::as_nanos);
        assert_eq!(deadline, model.next_deadline(), "the next deadline");
        self.compare_acts(model);
        assert!(self.machine.poll_effect().is_none(), "an effect is left");
    }

    /// Checks that the effects are equal, and that one supervisor's children are started and asked in the same order.
    fn compare_acts(&self, model: &Model) {
        let sorted = |acts: &[String]| {
            let mut acts = acts.to_vec();
            acts.sort();
            acts
        };
        assert_eq!(sorted(&self.acts), sorted(&model.acts), "what was done");
        for (path, child) in &model.children {
            let Some(rules) = child.rules() else { continue };
            let ours = |acts: &[String], what: &str| -> Vec<String> {
                let prefix = format!("{what} {path}/");
                let direct =
                    |act: &&String| act.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'));
                acts.iter().filter(direct).cloned().collect()
            };
            if rules.order == liveoak_core::Order::Declared {
                assert_eq!(ours(&self.acts, "spawn"), ours(&model.acts, "spawn"), "the order of starts");
                assert_eq!(ours(&self.acts, "ask"), ours(&model.acts, "ask"), "the order of stops");
            }
        }
    }
}

fn survivors(refused: bool) -> Arc<Survivors> {
    let refused = refused.then(|| "process 7: EPERM".to_owned());
    Arc::new(Survivors { pids: vec![7], refused })
}

fn describe(node: &ChildView) -> String {
    let left = |left: Option<Duration>| left.map_or(NEVER, |left| left.as_nanos() as u64);
    let state = match &node.state {
        ChildState::Idle(why) => format!("idle {}", why.as_str()),
        ChildState::Waiting { what, remaining } => {
            let what = match what {
                WaitingFor::Nothing => "nothing".to_owned(),
                WaitingFor::Turn(name) => format!("turn {name}"),
                WaitingFor::Edge(name, condition) => format!("{name} {condition:?}"),
                WaitingFor::Place => "place".to_owned(),
                WaitingFor::RestartStop => "group stop".to_owned(),
                WaitingFor::RestartBackoff(name) => format!("backoff {name}"),
            };
            format!("waiting for {what} {}", left(*remaining))
        }
        ChildState::Starting { remaining } => format!("starting {}", left(*remaining)),
        ChildState::Running => "running".to_owned(),
        ChildState::BackingOff { remaining } => format!("backing off {}", remaining.as_nanos()),
        ChildState::Stopping { stage, remaining } => {
            format!("stopping {} {}", *stage == StopStage::Killed, left(*remaining))
        }
    };
    let exit = node.last_exit.as_ref().map(Exit::kind);
    let since = node.since.as_nanos();
    let (attempt, restarts, health) = (node.attempt.0, node.restarts, node.health);
    let trial = switches(node.trial, node.paused);
    let retry = left(node.retry_in);
    format!(
        "{trial}{state}, retry {retry}, since {since}, attempt {attempt}, {restarts} restarts, {health:?}, last {exit:?}"
    )
}

const fn switches(trial: bool, paused: bool) -> &'static str {
    match (trial, paused) {
        (false, false) => "",
        (true, false) => "trial, ",
        (false, true) => "paused, ",
        (true, true) => "trial, paused, ",
    }
}

fn expected(model: &Model) -> BTreeMap<Path, String> {
    let describe = |path: &Path| {
        let child = model.at(path);
        let left = || if child.timer == NEVER { NEVER } else { child.timer.saturating_sub(model.now) };
        let state = match child.phase {
            Phase::Idle(why) => format!("idle {}", why.as_str()),
            Phase::Waiting => {
                let (what, until) = model.waits_for(path);
                let left = if until == NEVER { NEVER } else { until.saturating_sub(model.now) };
                format!("waiting for {what} {left}")
            }
            Phase::Starting => format!("starting {}", left()),
            Phase::Running => "running".to_owned(),
            Phase::BackingOff => format!("backing off {}", left()),
            Phase::Stopping { killed } => format!("stopping {killed} {}", left()),
        };
        let (since, attempt, restarts, exit) = (child.since, child.attempt, child.restarts, child.last_exit);
        let health = model.health(path);
        let trial = switches(child.trial, child.paused);
        let idle = matches!(child.phase, Phase::Idle(_));
        let retry = if idle && child.trial_timer != NEVER { child.trial_timer - model.now } else { NEVER };
        format!(
            "{trial}{state}, retry {retry}, since {since}, attempt {attempt}, {restarts} restarts, {health:?}, last {exit:?}"
        )
    };
    model.children.keys().map(|path| (path.clone(), describe(path))).collect()
}

fn word(answer: &Result<Outcome, Refusal>) -> &'static str {
    match answer {
        Ok(Outcome::Ready { .. }) => "ready",
        Ok(Outcome::Ignored) => "ignored",
        Ok(Outcome::Finished { .. }) => "finished",
        Ok(Outcome::Stopped(_)) => "stopped",
        Ok(Outcome::Removed(_)) => "removed",
        Ok(Outcome::Paused) => "paused",
        Ok(Outcome::Resumed) => "resumed",
        Ok(Outcome::Quarantined(_)) => "quarantined",
        Err(Refusal::NotQuarantined { .. }) => "not quarantined",
        Err(Refusal::NotFound) => "not found",
        Err(Refusal::NotDown { .. }) => "not down",
        Err(Refusal::SupervisorDown) => "supervisor down",
        Err(Refusal::NeededBy(_)) => "needed by",
        Err(Refusal::OnlyOnce) => "only once",
        Err(Refusal::IsRoot) => "is root",
        Err(Refusal::TreeEnded) => "tree down",
        Err(Refusal::Failed(_)) => "failed",
        Err(Refusal::StillRuns(_)) => "still runs",
        Err(Refusal::WaitsFor { .. }) => "waits",
        Err(Refusal::KeptDown { .. }) => "kept down",
        Err(Refusal::Superseded { .. }) => "superseded",
        Ok(Outcome::Exited { .. }) => unreachable!("the model waits for no exit"),
        Err(_) => "refused",
    }
}

impl StateMachineTest for MachineUnderTest {
    type SystemUnderTest = Self;
    type Reference = Reference;

    fn init_test(model: &Model) -> Self {
        let mut tested = Self::new(model);
        tested.compare(model);
        tested
    }

    fn apply(mut tested: Self, model: &Model, step: Step) -> Self {
        tested.step(&step);
        tested.compare(model);
        tested
    }

    /// Checks that a stop ends within its budget in every state, although no attempt obeys. In one run of eight, lets all be
    /// well before that.
    fn teardown(mut tested: Self, model: Model) {
        if model.random.is_multiple_of(8) {
            tested.check_that_all_is_well();
        }
        let budget = model.declared.spec.stop_within;
        tested.input(Input::Stop);
        if budget == Duration::MAX {
            tested.input(Input::Kill);
        }
        let enough =
            if budget.is_zero() || budget == Duration::MAX { model.declared.spec.kill_wait } else { budget };
        tested.advance(enough);
        assert!(tested.down.is_some(), "the stop has not ended within its budget");
        let open = (1..=tested.requests)
            .filter(|request| !tested.answers.contains_key(request) && !tested.refused.contains(request));
        assert_eq!(open.collect::<Vec<_>>(), [0; 0], "every request is answered");
    }
}
