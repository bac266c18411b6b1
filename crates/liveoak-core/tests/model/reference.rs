//! The reference model, part 2: the tree, and what lets a child start.
//!
//! The model is written as plainly as possible. Children are found by path in a map. Everything that follows from the
//! children's states (which of them live, which wait, the next deadline) is computed anew from all of them. After each
//! step every supervisor is evaluated until nothing changes. This is slow, and easy to check against the rules.

use crate::child::{Body, Child, Kind, Mode, NEVER, NO_PLAN, Path, Phase, is_failure, is_start, later};
use crate::needs::Needs;
use crate::stopping::Act;
use liveoak_core::{ChildDeclaration, ChildForm, ChildSpec, Health, IdleReason, Order, Ready, Restart};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The state of one dependency, which decides whether the dependent child may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DependencyState {
    /// The child may start.
    Satisfied,
    /// The dependency runs and is not healthy or has not completed, or waits for a restart. In a first start this may
    /// last as long as the start of the child.
    Unmet,
    /// The dependency waits, starts or stops, or is held. The child waits.
    Pending,
    /// The dependency has ended for good and does not satisfy the edge. A first start fails; else the child is held.
    Unreachable,
}

/// A whole tree, with what the last step did.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) declared: ChildDeclaration,
    pub(crate) random: u64,
    pub(crate) now: u64,
    pub(crate) children: BTreeMap<Path, Child>,
    /// The exit of the root, when the tree has ended.
    pub(crate) down: Option<Kind>,
    /// The effects of the last step: `spawn /t/a`, `ask /t/a`, `kill /t/a`, `abandon /t/a`.
    pub(crate) acts: Vec<String>,
    /// The answers to commands, by request number.
    pub(crate) answers: BTreeMap<u64, &'static str>,
    /// The number of requests so far.
    pub(crate) requests: u64,
    /// Stopping groups whose members are still to be asked, killed or abandoned.
    pub(crate) member_walks: VecDeque<(Path, Act)>,
    /// Two deadlines were equal, and no rule says which comes first: from here on the states are not compared.
    pub(crate) tied: bool,
    /// Children that give no heartbeats.
    pub(crate) hung: BTreeSet<Path>,
    /// When a deadline was last seen more than a second late.
    pub(crate) last_jump: u64,
    /// Children whose heartbeat has to be checked.
    pub(crate) checks: Vec<Path>,
    /// A counter of changes. Evaluation ends when a pass changes nothing.
    pub(crate) changes: u64,
}

pub(crate) const ROOT: &str = "/t";

/// Returns the path of the supervisor, or `None` for the root.
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
            member_walks: VecDeque::new(),
            tied: false,
            hung: BTreeSet::new(),
            last_jump: 0,
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
        let mut child = self.fresh(declared.spec.clone(), body);
        if declared.spec.manual {
            (child.phase, child.wanted, child.unwanted) = (Phase::Idle(IdleReason::NotWanted), false, true);
        }
        self.children.insert(path.to_owned(), child);
        if let ChildForm::Supervisor(rules) = &declared.form {
            // Start order: the declared order, sorted stably so that each child follows its dependencies.
            let mut left: Vec<&ChildDeclaration> = rules.children.iter().collect();
            while !left.is_empty() {
                let free = |child: &&ChildDeclaration| {
                    let after = &child.spec.after;
                    after.iter().all(|edge| left.iter().all(|other| other.name != edge.child))
                };
                let at = left.iter().position(free).expect("no cycle");
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
            prolonged: NEVER,
            prolonged_plan: NO_PLAN,
            wait_prolonged: false,
            run_timer: NEVER,
            run_prolonged: NEVER,
            answer_timer: NEVER,
            answer_due: false,
            drains: false,
            attempt: 0,
            wanted: true,
            unwanted: false,
            brought_along: false,
            paused: false,
            by_command: false,
            removing: false,
            in_restart_set: false,
            stopped_by_others: false,
            start_when_down: false,
            restarting: false,
            ever_ready: false,
            was_ready: false,
            attempt_ready: false,
            start_by_command: false,
            added: false,
            failures_in_a_row: 0,
            failure_steps: 0,
            end_steps: 0,
            ready_since: 0,
            stable: false,
            had_stable_run: false,
            row_exceeded: false,
            failure_left: false,
            job_failed: false,
            start_not_retryable: false,
            let_go: false,
            needs: Needs::ALL_HOLD,
            restarts: 0,
            restart_times: Vec::new(),
            request_times: Vec::new(),
            last_exit: None,
            cause: None,
            gave_up: false,
            survivors: None,
            retry_after: None,
            trial: false,
            trial_timer: NEVER,
            trial_held: false,
            trial_failed: false,
            health: Health::Healthy,
            last_beat: 0,
            judged_from: None,
            wait_left: None,
            waiters: Vec::new(),
            kids: Vec::new(),
            intensity_times: Vec::new(),
            mode: Mode::Down,
            plan: NO_PLAN,
            runtime_lost: false,
        }
    }

    // Queries.

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

    pub(crate) fn paths_where(&self, which: impl Fn(&Child) -> bool) -> Vec<Path> {
        let wanted = self.children.iter().filter(|(_, child)| which(child));
        wanted.map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn leaves(&self, which: impl Fn(&Child) -> bool) -> Vec<Path> {
        self.paths_where(|child| child.is_leaf() && which(child))
    }

    // Starting.

    /// Sets the phase and clears the timer. A wait in a first start keeps the time that is left. Commands that asked for
    /// the start of a waiting child are answered in time.
    pub(crate) fn set(&mut self, path: &str, phase: Phase) {
        let now = self.now;
        if self.at(path).phase == Phase::Running && phase != Phase::Running {
            self.of(path).stable = self.is_stable_now(path);
        }
        let child = self.of(path);
        let timer = std::mem::replace(&mut child.timer, NEVER);
        child.run_timer = NEVER;
        let was_waiting = child.phase == Phase::Waiting;
        let was = (child.stopping(), child.lives());
        child.phase = phase;
        child.trial_timer = NEVER;
        child.trial &= !matches!(phase, Phase::Idle(_));
        child.drains = false;
        if !matches!(phase, Phase::Starting | Phase::Running) {
            child.needs.forget();
        }
        if !(was.0 && child.stopping()) {
            child.since = now;
        }
        if was.1 && !child.lives() {
            child.in_restart_set = false;
        }
        if phase != Phase::Waiting {
            (child.wait_left, child.answer_timer, child.answer_due) = (None, NEVER, false);
            child.wait_prolonged = false;
        } else if was_waiting && timer != NEVER {
            child.wait_left = Some(timer.saturating_sub(now).max(1));
        }
        if phase == Phase::Waiting
            && child.answer_timer == NEVER
            && child.waiters.iter().any(|(_, command)| is_start(*command))
        {
            child.answer_timer = later(now, child.longest_wait());
        }
        if phase == Phase::Waiting {
            self.bring_along(path);
        }
    }

    /// Begins an attempt.
    pub(crate) fn begin(&mut self, path: &str) {
        self.set(path, Phase::Starting);
        let now = self.now;
        let child = self.of(path);
        child.count_attempt(now);
        let deadline = later(now, child.spec.start_within);
        if !child.is_leaf() {
            child.timer = deadline;
            child.intensity_times.clear();
            (child.runtime_lost, child.failure_left, child.start_not_retryable) = (false, false, false);
            child.job_failed = false;
            if child.has_runtime() {
                child.mode = Mode::Opening;
                return self.acts.push(format!("spawn {path}"));
            }
            return self.start_children(path);
        }
        self.acts.push(format!("spawn {path}"));
        match self.at(path).spec.ready {
            Ready::AtOnce => self.ready(path),
            Ready::Reported => self.of(path).timer = deadline,
        }
    }

    /// Lets all children of a starting supervisor wait for their turn. A group is ready at once.
    pub(crate) fn start_children(&mut self, path: &str) {
        if self.at(path).is_group() {
            self.of(path).mode = Mode::Up;
            return self.ready(path);
        }
        self.of(path).mode = Mode::Starting;
        self.choose_wanted(path);
        for kid in self.kids(path) {
            let child = self.of(&kid);
            let stopped_by_others = child.stopped_by_others;
            (child.removing, child.in_restart_set, child.start_when_down, child.start_by_command) =
                (false, false, false, false);
            (child.ever_ready, child.was_ready, child.attempt_ready) = (false, false, false);
            (child.had_stable_run, child.stable) = (false, false);
            child.stopped_by_others = stopped_by_others;
            child.gave_up = false;
            child.restarting = false;
            if child.wanted {
                let finished = Phase::Idle(IdleReason::Finished);
                match self.is_used_up(&kid) {
                    false if self.quarantine_if_survived(&kid) || self.park_if_paused(&kid) => {}
                    false => self.set(&kid, Phase::Waiting),
                    true if self.at(&kid).phase != finished => self.set(&kid, finished),
                    true => {}
                }
            }
        }
    }

    /// Starts a group member or the root at once. Any other child waits, and its supervisor starts it in its turn.
    pub(crate) fn start_or_wait(&mut self, path: &str) {
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
        child.start_by_command = false;
        child.ready_since = now;
        if child.trial {
            child.trial_timer = later(now, child.reset_after());
        }
        if let Some(period) = child.spec.heartbeat {
            (child.last_beat, child.judged_from) = (now, None);
            child.timer = later(now, period / 4);
        }
        child.run_timer = child.spec.run_within.map_or(NEVER, |within| later(now, within));
        self.answer(path, |command| is_start(command).then_some("ready"));
    }

    /// Returns `true` if the running attempt of a child is stable. A leaf or a group is stable after `reset_after`. A
    /// stuck child was ready until its last heartbeat. Time before a late deadline does not count. Any other
    /// supervisor is stable when each declared child in it had a stable run or a success, was stopped by command, or
    /// is held.
    pub(crate) fn is_stable_now(&self, path: &str) -> bool {
        let child = self.at(path);
        let end = if child.cause == Some("heartbeat-timeout") { child.last_beat } else { self.now };
        let reset_after = child.reset_after();
        let jump = if self.sees_a_late_deadline() { self.now } else { self.last_jump };
        let ready_since = child.ready_since.max(jump);
        let long_enough = Duration::from_nanos(end.saturating_sub(ready_since)) >= reset_after;
        if child.rules().is_none() {
            return long_enough;
        }
        // Neither what was added counts, nor what runs only once and did so in an earlier attempt.
        let counts = |kid: &Path| {
            let child = self.at(kid);
            let ran_earlier = self.is_used_up(kid) && !child.ever_ready && !child.had_stable_run;
            !child.added && !ran_earlier
        };
        let declared: Vec<Path> = self.kids(path).into_iter().filter(counts).collect();
        let ran = |kid: &Path| {
            let child = self.at(kid);
            let now = child.phase == Phase::Running && self.is_stable_now(kid);
            child.had_stable_run || child.stable || now
        };
        let paused = |kid: &Path| self.at(kid).phase == Phase::Idle(IdleReason::Paused);
        let by_wish = |kid: &Path| !self.at(kid).wanted || paused(kid) || self.waits_for_held(kid);
        declared.iter().all(|kid| ran(kid) || by_wish(kid)) && (declared.iter().any(ran) || long_enough)
    }

    /// Evaluates all supervisors, then asks, kills or abandons the members of stopping groups one by one.
    pub(crate) fn settle(&mut self) {
        self.evaluate_all();
        while let Some((group, act)) = self.member_walks.pop_front() {
            let members = if self.children.contains_key(&group) { self.kids(&group) } else { Vec::new() };
            for member in members {
                if self.children.contains_key(&member) {
                    self.act_on(&member, act);
                    self.evaluate_all();
                }
            }
        }
    }

    /// Evaluates every supervisor, the deepest first, until nothing changes.
    fn evaluate_all(&mut self) {
        loop {
            let before = self.changes;
            let mut supervisors = Vec::new();
            self.supervisors(ROOT, &mut supervisors);
            supervisors.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
            for path in supervisors {
                if self.changes == before {
                    self.evaluate(&path);
                }
            }
            if self.changes == before {
                return;
            }
        }
    }

    /// Adds the supervisors at and below `path` to `all`, in start order.
    fn supervisors(&self, path: &str, all: &mut Vec<Path>) {
        if !self.at(path).is_leaf() {
            all.push(path.to_owned());
            self.kids(path).iter().for_each(|kid| self.supervisors(kid, all));
        }
    }

    /// Decides what a supervisor does next, from its children's states.
    fn evaluate(&mut self, path: &str) {
        match self.at(path).mode {
            Mode::Down | Mode::Opening | Mode::Closing => {}
            Mode::Stopping => self.go_on_stopping(path),
            Mode::Starting | Mode::Up => {
                self.check_needs(path);
                self.stop_unneeded(path);
                if self.kids(path).iter().any(|kid| self.at(kid).in_restart_set) {
                    self.stop_next(path, true);
                }
                self.start_next(path);
                let kids = self.kids(path);
                let settled =
                    |kid: &Path| self.at(kid).ever_ready || self.at(kid).added || self.blocks_no_sibling(kid);
                if self.at(path).mode == Mode::Starting && kids.iter().all(settled) {
                    self.of(path).mode = Mode::Up;
                    self.ready(path);
                }
                let ends = self.at(path).rules().is_some_and(|rules| rules.end_when_done);
                if self.at(path).mode == Mode::Up && ends && kids.iter().all(|kid| self.is_done(kid)) {
                    let bad = kids.iter().find_map(|kid| self.bad_end(kid));
                    let end = if self.has_failed_job(path) { "failed" } else { "completed" };
                    self.fail_supervisor(path, bad.unwrap_or(end));
                }
            }
        }
    }

    /// Starts every waiting child whose turn it is. While a restart set stops or backs off, no child is started for the
    /// first time; with `Order::Declared` a child waits for those before it.
    ///
    /// If starts side by side are bounded, the children that could start take the free places in the order of their waits. A
    /// child that has started may give another one its turn, so the supervisor is looked at again.
    fn start_next(&mut self, path: &str) {
        loop {
            let mut due = self.look_for_starts(path);
            // A dependency that can never be satisfied fails the supervisor before a child takes a place.
            if self.at(path).ending() {
                return;
            }
            due.sort_by_key(|kid| (self.at(kid).since, self.at(kid).attempt));
            let mut begun = false;
            for kid in due {
                if self.has_place(path, &kid) {
                    self.begin(&kid);
                    begun = true;
                } else if self.at(&kid).answer_due {
                    self.answer_as_waiting(&kid);
                }
            }
            if !begun {
                return;
            }
        }
    }

    /// Starts the children whose turn it is, or, if starts side by side are bounded, returns them.
    fn look_for_starts(&mut self, path: &str) -> Vec<Path> {
        let mut due = Vec::new();
        let declared = self.at(path).rules().is_some_and(|rules| rules.order == Order::Declared);
        let mut before = true;
        // Whether all children of the current place were ready, and the set whose place this is.
        let (mut place_ready, mut set) = (true, None);
        for kid in self.kids(path) {
            if self.at(path).ending() {
                return Vec::new();
            }
            let all = self.kids(path);
            let held = all.iter().any(|kid| self.at(kid).in_restart_set || self.holds_restart_set(path, kid));
            let Some(child) = self.children.get(&kid) else { continue };
            if set.is_none() || set != child.spec.replica_of {
                before &= place_ready;
                (place_ready, set) = (true, child.spec.replica_of.clone());
            }
            let its_turn = child.was_ready || !held && (before || !declared);
            if child.phase == Phase::Waiting {
                self.try_to_start(path, &kid, its_turn, &mut due);
            }
            if let Some(child) = self.children.get(&kid) {
                place_ready &= child.was_ready || self.blocks_no_sibling(&kid);
            }
        }
        due
    }

    /// Starts a waiting child, lets it wait longer, or fails the first start of its supervisor. The time of a first start
    /// runs only while all unsatisfied dependencies are unmet; else it is paused.
    fn try_to_start(&mut self, parent: &str, kid: &str, its_turn: bool, due: &mut Vec<Path>) {
        let after = self.at(kid).spec.after.clone();
        let states: Vec<DependencyState> =
            after.iter().map(|edge| self.edge_state(parent, kid, edge)).collect();
        let first_start = self.may_fail_first_start(parent, kid);
        let held = self.waits_for_held(kid);
        let never = its_turn && first_start && states.contains(&DependencyState::Unreachable);
        if its_turn && states.iter().all(|state| *state == DependencyState::Satisfied) {
            if self.places(parent).is_none() {
                return self.begin(kid);
            }
            due.push(kid.into());
        }
        let unmet =
            states.iter().all(|state| matches!(state, DependencyState::Satisfied | DependencyState::Unmet))
                && states.contains(&DependencyState::Unmet);
        let within = self.at(kid).longest_wait();
        let mut over = false;
        if its_turn && first_start && unmet && within != Duration::MAX {
            let child = self.at(kid);
            let left = child.wait_left.unwrap_or(within.as_nanos() as u64);
            over = left == 0;
            if !over && child.timer == NEVER {
                let now = self.now;
                let child = self.of(kid);
                (child.timer, child.wait_left) = (now + left, Some(left));
            }
        } else if self.at(kid).timer != NEVER {
            let left = self.at(kid).timer.saturating_sub(self.now).max(1);
            let child = self.of(kid);
            (child.timer, child.wait_left) = (NEVER, Some(left));
        }
        if never || over {
            self.fail_supervisor(parent, "start-failed");
        } else if held || self.at(kid).answer_due && !due.iter().any(|due| due == kid) {
            self.answer_as_waiting(kid);
        }
    }

    /// Answers the commands that asked for the start of a child that waits. The child goes on waiting.
    fn answer_as_waiting(&mut self, kid: &str) {
        self.answer(kid, |command| is_start(command).then_some("waits"));
        let child = self.at(kid);
        if child.start_by_command || child.answer_due {
            let child = self.of(kid);
            (child.start_by_command, child.answer_due) = (false, false);
        }
    }

    pub(crate) fn health(&self, path: &str) -> Health {
        let child = self.at(path);
        match child.phase {
            _ if child.trial => Health::Unhealthy,
            Phase::Running => {
                let kids = self.kids(path);
                kids.iter().map(|kid| self.health(kid)).fold(child.health, Health::max)
            }
            Phase::Idle(IdleReason::Ignored | IdleReason::NotWanted) => Health::Healthy,
            Phase::Idle(IdleReason::Finished) if !child.last_exit.is_some_and(is_failure) => Health::Healthy,
            Phase::Idle(IdleReason::SupervisorDown)
                if child.stopped_by_others || !child.last_exit.is_some_and(is_failure) =>
            {
                Health::Degraded
            }
            Phase::Idle(IdleReason::SupervisorDown | IdleReason::Quarantined) | Phase::BackingOff => {
                Health::Unhealthy
            }
            _ => Health::Degraded,
        }
    }

    /// Returns `true` if this exit, before the child was ready, is a failed start.
    pub(crate) fn is_failed_start(&self, path: &str, exit: Kind) -> bool {
        let failed = is_failure(exit) || exit == "restart-requested";
        exit != "ignored" && (failed || self.at(path).spec.restart == Restart::Permanent)
    }
}
