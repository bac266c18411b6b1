//! The driver of all tests: it performs the effects, lets each child react by its policy, and checks that
//!
//! * no child has two live attempts, and no attempt begins after the child was asked to stop or removed, or the tree
//!   ended;
//! * a kill comes once, and only killed attempts are abandoned;
//! * events are numbered without a gap, and an earlier snapshot with the events after it gives the next snapshot;
//! * every request is answered at most once;
//! * a copy of the tree that is taken in pieces equals the snapshot of its moment;
//! * the machine's own invariants hold ([`Machine::audit`]).

pub(super) use super::answers::word;
use super::copies::Copies;
use super::replica::Replica;
use crate::{
    Attempt, ChildDeclaration, ChildId, ChildView, Command, Effect, Event, Exit, Health, Input, Machine,
    Moment, Name, Outcome, Path, Refusal, RequestId, Severity, Snapshot, StopReport, Time,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How a child reacts to a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obeys {
    /// It ends as soon as it is asked to stop.
    Ask,
    /// It ignores the request to stop, and ends when it is killed.
    Kill,
    /// It never ends.
    Nothing,
    /// It ends when the test says so.
    Test,
}

/// How the tries of a check answer, if they do not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    Fails,
    /// They never answer.
    Silent,
}

/// The behaviour of a child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) obeys: Obeys,
    /// `true` if it is ready as soon as an attempt begins. Otherwise the test reports it as ready.
    pub(super) ready: bool,
    /// `true` if it sends heartbeats.
    pub(super) beats: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { obeys: Obeys::Ask, ready: true, beats: true }
    }
}

#[derive(Clone, Copy, Debug)]
struct Live {
    attempt: Attempt,
    killed: bool,
}

/// The largest number of children that a test adds at once.
const LARGEST_ADDED: usize = 40;

/// A number of children that is large enough to switch the check of the slot table off.
const UNCOUNTED: usize = usize::MAX / 4;

pub(super) type Answer = Result<Outcome, Refusal>;

/// A machine with its driver.
pub(super) struct TestDriver {
    pub(super) machine: Machine,
    pub(super) now: Time,
    /// The random number of every input.
    pub(super) random: u64,
    /// `true` to audit and replay after every input. Off in tests with very many children.
    pub(super) careful: bool,
    /// The actions of the driver, in order: `start a`, `ask a`, `kill a`, `abandon a`, `gone a` (its attempt ended),
    /// `forget a`, `up` (the tree is ready), `down` (it has ended).
    log: Vec<String>,
    pub(super) events: Vec<Event>,
    /// All inputs and outputs, printed if a test fails.
    history: Vec<String>,
    pub(super) answers: Vec<(RequestId, Answer)>,
    pub(super) down: Option<(Exit, Arc<StopReport>)>,
    live: BTreeMap<ChildId, Live>,
    names: HashMap<ChildId, String>,
    /// How tries of checks answer, by `child.check`. Other tries pass.
    pub(super) checked: HashMap<String, Checked>,
    /// The tries so far, as `child.check`.
    pub(super) tries: Vec<String>,
    /// The tries that the machine has ended.
    pub(super) ended_tries: Vec<String>,
    policies: HashMap<String, Policy>,
    default: Policy,
    /// If not empty: each child has one of these policies.
    shuffled: Vec<Policy>,
    inputs: VecDeque<Input>,
    stopped_by_request: HashSet<ChildId>,
    /// The children whose bodies were let go: they never start again.
    let_go: HashSet<ChildId>,
    requests: u64,
    /// The tree as the events describe it.
    replica: Replica,
    pub(super) copies: Copies,
    /// The largest number of children in a snapshot so far.
    most_children: usize,
}

impl TestDriver {
    /// Returns a driver for a tree that is not started.
    pub(super) fn new(tree: &ChildDeclaration) -> Self {
        let (mut machine, _) = Machine::new(tree).expect("a good spec");
        machine.set_interest(Some(Severity::Debug));
        let snapshot = machine.snapshot(Time::ZERO);
        let (replica, most_children) = (Replica::new(&snapshot), snapshot.nodes().count());
        Self {
            machine,
            now: Time::ZERO,
            random: u64::MAX,
            careful: true,
            log: Vec::new(),
            events: Vec::new(),
            history: Vec::new(),
            answers: Vec::new(),
            down: None,
            live: BTreeMap::new(),
            names: HashMap::new(),
            checked: HashMap::new(),
            tries: Vec::new(),
            ended_tries: Vec::new(),
            policies: HashMap::new(),
            default: Policy::default(),
            shuffled: Vec::new(),
            inputs: VecDeque::new(),
            stopped_by_request: HashSet::new(),
            let_go: HashSet::new(),
            requests: 0,
            replica,
            copies: Copies::default(),
            most_children,
        }
    }

    /// Returns a driver for a started tree, with an empty log.
    pub(super) fn started(tree: &ChildDeclaration) -> Self {
        let mut driver = Self::new(tree);
        driver.start();
        driver.log();
        driver
    }

    pub(super) fn set_default(&mut self, policy: Policy) {
        self.default = policy;
    }

    /// Gives each child one of these policies, chosen by its path.
    pub(super) fn set_shuffled(&mut self, policies: Vec<Policy>) {
        self.shuffled = policies;
    }

    pub(super) fn policy(&mut self, path: &str) -> &mut Policy {
        let sum: usize = path.bytes().map(usize::from).sum();
        let default =
            if self.shuffled.is_empty() { self.default } else { self.shuffled[sum % self.shuffled.len()] };
        self.policies.entry(path.to_owned()).or_insert(default)
    }

    /// Returns `true` if the body of a child was let go.
    pub(super) fn was_let_go(&self, path: &str) -> bool {
        self.let_go.contains(&self.id(path))
    }

    /// Returns the live attempt of a child, if there is one.
    pub(super) fn lives(&self, id: ChildId) -> Option<Attempt> {
        self.live.get(&id).map(|live| live.attempt)
    }

    pub(super) fn obeys(&mut self, path: &str, obeys: Obeys) {
        self.policy(path).obeys = obeys;
    }

    /// Returns the child at a path below the root. The empty path is the root.
    #[track_caller]
    pub(super) fn id(&self, path: &str) -> ChildId {
        self.find(path).unwrap_or_else(|| panic!("there is no {path:?}"))
    }

    pub(super) fn find(&self, path: &str) -> Option<ChildId> {
        let root = self.machine.path(self.machine.root())?;
        self.machine.find(&if path.is_empty() { root } else { root.join(path) })
    }

    fn name(&mut self, id: ChildId) -> String {
        match self.machine.path(id) {
            Some(path) => {
                let text = short(&path);
                self.names.insert(id, text.clone());
                text
            }
            None => self.names.get(&id).cloned().unwrap_or_else(|| format!("{id:?}")),
        }
    }

    // Inputs.

    #[track_caller]
    pub(super) fn input(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.run();
    }

    #[track_caller]
    pub(super) fn start(&mut self) {
        self.input(Input::Start);
    }

    #[track_caller]
    pub(super) fn stop(&mut self) {
        self.input(Input::Stop);
    }

    #[track_caller]
    pub(super) fn kill(&mut self) {
        self.input(Input::Kill);
    }

    /// Returns the live attempt of a child, which must have one.
    #[track_caller]
    pub(super) fn attempt(&self, path: &str) -> Attempt {
        let live = self.live.get(&self.id(path));
        live.unwrap_or_else(|| panic!("{path} has no attempt")).attempt
    }

    #[track_caller]
    pub(super) fn exit(&mut self, path: &str, exit: Exit) {
        let (id, attempt) = (self.id(path), self.attempt(path));
        self.input(Input::Exited(id, attempt, exit));
    }

    #[track_caller]
    pub(super) fn fail(&mut self, path: &str) {
        self.exit(path, Exit::failed("boom"));
    }

    #[track_caller]
    pub(super) fn complete(&mut self, path: &str) {
        self.exit(path, Exit::Completed);
    }

    #[track_caller]
    pub(super) fn ready(&mut self, path: &str) {
        let (id, attempt) = (self.id(path), self.attempt(path));
        self.input(Input::Ready(id, attempt));
    }

    #[track_caller]
    pub(super) fn health(&mut self, path: &str, health: Health) {
        let (id, attempt) = (self.id(path), self.attempt(path));
        self.input(Input::Health(id, attempt, health, None));
    }

    pub(super) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    #[track_caller]
    pub(super) fn command(&mut self, path: &str, command: Command) -> RequestId {
        let id = self.id(path);
        self.command_to(id, command)
    }

    /// Waits for a moment in the life of a child.
    #[track_caller]
    pub(super) fn watch(&mut self, path: &str, moment: Moment) -> RequestId {
        let (request, id) = (self.request(), self.id(path));
        self.input(Input::Watch { request, id, moment });
        request
    }

    #[track_caller]
    pub(super) fn command_to(&mut self, id: ChildId, command: Command) -> RequestId {
        let request = self.request();
        match command {
            Command::Stop | Command::Remove | Command::Quarantine => self.stopped_by_request.insert(id),
            Command::Start | Command::Restart | Command::Release => self.stopped_by_request.remove(&id),
            Command::Pause | Command::Resume => true,
        };
        self.input(Input::Command { request, id, command });
        if let Some(Err(_)) = self.answer(request) {
            self.stopped_by_request.remove(&id);
        }
        request
    }

    /// Gives a command and returns its answer, which must be there.
    #[track_caller]
    pub(super) fn ask(&mut self, path: &str, command: Command) -> Answer {
        let request = self.command(path, command);
        self.answer(request).expect("the answer is there")
    }

    #[track_caller]
    pub(super) fn add(&mut self, parent: &str, declared: &ChildDeclaration) -> Result<RequestId, Refusal> {
        let (request, parent) = (self.request(), self.id(parent));
        self.machine.add_child(self.now, parent, declared, Some(request))?;
        self.run();
        Ok(request)
    }

    #[track_caller]
    pub(super) fn add_member(&mut self, group: &str, member: Option<&str>) -> Result<RequestId, Refusal> {
        let (request, group) = (self.request(), self.id(group));
        let member = member.map(|text| Name::new(text).expect("a good name"));
        self.machine.add_member(self.now, group, member, Some(request))?;
        self.run();
        Ok(request)
    }

    /// Lets time pass. Each timer fires at its deadline.
    #[track_caller]
    pub(super) fn advance(&mut self, duration: Duration) {
        let until = self.now.after(duration);
        let mut ticks = 0;
        while let Some(at) = self.machine.poll_deadline().filter(|at| *at <= until) {
            ticks = if at > self.now { 0 } else { ticks + 1 };
            assert!(ticks < 1_000, "time stands still at {:?}", self.now);
            self.now = self.now.max(at);
            self.input(Input::Tick);
        }
        self.jump(until);
    }

    /// Lets time pass at once. One late tick fires all timers that became due.
    #[track_caller]
    pub(super) fn jump(&mut self, until: Time) {
        self.now = until;
        self.input(Input::Tick);
    }

    // Observations.

    /// Returns the actions since the last call.
    pub(super) fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// Returns the names of the children that had this kind of action since the last call, in order.
    pub(super) fn done(&mut self, word: &str) -> Vec<String> {
        let log = self.log();
        log.iter().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).map(str::to_owned).collect()
    }

    /// Returns the answer to a request, if it was given.
    pub(super) fn answer(&self, request: RequestId) -> Option<Answer> {
        self.answers.iter().find(|(whose, _)| *whose == request).map(|(_, answer)| answer.clone())
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        self.machine.snapshot(self.now)
    }

    #[track_caller]
    pub(super) fn view(&mut self, path: &str) -> ChildView {
        let id = self.id(path);
        let snapshot = self.snapshot();
        let view = snapshot.nodes().find(|node| node.id == id).cloned();
        view.expect("every child is in the snapshot")
    }

    /// Returns the state of a child as one word, or `gone` if there is no child.
    #[track_caller]
    pub(super) fn state(&mut self, path: &str) -> &'static str {
        if self.find(path).is_none() { "gone" } else { self.view(path).state.as_str() }
    }

    #[track_caller]
    pub(super) fn states<const N: usize>(&mut self, paths: [&str; N]) -> [&'static str; N] {
        paths.map(|path| self.state(path))
    }

    /// Returns the names of all children that have a living attempt, dedicated runtimes included.
    pub(super) fn alive(&mut self) -> Vec<String> {
        let ids: Vec<_> = self.live.keys().copied().collect();
        let mut names: Vec<_> = ids.into_iter().map(|id| self.name(id)).collect();
        names.sort();
        names
    }

    pub(super) fn is_alive(&self, path: &str) -> bool {
        self.find(path).is_some_and(|id| self.live.contains_key(&id))
    }

    #[track_caller]
    pub(super) fn report(&self) -> Arc<StopReport> {
        Arc::clone(&self.down.as_ref().expect("the tree is down").1)
    }

    /// Returns the kind of the exit with which the tree ended.
    #[track_caller]
    pub(super) fn down_kind(&self) -> &'static str {
        self.down.as_ref().expect("the tree is down").0.kind()
    }

    /// Returns the number of events of this name.
    pub(super) fn count(&self, name: &str) -> usize {
        self.events.iter().filter(|event| event.kind.name() == name).count()
    }

    // The driver.

    #[track_caller]
    pub(super) fn run(&mut self) {
        loop {
            while let Some(effect) = self.machine.poll_effect() {
                self.effect(effect);
            }
            if self.careful {
                self.machine.audit();
                let snapshot = self.machine.snapshot(self.now);
                self.replica.compare(&snapshot);
                self.copies.step(&mut self.machine, self.now);
                self.most_children = self.most_children.max(snapshot.nodes().count());
                // The slot table grows by doubling.
                let bound = 2 * (self.most_children + LARGEST_ADDED);
                assert!(self.machine.slot_count() <= bound, "vacant slots are used before new ones are made");
            }
            if !self.careful {
                self.most_children = UNCOUNTED;
            }
            let Some(input) = self.inputs.pop_front() else { return };
            if self.careful {
                self.history.push(format!("{:?} {input:?}", self.now));
            }
            if let Input::Exited(id, attempt, ..) = &input {
                self.attempt_ended(*id, *attempt);
            }
            self.machine.handle(self.now, self.random, input);
        }
    }

    fn attempt_ended(&mut self, id: ChildId, attempt: Attempt) {
        if self.live.get(&id).is_some_and(|live| live.attempt == attempt) {
            self.live.remove(&id);
            self.note("gone", id);
        }
    }

    fn note(&mut self, word: &str, id: ChildId) {
        let name = self.name(id);
        self.log.push(format!("{word} {name}"));
    }

    #[track_caller]
    fn effect(&mut self, effect: Effect) {
        if self.careful {
            self.history.push(match &effect {
                Effect::Event(event) => format!("    {} {:?}", event.path, event.kind),
                effect => format!("  {effect:?}"),
            });
        }
        match effect {
            Effect::Start(id, attempt) => self.spawn(id, attempt),
            Effect::Ask(id, attempt) => {
                self.note("ask", id);
                self.expect_live(id, attempt, "ask");
                self.obey(id, attempt, &[Obeys::Ask], Exit::Stopped);
            }
            Effect::Kill(id, attempt) => {
                self.note("kill", id);
                self.expect_live(id, attempt, "kill");
                if let Some(live) = self.live.get_mut(&id) {
                    assert!(!std::mem::replace(&mut live.killed, true), "{id:?} is killed twice");
                }
                self.obey(id, attempt, &[Obeys::Ask, Obeys::Kill], Exit::Killed);
            }
            Effect::Abandon(id, attempt) => {
                self.note("abandon", id);
                self.expect_live(id, attempt, "abandon");
                let live = self.live.remove(&id);
                assert!(live.is_some_and(|live| live.killed), "{id:?} is abandoned and was not killed");
            }
            Effect::Forget(id, _) => {
                self.note("forget", id);
                assert!(!self.live.contains_key(&id), "{id:?} is forgotten while it has a live attempt");
            }
            Effect::LetGo(id) => {
                assert!(!self.live.contains_key(&id), "{id:?} is let go while it has a live attempt");
                assert!(self.let_go.insert(id), "{id:?} is let go twice");
            }
            Effect::CheckHeartbeat(id, attempt) => {
                let name = self.name(id);
                let beaten = self.policy(&name).beats;
                self.inputs.push_back(Input::Heartbeat(id, attempt, beaten));
            }
            Effect::Check(id, attempt, index, number) => {
                let name = self.name(id);
                let check = self.machine.spec(id).expect("it lives").checks()[index as usize].name.clone();
                let key = format!("{name}.{check}");
                self.tries.push(key.clone());
                let answer = match self.checked.get(&key) {
                    Some(Checked::Silent) => return,
                    Some(Checked::Fails) => Err("no".into()),
                    None => Ok(()),
                };
                self.inputs.push_back(Input::Checked(id, attempt, index, number, answer));
            }
            Effect::EndCheck(id, attempt, index) => {
                assert_eq!(
                    self.live.get(&id).map(|live| live.attempt),
                    Some(attempt),
                    "a try of an old attempt"
                );
                let name = self.name(id);
                let check = &self.machine.spec(id).expect("it lives").checks()[index as usize].name;
                self.ended_tries.push(format!("{name}.{check}"));
            }
            Effect::Reply { request, result } => {
                assert!(self.answer(request).is_none(), "{request:?} is answered twice");
                self.answers.push((request, result));
            }
            Effect::Event(event) => {
                if self.careful {
                    self.replica.apply(&event);
                }
                self.events.push(*event);
            }
            Effect::TreeReady => self.log.push("up".to_owned()),
            Effect::TreeEnded { exit, report } => {
                assert!(self.live.is_empty(), "the tree is down and {:?} live", self.live);
                let paths: BTreeSet<&str> = report.entries.iter().map(|entry| entry.path.as_str()).collect();
                assert_eq!(paths.len(), report.entries.len(), "listed twice: {:?}", report.entries);
                assert!(self.down.replace((exit, report)).is_none(), "down twice");
                self.log.push("down".to_owned());
            }
        }
    }

    #[track_caller]
    fn spawn(&mut self, id: ChildId, attempt: Attempt) {
        self.note("start", id);
        let name = self.name(id);
        assert!(self.down.is_none(), "{name} starts although the tree is down");
        assert!(!self.stopped_by_request.contains(&id), "{name} starts although it was stopped by command");
        assert!(!self.let_go.contains(&id), "{name} starts although its body was let go");
        let before = self.live.insert(id, Live { attempt, killed: false });
        assert!(before.is_none(), "{name} starts and has a living attempt: {before:?}");
        if self.policy(&name).ready {
            self.inputs.push_back(Input::Ready(id, attempt));
        }
    }

    #[track_caller]
    fn expect_live(&self, id: ChildId, attempt: Attempt, word: &str) {
        let exiting = self.inputs.iter().any(|input| matches!(input, Input::Exited(i, ..) if *i == id));
        let live = self.live.get(&id).is_some_and(|live| live.attempt == attempt);
        assert!(live || exiting, "{word}: attempt {attempt} of {:?} does not live", self.names.get(&id));
    }

    fn obey(&mut self, id: ChildId, attempt: Attempt, which: &[Obeys], exit: Exit) {
        let name = self.name(id);
        if which.contains(&self.policy(&name).obeys) {
            self.inputs.push_back(Input::Exited(id, attempt, exit));
        }
    }
}

impl Drop for TestDriver {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.history.len().saturating_sub(60);
            println!("the last inputs and effects:\n{}", self.history[from..].join("\n"));
        }
    }
}

/// Returns a path without the name of the tree.
pub(super) fn short(path: &Path) -> String {
    path.names().skip(1).collect::<Vec<_>>().join("/")
}
