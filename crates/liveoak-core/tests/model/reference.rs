//! The reference: what a supervision tree does, written down as plainly as possible and apart from the machine.
//!
//! Children are found by path in a map; whatever can be computed from the states (who lives, who waits, which deadline
//! is next) is computed each time by looking at all of them. After each event every supervisor is looked at again and
//! again until nothing changes any more. Slow, and easy to check against the laws.

use crate::child::{Body, Child, Kind, Mode, NEVER, NO_PLAN, Path, Phase, is_failure, later};
use crate::stopping::Act;
use liveoak_core::{
    ChildDeclaration, ChildForm, ChildSpec, Command, Condition, Edge, Health, IdleReason, Order, Ready,
    Restart, Strategy,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Whether an `after` edge lets its child start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// The other is ill, or has failed and waits for its restart.
    Ailing,
    Closed,
    Never,
}

/// A whole tree.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) declared: ChildDeclaration,
    pub(crate) random: u64,
    pub(crate) now: u64,
    pub(crate) children: BTreeMap<Path, Child>,
    /// How the root ended.
    pub(crate) down: Option<Kind>,
    /// What was done by the last step: `spawn /t/a`, `ask /t/a`, `kill /t/a`, `abandon /t/a`.
    pub(crate) acts: Vec<String>,
    /// What the commands were answered.
    pub(crate) answers: BTreeMap<u64, &'static str>,
    pub(crate) requests: u64,
    /// What is still to be done to all members of a group.
    pub(crate) sweeps: VecDeque<(Path, Act)>,
    /// Two deadlines fell together, and from here on it is not said what comes of that.
    pub(crate) tied: bool,
    /// Children that give no heartbeats.
    pub(crate) hung: BTreeSet<Path>,
    /// Children whose heartbeat is to be looked at.
    pub(crate) checks: Vec<Path>,
    /// Grows with every change: how the end of all changes is found.
    pub(crate) changes: u64,
}

pub(crate) const ROOT: &str = "/t";

pub(crate) fn above(path: &str) -> Option<Path> {
    let (parent, _) = path.rsplit_once('/')?;
    (!parent.is_empty()).then(|| parent.to_owned())
}

impl Model {
    pub(crate) fn new(declared: ChildDeclaration, random: u64) -> Self {
        let mut model = Self {
            declared: declared.clone(),
            random,
            now: 0,
            children: BTreeMap::new(),
            down: None,
            acts: Vec::new(),
            answers: BTreeMap::new(),
            requests: 0,
            sweeps: VecDeque::new(),
            tied: false,
            hung: BTreeSet::new(),
            checks: Vec::new(),
            changes: 0,
        };
        model.insert(ROOT, &declared);
        model.begin(ROOT);
        model.settle();
        model
    }

    pub(crate) fn insert(&mut self, path: &str, declared: &ChildDeclaration) {
        let body = match &declared.form {
            ChildForm::Leaf => Body::Leaf,
            ChildForm::Supervisor(rules) => Body::Supervisor(Box::new(rules.clone())),
            ChildForm::Group(group) => Body::Group(Box::new(group.clone())),
        };
        self.children.insert(path.to_owned(), self.fresh(declared.spec.clone(), body));
        if let ChildForm::Supervisor(rules) = &declared.form {
            // Each behind all that it comes after, and otherwise as declared.
            let mut left: Vec<&ChildDeclaration> = rules.children.iter().collect();
            while !left.is_empty() {
                let free = |child: &&ChildDeclaration| {
                    let after = &child.spec.after;
                    after.iter().all(|edge| left.iter().all(|other| other.name != edge.child))
                };
                let at = left.iter().position(free).expect("no circle");
                let child = left.remove(at);
                let name = child.name.as_str();
                self.of(path).kids.push(name.to_owned());
                self.insert(&format!("{path}/{name}"), child);
            }
        }
    }

    pub(crate) fn fresh(&self, spec: ChildSpec, body: Body) -> Child {
        Child {
            spec,
            body,
            phase: Phase::Idle(IdleReason::SupervisorDown),
            since: self.now,
            started: 0,
            timer: NEVER,
            attempt: 0,
            wanted: true,
            removing: false,
            swept: false,
            cut_short: false,
            again: false,
            restarting: false,
            ever_ready: false,
            was_ready: false,
            attempt_ready: false,
            on_trial: false,
            added: false,
            streak: 0,
            restarts: 0,
            charges: Vec::new(),
            last_exit: None,
            cause: None,
            gave_up: false,
            health: Health::Healthy,
            last_beat: 0,
            patience: None,
            waiters: Vec::new(),
            kids: Vec::new(),
            joint: Vec::new(),
            mode: Mode::Down,
            plan: NO_PLAN,
            runtime_lost: false,
        }
    }

    // Looking.

    pub(crate) fn at(&self, path: &str) -> &Child {
        &self.children[path]
    }

    pub(crate) fn of(&mut self, path: &str) -> &mut Child {
        self.changes += 1;
        self.children.get_mut(path).expect("a child of the tree")
    }

    pub(crate) fn kids(&self, path: &str) -> Vec<Path> {
        self.at(path).kids.iter().map(|name| format!("{path}/{name}")).collect()
    }

    pub(crate) fn is_member(&self, path: &str) -> bool {
        above(path).is_some_and(|parent| self.at(&parent).is_group())
    }

    pub(crate) fn parent_ends(&self, path: &str) -> bool {
        above(path).is_some_and(|parent| self.at(&parent).ending())
    }

    pub(crate) fn those(&self, which: impl Fn(&Child) -> bool) -> Vec<Path> {
        let wanted = self.children.iter().filter(|(_, child)| which(child));
        wanted.map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn leaves(&self, which: impl Fn(&Child) -> bool) -> Vec<Path> {
        self.those(|child| child.is_leaf() && which(child))
    }

    // Starting.

    pub(crate) fn set(&mut self, path: &str, phase: Phase) {
        let now = self.now;
        let child = self.of(path);
        let timer = std::mem::replace(&mut child.timer, NEVER);
        let was_waiting = child.phase == Phase::Waiting;
        let was = (child.stopping(), child.lives());
        child.phase = phase;
        if !(was.0 && child.stopping()) {
            child.since = now;
        }
        if was.1 && !child.lives() {
            child.swept = false;
        }
        if phase != Phase::Waiting {
            child.patience = None;
        } else if was_waiting && timer != NEVER {
            child.patience = Some(timer.saturating_sub(now).max(1));
        }
    }

    pub(crate) fn begin(&mut self, path: &str) {
        self.set(path, Phase::Starting);
        let now = self.now;
        let child = self.of(path);
        child.count_attempt(now);
        let deadline = later(now, child.spec.start_within);
        if !child.is_leaf() {
            child.timer = deadline;
            child.joint.clear();
            child.runtime_lost = false;
            if child.placed() {
                child.mode = Mode::Opening;
                return self.acts.push(format!("spawn {path}"));
            }
            return self.open(path);
        }
        self.acts.push(format!("spawn {path}"));
        match self.at(path).spec.ready {
            Ready::AtOnce => self.ready(path),
            Ready::Reported => self.of(path).timer = deadline,
        }
    }

    pub(crate) fn open(&mut self, path: &str) {
        if self.at(path).is_group() {
            self.of(path).mode = Mode::Up;
            return self.ready(path);
        }
        self.of(path).mode = Mode::Starting;
        for kid in self.kids(path) {
            let child = self.of(&kid);
            (child.removing, child.swept, child.again, child.on_trial) = (false, false, false, false);
            child.cut_short = false;
            (child.ever_ready, child.was_ready, child.attempt_ready) = (false, false, false);
            child.streak = 0;
            child.charges.clear();
            child.gave_up = false;
            child.restarting = false;
            if child.wanted {
                self.set(&kid, Phase::Waiting);
            }
        }
    }

    /// It may start as far as it is concerned: its supervisor sees to it, unless there is no order to keep.
    pub(crate) fn let_start(&mut self, path: &str) {
        if path == ROOT || self.is_member(path) {
            self.begin(path);
        } else {
            self.set(path, Phase::Waiting);
        }
    }

    pub(crate) fn ready(&mut self, path: &str) {
        if self.at(path).phase != Phase::Starting {
            return;
        }
        self.set(path, Phase::Running);
        let now = self.now;
        let child = self.of(path);
        (child.ever_ready, child.was_ready, child.attempt_ready) = (true, true, true);
        child.on_trial = false;
        if let Some(period) = child.spec.heartbeat {
            child.last_beat = now;
            child.timer = later(now, period / 4);
        }
        self.answer(path, |command| matches!(command, Command::Start | Command::Restart).then_some("ready"));
    }

    /// Looks after all supervisors, and then does to each member of a stopping group what is due, one by one.
    pub(crate) fn settle(&mut self) {
        self.look_after_all();
        while let Some((group, act)) = self.sweeps.pop_front() {
            let members = if self.children.contains_key(&group) { self.kids(&group) } else { Vec::new() };
            for member in members {
                if self.children.contains_key(&member) {
                    self.act_on(&member, act);
                    self.look_after_all();
                }
            }
        }
    }

    /// Looks after every supervisor, those deep down first, until there is nothing more to do.
    fn look_after_all(&mut self) {
        loop {
            let before = self.changes;
            let mut supervisors = Vec::new();
            self.supervisors(ROOT, &mut supervisors);
            supervisors.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
            for path in supervisors {
                if self.changes == before {
                    self.look_after(&path);
                }
            }
            if self.changes == before {
                return;
            }
        }
    }

    /// Those at and below `path`, in the order of their start.
    fn supervisors(&self, path: &str, all: &mut Vec<Path>) {
        if !self.at(path).is_leaf() {
            all.push(path.to_owned());
            self.kids(path).iter().for_each(|kid| self.supervisors(kid, all));
        }
    }

    /// What a supervisor does next, read off the states of its children.
    fn look_after(&mut self, path: &str) {
        match self.at(path).mode {
            Mode::Down | Mode::Opening | Mode::Closing => {}
            Mode::Stopping => self.go_on_stopping(path),
            Mode::Starting | Mode::Up => {
                if self.kids(path).iter().any(|kid| self.at(kid).swept) {
                    self.stop_next(path, true);
                }
                self.start_next(path);
                let kids = self.kids(path);
                let settled = |kid: &Path| self.at(kid).ever_ready || self.is_at_rest(kid);
                if self.at(path).mode == Mode::Starting && kids.iter().all(settled) {
                    self.of(path).mode = Mode::Up;
                    self.ready(path);
                }
                let ends = self.at(path).rules().is_some_and(|rules| rules.end_when_done);
                if self.at(path).mode == Mode::Up && ends && kids.iter().all(|kid| self.is_done(kid)) {
                    let bad = kids.iter().find_map(|kid| self.bad_end(kid));
                    self.fall(path, bad.unwrap_or("completed"));
                }
            }
        }
    }

    fn start_next(&mut self, path: &str) {
        let declared = self.at(path).rules().is_some_and(|rules| rules.order == Order::Declared);
        let mut before = true;
        for kid in self.kids(path) {
            if self.at(path).ending() {
                return;
            }
            let all = self.kids(path);
            let held = all.iter().any(|kid| self.at(kid).swept || self.holds_its_group(path, kid));
            let Some(child) = self.children.get(&kid) else { continue };
            let its_turn = child.was_ready || !held && (before || !declared);
            if child.phase == Phase::Waiting {
                self.try_to_start(path, &kid, its_turn);
            }
            if let Some(child) = self.children.get(&kid) {
                before &= child.was_ready || self.is_at_rest(&kid);
            }
        }
    }

    /// Whether its backoff is that of a group restart.
    fn holds_its_group(&self, parent: &str, kid: &str) -> bool {
        let strategy = self.at(parent).rules().map_or(Strategy::OneForOne, |rules| rules.strategy);
        let kid = self.at(kid);
        strategy != Strategy::OneForOne && kid.phase == Phase::BackingOff && !kid.was_ready
    }

    fn try_to_start(&mut self, path: &str, kid: &str, its_turn: bool) {
        let gates: Vec<Gate> = self.at(kid).spec.after.iter().map(|edge| self.gate(path, edge)).collect();
        let (rests, never) = (self.rests(kid), its_turn && gates.contains(&Gate::Never));
        if its_turn && gates.iter().all(|gate| *gate == Gate::Open) {
            return self.begin(kid);
        }
        let child = self.at(kid);
        let within = match child.spec.start_within {
            Duration::MAX if !child.is_leaf() => Duration::from_secs(30),
            within => within,
        };
        let ailing = gates.iter().all(|gate| matches!(gate, Gate::Open | Gate::Ailing));
        let mut over = false;
        if its_turn && ailing && !rests && within != Duration::MAX {
            let left = child.patience.unwrap_or(within.as_nanos() as u64);
            over = left == 0;
            if !over && child.timer == NEVER {
                let now = self.now;
                let child = self.of(kid);
                (child.timer, child.patience) = (now + left, Some(left));
            }
        } else if child.timer != NEVER {
            let left = child.timer.saturating_sub(self.now).max(1);
            let child = self.of(kid);
            (child.timer, child.patience) = (NEVER, Some(left));
        }
        if never || over || rests && self.at(kid).on_trial {
            self.cannot_start(kid);
        } else if rests {
            self.refuse_start(kid);
        }
    }

    /// An attempt that has failed before it was begun.
    fn cannot_start(&mut self, kid: &str) {
        let now = self.now;
        let child = self.of(kid);
        child.count_attempt(now);
        self.decide(kid, "failed", 0);
    }

    /// Whether it waits for one that rests by wish, or for one that waits for such.
    fn rests(&self, path: &str) -> bool {
        let Some(parent) = above(path) else { return false };
        let child = self.at(path);
        let never = |edge: &Edge| self.gate(&parent, edge) == Gate::Never;
        let after = &child.spec.after;
        child.phase == Phase::Waiting
            && after.iter().any(|edge| self.rests_by_wish(&parent, edge))
            && !after.iter().any(never)
    }

    /// Whether the other rests by wish, or waits for one that does.
    fn rests_by_wish(&self, parent: &str, edge: &Edge) -> bool {
        let other = format!("{parent}/{}", edge.child);
        let phase = self.children.get(&other).map(|other| other.phase);
        matches!(phase, Some(Phase::Idle(IdleReason::StoppedByRequest | IdleReason::Quarantined)))
            || phase == Some(Phase::Waiting) && self.rests(&other)
    }

    /// Whether nobody has to wait for it.
    pub(crate) fn is_at_rest(&self, path: &str) -> bool {
        matches!(self.at(path).phase, Phase::Idle(_)) || self.rests(path)
    }

    /// What a waiting child waits for, and until when at most.
    pub(crate) fn waits_for(&self, path: &str) -> (String, u64) {
        let Some(parent) = above(path) else { return ("nothing".to_owned(), NEVER) };
        let (kids, child) = (self.kids(&parent), self.at(path));
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let deadline = |path: &str| {
            let other = self.at(path);
            if matches!(other.phase, Phase::Starting | Phase::Waiting) { other.timer } else { NEVER }
        };
        if !child.was_ready {
            if kids.iter().any(|kid| self.at(kid).swept) {
                return ("group stop".to_owned(), NEVER);
            }
            if let Some(kid) = kids.iter().find(|kid| self.holds_its_group(&parent, kid)) {
                return (format!("backoff {}", name(kid)), self.at(kid).timer);
            }
            let declared = self.at(&parent).rules().is_some_and(|rules| rules.order == Order::Declared);
            let mut earlier = kids.iter().take_while(|kid| *kid != path).filter(|_| declared);
            if let Some(kid) = earlier.find(|kid| !self.at(kid).was_ready && !self.is_at_rest(kid)) {
                return (format!("turn {}", name(kid)), deadline(kid));
            }
        }
        let rank = |edge: &&Edge| match self.gate(&parent, edge) {
            Gate::Open => 0,
            Gate::Ailing => 1,
            Gate::Never => 4,
            Gate::Closed => 2 + u8::from(self.rests_by_wish(&parent, edge)),
        };
        let worst = child.spec.after.iter().map(|edge| rank(&edge)).max().unwrap_or(0);
        let Some(edge) = child.spec.after.iter().find(|edge| worst > 0 && rank(edge) == worst) else {
            return ("nothing".to_owned(), NEVER);
        };
        let until = match edge.condition {
            _ if child.timer != NEVER => child.timer,
            Condition::Completed => NEVER,
            _ => deadline(&format!("{parent}/{}", edge.child)),
        };
        (format!("{} {:?}", edge.child, edge.condition), until)
    }

    pub(crate) fn is_first_start(&self, parent: &str, kid: &str) -> bool {
        self.at(parent).mode == Mode::Starting && !self.at(kid).ever_ready
    }

    fn gate(&self, parent: &str, edge: &Edge) -> Gate {
        let path = format!("{parent}/{}", edge.child);
        let Some(other) = self.children.get(&path) else { return Gate::Never };
        let holds = match other.phase {
            Phase::Idle(IdleReason::Ignored) => true,
            Phase::Idle(IdleReason::Finished) if other.cut_short => return Gate::Never,
            Phase::Idle(IdleReason::Finished) => match other.last_exit {
                Some("stopped") => return Gate::Never,
                Some(exit) if is_failure(exit) => return Gate::Never,
                _ => true,
            },
            Phase::BackingOff if edge.condition != Condition::Completed => return Gate::Ailing,
            Phase::Starting => edge.condition == Condition::Started,
            Phase::Running => match edge.condition {
                Condition::Started | Condition::Ready => true,
                Condition::Healthy if self.health(&path) == Health::Healthy => true,
                Condition::Healthy => return Gate::Ailing,
                Condition::Completed => false,
            },
            _ => false,
        };
        if holds { Gate::Open } else { Gate::Closed }
    }

    pub(crate) fn health(&self, path: &str) -> Health {
        let child = self.at(path);
        match child.phase {
            Phase::Running => {
                let kids = self.kids(path);
                kids.iter().map(|kid| self.health(kid)).fold(child.health, Health::max)
            }
            Phase::Idle(IdleReason::Ignored) => Health::Healthy,
            Phase::Idle(IdleReason::Finished) if !child.last_exit.is_some_and(is_failure) => Health::Healthy,
            Phase::Idle(IdleReason::SupervisorDown | IdleReason::Quarantined) | Phase::BackingOff => {
                Health::Unhealthy
            }
            _ => Health::Degraded,
        }
    }

    /// Whether nothing at or below `path` runs or will by itself.
    fn is_done(&self, path: &str) -> bool {
        let child = self.at(path);
        match child.phase {
            Phase::Idle(why) => why != IdleReason::StoppedByRequest,
            Phase::Waiting => self.rests(path),
            Phase::Running if child.rules().is_some() => self.kids(path).iter().all(|kid| self.is_done(kid)),
            _ => false,
        }
    }

    fn bad_end(&self, path: &str) -> Option<Kind> {
        let child = self.at(path);
        match child.phase {
            Phase::Idle(IdleReason::Quarantined) => Some("gave-up"),
            Phase::Idle(IdleReason::Finished)
                if child.cut_short || child.last_exit.is_some_and(is_failure) =>
            {
                Some(if child.gave_up { "gave-up" } else { "failed" })
            }
            _ if child.is_group() => None,
            _ => self.kids(path).iter().find_map(|kid| self.bad_end(kid)),
        }
    }

    /// Whether an end before readiness is a failed start.
    pub(crate) fn is_failed_start(&self, path: &str, exit: Kind) -> bool {
        exit != "ignored" && (is_failure(exit) || self.at(path).spec.restart == Restart::Permanent)
    }
}
