//! The reference model, part 4: commands, time, and one step of a run.

use crate::child::{Body, Child, Kind, Mode, NEVER, Path, Phase, Plan, is_start, later};
use crate::reference::{Model, ROOT, above};
use crate::steps::{A_MOMENT, Step};
use liveoak_core::{ChildDeclaration, ChildForm, Command, IdleReason, Restart};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

impl Model {
    /// Answers the requests of a child for which `word` gives an answer. The other requests continue to wait.
    pub(crate) fn answer(&mut self, path: &str, word: impl Fn(Command) -> Option<&'static str>) {
        if self.at(path).waiters.is_empty() {
            return;
        }
        for (request, command) in std::mem::take(&mut self.of(path).waiters) {
            match word(command) {
                Some(word) => {
                    let before = self.answers.insert(request, word);
                    assert!(before.is_none(), "{request} is answered twice");
                }
                None => self.of(path).waiters.push((request, command)),
            }
        }
    }

    /// Answers all requests that wait for this start with its failure.
    pub(crate) fn answer_failed_start(&mut self, path: &str) {
        self.answer(path, |command| is_start(command).then_some("failed"));
    }

    fn command(&mut self, path: &str, command: Command) {
        self.requests += 1;
        let request = self.requests;
        let refused = if self.down.is_some() {
            Some("tree down")
        } else {
            match command {
                Command::Start => self.command_start(path, request),
                Command::Stop => self.command_stop(path, request),
                Command::Restart => self.command_restart(path, request),
                Command::Remove => self.command_remove(path, request),
                Command::Pause => self.command_pause(path, request),
                Command::Resume => self.command_resume(path, request),
                Command::Quarantine => self.command_quarantine(path, request),
                Command::Release => self.command_release(path, request),
            }
        };
        if let Some(word) = refused {
            self.answers.insert(request, word);
        }
    }

    pub(crate) fn wait_for(&mut self, path: &str, request: u64, command: Command) {
        self.of(path).waiters.push((request, command));
    }

    fn command_start(&mut self, path: &str, request: u64) -> Option<&'static str> {
        let child = self.at(path);
        match child.phase {
            Phase::Idle(_) => self.start_anew(path, request, Command::Start),
            Phase::Waiting | Phase::Starting | Phase::Running | Phase::BackingOff if child.brought_along => {
                if self.waits_for_kept_down(path) {
                    return Some("kept down");
                }
                let running = child.phase == Phase::Running;
                let now = self.now;
                let child = self.of(path);
                child.brought_along = false;
                if running {
                    return Some("ready");
                }
                if child.phase == Phase::Waiting && child.answer_timer == NEVER {
                    child.answer_timer = later(now, child.longest_wait());
                }
                self.wait_for(path, request, Command::Start);
                None
            }
            Phase::Stopping { .. } if !child.wanted => {
                if child.removing || path == ROOT || self.parent_ends(path) {
                    return Some("supervisor down");
                }
                if self.is_used_up(path) {
                    return Some("only once");
                }
                if self.waits_for_kept_down(path) {
                    return Some("kept down");
                }
                self.start_after_stop(path, request, Command::Start);
                None
            }
            _ => Some("not down"),
        }
    }

    pub(crate) fn start_anew(&mut self, path: &str, request: u64, command: Command) -> Option<&'static str> {
        if above(path).is_none_or(|parent| !matches!(self.at(&parent).mode, Mode::Starting | Mode::Up)) {
            return Some("supervisor down");
        }
        if self.is_used_up(path) {
            return Some("only once");
        }
        if self.at(path).survivors.is_some() {
            return Some("still runs");
        }
        if self.waits_for_kept_down(path) {
            return Some("kept down");
        }
        let child = self.of(path);
        (child.wanted, child.by_command, child.unwanted, child.brought_along) = (true, false, false, false);
        child.start_by_command = command == Command::Start;
        (child.restarting, child.gave_up) = (false, false);
        self.end_pause(path);
        self.begin_anew(path);
        self.wait_for(path, request, command);
        self.start_or_wait(path);
        None
    }

    /// Forgets the failures of a child and of all below it that start with it.
    pub(crate) fn begin_anew(&mut self, path: &str) {
        let child = self.of(path);
        (child.failures_in_a_row, child.failure_steps, child.end_steps, child.needs.steps) = (0, 0, 0, 0);
        child.restart_times.clear();
        child.request_times.clear();
        self.begin_anew_below(path);
    }

    /// Members do not start again with their group.
    fn begin_anew_below(&mut self, path: &str) {
        if !self.at(path).is_group() {
            self.kids(path).iter().for_each(|kid| self.begin_anew(kid));
        }
    }

    pub(crate) fn start_after_stop(&mut self, path: &str, request: u64, command: Command) {
        self.end_pause(path);
        let child = self.of(path);
        child.brought_along &= child.wanted;
        (child.wanted, child.by_command, child.unwanted, child.start_when_down) = (true, false, false, true);
        child.start_by_command |= command == Command::Start;
        self.answer(path, |command| {
            matches!(command, Command::Stop | Command::Quarantine).then_some("superseded")
        });
        self.wait_for(path, request, command);
    }

    pub(crate) fn is_used_up(&self, path: &str) -> bool {
        let child = self.at(path);
        child.let_go || child.spec.once && child.attempt > 0
    }

    fn command_stop(&mut self, path: &str, request: u64) -> Option<&'static str> {
        let child = self.of(path);
        (child.wanted, child.by_command, child.start_when_down) = (false, false, false);
        (child.unwanted, child.brought_along) = (false, false);
        let idle = matches!(child.phase, Phase::Idle(_));
        self.wait_for(path, request, Command::Stop);
        if idle {
            self.after_stop(path, None);
        } else {
            self.stop(path);
        }
        None
    }

    fn command_restart(&mut self, path: &str, request: u64) -> Option<&'static str> {
        let child = self.at(path);
        if self.parent_ends(path) || child.removing || path == ROOT && !child.wanted {
            return Some("supervisor down");
        }
        if self.is_used_up(path) {
            return Some("only once");
        }
        let phase = child.phase;
        let again = matches!(phase, Phase::Idle(_)) || child.stopping() && !child.wanted;
        if again && !matches!(phase, Phase::Idle(_)) && self.waits_for_kept_down(path) {
            return Some("kept down");
        }
        if child.trial {
            self.end_quarantine(path);
        }
        match phase {
            Phase::Idle(_) => return self.start_anew(path, request, Command::Start),
            Phase::Waiting | Phase::BackingOff => {
                self.end_pause(path);
                self.wait_for(path, request, Command::Restart);
                self.start_or_wait(path);
            }
            Phase::Starting | Phase::Running | Phase::Stopping { .. } => {
                self.answer(path, |command| is_start(command).then_some("superseded"));
                self.begin_anew_below(path);
                self.start_after_stop(path, request, Command::Restart);
                self.stop(path);
            }
        }
        None
    }

    fn command_remove(&mut self, path: &str, request: u64) -> Option<&'static str> {
        let Some(parent) = above(path) else { return Some("is root") };
        if self.is_needed(&parent, path) {
            return Some("needed by");
        }
        let child = self.of(path);
        (child.wanted, child.start_when_down, child.removing) = (false, false, true);
        (child.unwanted, child.brought_along) = (false, false);
        let idle = matches!(child.phase, Phase::Idle(_));
        self.wait_for(path, request, Command::Remove);
        if idle {
            self.forget(path);
        } else {
            self.stop(path);
        }
        None
    }

    /// Returns `true` if a sibling has an `after` edge to this child.
    fn is_needed(&self, parent: &str, path: &str) -> bool {
        self.kids(parent).iter().any(|kid| {
            let mut after = self.at(kid).spec.after.iter();
            after.any(|edge| format!("{parent}/{}", edge.child) == path)
        })
    }

    fn add_child(&mut self, parent: &str, declared: &ChildDeclaration) {
        self.requests += 1;
        let request = self.requests;
        let path = format!("{parent}/{}", declared.name);
        if self.down.is_some() || !matches!(self.at(parent).mode, Mode::Starting | Mode::Up) {
            return;
        }
        if self.is_needed(parent, &path) || self.declares_needs(parent) {
            return;
        }
        if let Some(old) = self.children.get(&path) {
            let over = old.phase == Phase::Idle(IdleReason::Finished)
                && old.spec.restart == Restart::Temporary
                && old.is_leaf();
            if !over {
                return;
            }
            self.forget(&path);
        }
        self.insert(&path, declared);
        self.of(parent).kids.push(declared.name.as_str().to_owned());
        let child = self.of(&path);
        (child.added, child.start_by_command) = (true, true);
        self.wait_for(&path, request, Command::Start);
        self.set(&path, Phase::Waiting);
    }

    fn add_member(&mut self, group: &str, name: &str) {
        self.requests += 1;
        let request = self.requests;
        let path = format!("{group}/{name}");
        let Body::Group(spec) = self.at(group).body.clone() else { return };
        let full = self.at(group).kids.len() >= spec.max_members as usize || self.declares_needs(group);
        if self.down.is_some() || self.at(group).mode != Mode::Up || full || self.children.contains_key(&path)
        {
            return;
        }
        let mut child = self.fresh(spec.template.clone(), Body::Leaf);
        (child.added, child.start_by_command) = (true, true);
        self.children.insert(path.clone(), child);
        self.of(group).kids.push(name.to_owned());
        self.wait_for(&path, request, Command::Start);
        self.begin(&path);
    }

    // Time.

    pub(crate) fn next_deadline(&self) -> u64 {
        self.children.values().map(Child::next_deadline).min().unwrap_or(NEVER)
    }

    /// Returns `true` if a deadline has passed more than a second ago: the process did not run.
    pub(crate) fn sees_a_late_deadline(&self) -> bool {
        self.next_deadline().saturating_add(SECOND) < self.now
    }

    /// Fires all timers that are due, the earliest first.
    fn tick(&mut self) {
        self.prolong_late_deadlines();
        while self.next_deadline() <= self.now {
            let next = self.next_deadline();
            let due = self.children.iter().find(|(_, child)| child.next_deadline() == next);
            let Some(path) = due.map(|(path, _)| path.clone()) else { return };
            if self.at(&path).answer_timer == next {
                let child = self.of(&path);
                (child.answer_timer, child.answer_due) = (NEVER, true);
                continue;
            }
            if self.fire_need(&path, next) {
                continue;
            }
            if self.at(&path).trial_timer == next {
                self.fire_trial(&path);
                continue;
            }
            self.tied |= self.is_tied(&path);
            if self.at(&path).timer != next {
                let child = self.of(&path);
                (child.run_timer, child.cause) = (NEVER, Some("run-timeout"));
                self.stop(&path);
                continue;
            }
            self.of(&path).timer = NEVER;
            self.fire(&path, next);
        }
    }

    /// Prolongs each deadline that is seen more than a second late, once, from the root downwards. The end of a
    /// backoff and the check of a heartbeat do not count as deadlines here.
    fn prolong_late_deadlines(&mut self) {
        let now = self.now;
        if self.sees_a_late_deadline() {
            self.last_jump = now;
        }
        let late = |child: &Child| {
            let can_be = match child.phase {
                Phase::Waiting => !child.wait_prolonged,
                Phase::Stopping { .. } if !child.is_leaf() => true,
                Phase::Stopping { .. } if child.drains => false,
                Phase::Starting | Phase::Stopping { .. } => child.timer != child.prolonged,
                Phase::Idle(_) | Phase::Running | Phase::BackingOff => false,
            };
            child.timer.saturating_add(SECOND) < now && can_be
        };
        for child in self.children.values_mut() {
            let timer = child.run_timer;
            if timer.saturating_add(SECOND) < now && timer != child.run_prolonged {
                let until = now + (timer - child.since).min(SECOND);
                (child.run_timer, child.run_prolonged) = (until, until);
            }
        }
        self.prolong_needs();
        let mut paths = self.paths_where(late);
        paths.sort_by_key(|path| path.matches('/').count());
        for path in paths {
            let child = self.at(&path);
            let length = (child.timer - child.since).min(SECOND);
            let until = match child.phase {
                Phase::Stopping { .. } if !child.is_leaf() => self.prolong_plan(&path, length),
                Phase::Stopping { killed: true } => (now + length).min(self.plan_above(&path).abandon),
                Phase::Stopping { killed: false } => (now + length).min(self.plan_above(&path).kill),
                _ => now + length,
            };
            let child = self.of(&path);
            (child.timer, child.prolonged) = (until, until);
            child.wait_prolonged = child.phase == Phase::Waiting;
        }
    }

    /// Gives the points of a plan that have passed unseen, each once, a further budget of `length`. Returns the next point.
    fn prolong_plan(&mut self, path: &str, length: u64) -> u64 {
        let (now, above) = (self.now, self.plan_above(path));
        let group = self.at(path).is_group();
        let child = self.of(path);
        let further = match length {
            0 => Plan { ask_all: now, kill: now, abandon: now },
            _ => Plan::new(now, Duration::from_nanos(length), Duration::from_nanos(length)),
        };
        let from = child.timer;
        let (before, once) = (child.plan, child.prolonged_plan);
        let mut plan = before;
        let unseen = |point: u64, prolonged: u64| (from..=now).contains(&point) && point != prolonged;
        if unseen(plan.abandon, once.abandon) {
            plan.abandon = further.abandon;
        }
        if unseen(plan.kill, once.kill) {
            plan.kill = further.kill;
        }
        plan.kill = plan.kill.min(plan.abandon);
        if unseen(plan.ask_all, once.ask_all) {
            plan.ask_all = further.ask_all.min(plan.kill);
        }
        plan = plan.within(above);
        if group {
            plan.ask_all = NEVER;
        }
        child.plan = plan;
        let points = [
            (before.ask_all, plan.ask_all, &mut child.prolonged_plan.ask_all),
            (before.kill, plan.kill, &mut child.prolonged_plan.kill),
            (before.abandon, plan.abandon, &mut child.prolonged_plan.abandon),
        ];
        for (before, after, prolonged) in points {
            if before != after {
                *prolonged = after;
            }
        }
        let next = [plan.ask_all, plan.kill, plan.abandon].into_iter().filter(|point| *point >= from).min();
        next.unwrap_or(NEVER).min(plan.abandon)
    }

    /// Returns `true` if the deadline of a sibling is at the same moment, and no rule says which of the two comes first: both
    /// will be asked to stop because they took too long to start or ran too long, or both are members that will be
    /// abandoned, and the limit may be exceeded only for the second. Only late deadlines come together like this.
    fn is_tied(&self, path: &str) -> bool {
        let Some(parent) = above(path) else { return false };
        let (phase, deadline) = (self.at(path).phase, self.at(path).next_deadline());
        let counts = match phase {
            Phase::Starting | Phase::Running => self.at(path).is_leaf(),
            Phase::Stopping { killed } => killed && self.is_member(path),
            Phase::Idle(_) | Phase::Waiting | Phase::BackingOff => false,
        };
        let same = |kid: &Path| {
            kid != path && self.at(kid).phase == phase && self.at(kid).next_deadline() == deadline
        };
        counts && self.kids(&parent).iter().any(same)
    }

    fn fire(&mut self, path: &str, deadline: u64) {
        let child = self.at(path);
        let phase = child.phase;
        match phase {
            Phase::BackingOff if self.park_if_paused(path) => {}
            Phase::BackingOff => self.start_or_wait(path),
            Phase::Starting => {
                self.of(path).cause = Some("start-timeout");
                self.stop(path);
            }
            Phase::Stopping { .. } if !self.at(path).is_leaf() => {
                let (now, plan) = (self.now, self.at(path).plan);
                if now >= plan.abandon {
                    self.abandon(path);
                } else if now >= plan.kill {
                    self.kill(path);
                } else {
                    self.of(path).timer = plan.next(now);
                }
            }
            Phase::Stopping { killed: false } if self.at(path).drains && !self.at(path).is_kill_refused() => {
                self.ask_after_drain(path);
            }
            Phase::Stopping { killed: false } if !self.at(path).is_kill_refused() => self.kill(path),
            Phase::Stopping { .. } => self.abandon(path),
            Phase::Running => {
                let (now, period) = (self.now, self.at(path).spec.heartbeat.unwrap_or_default());
                let child = self.of(path);
                let late = now - deadline > SECOND.min((period / 4).as_nanos() as u64);
                if late && child.judged_from.is_none() {
                    child.judged_from = Some(now + SECOND.min(period.as_nanos() as u64));
                }
                child.timer = later(now, period / 4);
                self.checks.push(path.to_owned());
            }
            Phase::Waiting => self.of(path).wait_left = Some(0),
            Phase::Idle(_) => {}
        }
    }

    /// Checks the heartbeat of a running child, and kills a child whose heartbeat is overdue.
    fn check_heartbeat(&mut self, path: &str) {
        let (now, hung) = (self.now, self.hung.contains(path));
        let Some(child) = self.children.get_mut(path).filter(|child| child.phase == Phase::Running) else {
            return;
        };
        let Some(period) = child.spec.heartbeat else { return };
        if !hung {
            (child.last_beat, child.judged_from) = (now, None);
        } else if now >= later(child.last_beat, period) && child.judged_from.is_none_or(|from| from <= now) {
            child.cause = Some("heartbeat-timeout");
            self.kill(path);
        }
    }

    /// Fires timers that are due, evaluates the tree, and checks heartbeats.
    fn pass(&mut self) {
        self.tick();
        self.settle();
        for path in std::mem::take(&mut self.checks) {
            self.check_heartbeat(&path);
            self.settle();
        }
    }

    /// Lets time pass. Each timer fires at its deadline.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = later(self.now, by);
        while self.next_deadline() <= until {
            self.now = self.now.max(self.next_deadline());
            self.pass();
        }
        self.now = until;
    }

    /// Lets time pass at once. Timers that became due fire late.
    fn jump(&mut self, by: Duration) {
        self.now = later(self.now, by);
        self.pass();
    }

    // Steps.

    /// Returns `true` if the child exists and `what` holds for it.
    fn is(&self, path: &str, what: fn(&Child) -> bool) -> bool {
        self.children.get(path).is_some_and(what)
    }

    /// Returns the attempts that were asked or killed, in the order of their paths, with the exit of an obedient body.
    pub(crate) fn all_asked(&self) -> Vec<(Path, Kind)> {
        let leaves = self.paths_where(Child::asked).into_iter();
        let exit = |path: &Path| match self.at(path).phase {
            Phase::Stopping { killed: true } => "killed",
            _ => "stopped",
        };
        leaves.map(|path| (path.clone(), exit(&path))).collect()
    }

    pub(crate) fn step(&mut self, step: &Step) {
        self.acts.clear();
        self.now += A_MOMENT;
        match step {
            Step::Exit(path, exit) if self.is(path, Child::has_own_attempt) => self.exited(path, exit),
            Step::Ending(path, exit) if self.is(path, |child| child.is_leaf() && child.lives()) => {
                if !self.at(path).stopping() {
                    self.of(path).cause = Some(exit);
                    self.stop(path);
                }
            }
            Step::Ready(path) if self.is(path, |child| child.mode == Mode::Opening) => {
                self.start_children(path)
            }
            Step::Ready(path) if self.is(path, Child::is_leaf) => self.ready(path),
            Step::Health(path, health) if self.is(path, Child::lives) => self.of(path).health = *health,
            Step::MaySurvive(path, refused) if self.is(path, |child| child.is_leaf() && child.lives()) => {
                self.may_survive(path, *refused);
            }
            Step::Gone(path) if self.is(path, |child| child.survivors.is_some()) => self.gone(path),
            Step::Hang(path, true) => drop(self.hung.insert(path.clone())),
            Step::Hang(path, false) => drop(self.hung.remove(path)),
            Step::Command(path, command) if self.children.contains_key(path) => self.command(path, *command),
            Step::AddChild(path, declared) if self.children.contains_key(path) => {
                self.add_child(path, declared);
            }
            Step::AddMember(path, name) if self.children.contains_key(path) => self.add_member(path, name),
            Step::Advance(by) => self.advance(*by),
            Step::Jump(by) => self.jump(*by),
            Step::Obey => {
                for (path, exit) in self.all_asked() {
                    if self.is(&path, Child::asked) {
                        self.exited(&path, exit);
                        self.settle();
                    }
                }
            }
            Step::Stop | Step::Kill => self.stop_tree(*step == Step::Kill),
            Step::Exit(..)
            | Step::Ending(..)
            | Step::Ready(_)
            | Step::Health(..)
            | Step::MaySurvive(..)
            | Step::Gone(_)
            | Step::Late(_)
            | Step::Command(..)
            | Step::AddChild(..)
            | Step::AddMember(..) => {}
        }
        self.settle();
        self.pass();
        while self.next_deadline() <= self.now {
            self.pass();
        }
    }

    fn stop_tree(&mut self, kill: bool) {
        if self.down.is_some() {
            return;
        }
        let root = self.of(ROOT);
        (root.wanted, root.start_when_down) = (false, false);
        if root.lives() {
            self.stop(ROOT);
        } else {
            self.after_stop(ROOT, None);
        }
        if kill && self.down.is_none() {
            self.kill(ROOT);
        }
    }

    /// Returns the supervisors that a child may be added to: groups, or all others.
    pub(crate) fn parents(&self, groups: bool) -> Vec<Path> {
        let fits =
            |child: &&Child| !child.is_leaf() && child.is_group() == groups && child.mode != Mode::Down;
        self.children.iter().filter(|(_, child)| fits(child)).map(|(path, _)| path.clone()).collect()
    }
}

/// Returns `true` if the child can be added in a run: a leaf or a supervisor without `after` edges.
pub(crate) const fn is_addable(declared: &ChildDeclaration) -> bool {
    declared.spec.after.is_empty() && !matches!(declared.form, ChildForm::Group(_))
}
