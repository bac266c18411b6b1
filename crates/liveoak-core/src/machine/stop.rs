//! Stopping: ask, wait, kill, wait, write off – each child by its own deadline, the whole by one budget.
//!
//! The ladder of law 15, for one attempt:
//!
//! | stage | when | then |
//! |---|---|---|
//! | asked | the stop begins (a deadline of zero skips this stage) | `stop_within`, at most until the plan's `kill` |
//! | killed | that time is over | [`KILL_WAIT`], at most until the plan's `abandon` |
//! | abandoned | that time is over as well | nothing waits for it any more |
//!
//! A supervisor with a budget B has a plan: until B/2 its children are asked in order; from B/2 on all that are
//! left are asked at once; at 9B/10 whoever is left is killed; at B written off. The plan of a supervisor never
//! ends later than its own supervisor's. A dynamic group asks all its members together under one deadline.
//! A place is closed last, by the same ladder with [`KILL_WAIT`] as its deadline. Nothing is written off that was not
//! killed, however late the driver comes.

use super::node::{Kids, Mode, NONE, Phase, StopLog, StopPlan};
use super::{Effect, Machine};
use crate::report::{MAX_LISTED, MAX_LISTED_MEMBERS};
use crate::{EventKind, Exit, Order, Path, StopEntry, StopReport, StopStage, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a killed child may take to be seen gone before it is written off. A process killed by the kernel, or
/// a task that yields, needs milliseconds.
pub const KILL_WAIT: Duration = Duration::from_secs(2);

/// A walk over the members of a group, one step per polled effect, so that a million members need no queue.
#[derive(Debug)]
pub(super) struct Sweep {
    cursor: u32,
    act: Act,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Ask,
    Kill,
    Abandon,
}

impl Sweep {
    /// Member `gone` is leaving the list; `next` follows it.
    pub(super) fn pass_over(&mut self, gone: u32, next: u32) {
        if self.cursor == gone {
            self.cursor = next;
        }
    }
}

impl StopPlan {
    fn new(now: Time, budget: Duration) -> Self {
        if budget == Duration::MAX {
            return Self::UNBOUNDED;
        }
        if budget.is_zero() {
            return Self { hurry: now, kill: now, abandon: now.after(KILL_WAIT) };
        }
        let kill = now.after(budget / 10 * 9);
        Self { hurry: now.after(budget / 2), kill, abandon: now.after(budget) }
    }

    fn next_point(&self, now: Time) -> Time {
        [self.hurry, self.kill, self.abandon]
            .into_iter()
            .filter(|point| *point > now)
            .min()
            .unwrap_or(Time::NEVER)
    }
}

impl Machine {
    pub(super) fn stop_tree(&mut self) {
        let root = self.root;
        if self.down {
            return;
        }
        self.node_mut(root).flags.wanted = false;
        self.node_mut(root).flags.again = false;
        if self.node(root).phase.is_live() {
            self.begin_stop(root);
        } else {
            self.settle_stopped(root, StopStage::Cancelled, None);
        }
    }

    pub(super) fn kill_tree(&mut self) {
        self.stop_tree();
        if !self.down {
            self.kill(self.root);
        }
    }

    /// Begins the stop of a child, whatever it is doing; does nothing if that has begun or it is down.
    pub(super) fn begin_stop(&mut self, i: u32) {
        if i == self.root {
            self.open_log(i);
        }
        match self.node(i).phase {
            Phase::Idle(_) => {}
            Phase::Stopping { .. } => self.tighten_plan(i),
            Phase::Waiting | Phase::BackingOff => {
                self.log_stop(i, Duration::ZERO, StopStage::Cancelled, None);
                self.settle_stopped(i, StopStage::Cancelled, None);
            }
            Phase::Starting | Phase::Running => {
                self.set_phase(i, Phase::Stopping { killed: false });
                let (id, attempt) = self.attempt_of(i);
                self.emit(i, || EventKind::Stopping { attempt });
                if self.node(i).sup.is_some() {
                    self.begin_stop_of_supervisor(i);
                    return;
                }
                let (plan, within) = (self.plan_above(i), self.node(i).spec.stop_within);
                if within.is_zero() || self.now >= plan.kill {
                    self.kill(i);
                } else {
                    self.push(Effect::Ask { id, attempt });
                    if !self.shares_deadline(i) {
                        let at = self.now.after(within).min(plan.kill);
                        self.set_timer(i, at);
                    }
                }
            }
        }
    }

    /// A supervisor that was stopping already comes under the plan of its own supervisor's stop.
    fn tighten_plan(&mut self, i: u32) {
        let (above, node) = (self.plan_above(i), self.node(i));
        let Some(sup) = &node.sup else { return };
        let mut plan = sup.plan.min(above);
        if sup.is_group() {
            plan.hurry = Time::NEVER;
        }
        if plan != sup.plan {
            let at = node.timer.min(plan.next_point(self.now));
            let sup = self.sup_mut(i);
            sup.plan = plan;
            // The children are to hear of it as well.
            sup.hurried = false;
            self.set_timer(i, at);
            self.mark_dirty(i);
        }
    }

    fn begin_stop_of_supervisor(&mut self, i: u32) {
        let mut plan = StopPlan::new(self.now, self.node(i).spec.stop_within).min(self.plan_above(i));
        if let Kids::Group { template, head, .. } = &self.sup(i).kids {
            let members = StopPlan::new(self.now, template.stop_within);
            if members.abandon != Time::NEVER {
                plan.kill = plan.kill.min(self.now.after(template.stop_within));
                plan.abandon = plan.abandon.min(plan.kill.after(KILL_WAIT));
            }
            // Its members have no turns to wait for.
            plan.hurry = Time::NEVER;
            let cursor = *head;
            self.sweeps.push_back(Sweep { cursor, act: Act::Ask });
        }
        let opening = self.sup(i).mode == Mode::Opening;
        let sup = self.sup_mut(i);
        sup.mode = Mode::Stopping;
        sup.plan = plan;
        sup.hurried = false;
        sup.asked_from = sup.ordered().len();
        self.set_timer(i, plan.next_point(self.now));
        for kid in self.sup(i).ordered().to_vec() {
            if self.node(kid).phase.is_pending() {
                self.begin_stop(kid);
            }
        }
        if opening {
            self.close_runtime(i);
        }
        self.mark_dirty(i);
        if self.now >= plan.kill {
            self.kill(i);
        }
    }

    /// Ends a child by force.
    pub(super) fn kill(&mut self, i: u32) {
        if self.node(i).sup.is_some() {
            return self.kill_supervisor(i);
        }
        match self.node(i).phase {
            Phase::Idle(_) | Phase::Stopping { killed: true } => {}
            Phase::Waiting | Phase::BackingOff => self.begin_stop(i),
            Phase::Starting | Phase::Running | Phase::Stopping { killed: false } => {
                self.set_phase(i, Phase::Stopping { killed: true });
                let (id, attempt) = self.attempt_of(i);
                self.emit(i, || EventKind::Killed { attempt });
                self.push(Effect::Kill { id, attempt });
                if !self.shares_deadline(i) {
                    let at = self.now.after(KILL_WAIT).min(self.plan_above(i).abandon);
                    self.set_timer(i, at);
                }
            }
        }
    }

    fn kill_supervisor(&mut self, i: u32) {
        if !self.node(i).phase.is_live() {
            return self.begin_stop(i);
        }
        let (now, above) = (self.now, self.plan_above(i));
        if !self.node(i).phase.is_stopping() {
            self.begin_stop(i);
        }
        let sup = self.sup_mut(i);
        sup.plan.hurry = sup.plan.hurry.min(now);
        sup.plan.kill = sup.plan.kill.min(now);
        sup.plan.abandon = sup.plan.abandon.min(now.after(KILL_WAIT)).min(above.abandon);
        let abandon = sup.plan.abandon;
        self.set_timer(i, abandon);
        self.act_on_kids(i, Act::Kill);
        if self.sup(i).mode == Mode::Closing {
            self.kill_runtime(i);
        }
        self.mark_dirty(i);
    }

    fn kill_runtime(&mut self, i: u32) {
        let (phase, timer) = (self.node(i).phase, self.node(i).timer);
        if phase != (Phase::Stopping { killed: true }) {
            self.set_phase(i, Phase::Stopping { killed: true });
            self.set_timer(i, timer);
            let (id, attempt) = self.attempt_of(i);
            self.emit(i, || EventKind::Killed { attempt });
            self.push(Effect::Kill { id, attempt });
        }
    }

    /// Writes a child off: it counts as gone although it may still run. When the driver comes so late that it
    /// was not even killed, that is done first.
    pub(super) fn abandon(&mut self, i: u32) {
        if self.node(i).sup.is_some() {
            if !self.node(i).phase.is_stopping() {
                self.kill(i);
            }
            let at_once = StopPlan::at_once(self.now);
            let sup = self.sup_mut(i);
            sup.plan = sup.plan.min(at_once);
            if sup.mode != Mode::Closing {
                self.act_on_kids(i, Act::Abandon);
                return self.mark_dirty(i);
            }
            self.kill_runtime(i);
            self.sup_mut(i).mode = Mode::Down;
        } else {
            self.kill(i);
        }
        let (id, attempt) = self.attempt_of(i);
        self.emit(i, || EventKind::Abandoned { attempt });
        self.push(Effect::Abandon { id, attempt });
        self.gone(i, Exit::Abandoned, StopStage::Abandoned);
    }

    fn act_on_kids(&mut self, i: u32, act: Act) {
        if self.sup(i).is_group() {
            let cursor = self.first_member(i);
            self.sweeps.push_back(Sweep { cursor, act });
        } else {
            for kid in self.sup(i).ordered().to_vec() {
                self.act_on(kid, act);
            }
        }
    }

    fn act_on(&mut self, i: u32, act: Act) {
        let live = self.node(i).phase.is_live();
        match act {
            Act::Ask => self.begin_stop(i),
            Act::Kill => self.kill(i),
            Act::Abandon if live => self.abandon(i),
            Act::Abandon => {}
        }
    }

    /// One step of the first walk over a group. Whether there was one.
    pub(super) fn step_sweep(&mut self) -> bool {
        let Some(&Sweep { cursor, act }) = self.sweeps.front() else { return false };
        if cursor == NONE {
            self.sweeps.pop_front();
            return true;
        }
        let next = self.node(cursor).next;
        if let Some(sweep) = self.sweeps.front_mut() {
            sweep.cursor = next;
        }
        if matches!(self.node(cursor).phase, Phase::Idle(_)) {
            self.free(cursor);
        } else {
            self.act_on(cursor, act);
        }
        true
    }

    /// The next point of a stopping supervisor's plan has come.
    pub(super) fn next_point_of_plan(&mut self, i: u32) {
        let (now, plan) = (self.now, self.sup(i).plan);
        if now >= plan.abandon {
            self.abandon(i);
        } else if now >= plan.kill {
            self.kill(i);
        } else {
            self.set_timer(i, plan.next_point(now));
            self.mark_dirty(i);
        }
    }

    /// Asks whoever's turn it is; ends the supervisor when nobody is left.
    pub(super) fn continue_stop(&mut self, i: u32) {
        let done = match &self.sup(i).kids {
            // All members were asked together when the stop began.
            Kids::Group { count, .. } => *count == 0,
            Kids::Ordered(_) => {
                if self.now >= self.sup(i).plan.hurry {
                    if !std::mem::replace(&mut self.sup_mut(i).hurried, true) {
                        self.act_on_kids(i, Act::Ask);
                    }
                } else {
                    self.stop_next(i, false);
                }
                self.sup(i).live == 0
            }
        };
        if done && self.sup(i).mode == Mode::Stopping {
            self.all_kids_gone(i);
        }
    }

    /// Law 8, backwards. Of the live children (or of those that a group restart stops) asks the last that was not
    /// asked yet, or, where only edges order them, all on whom nobody who still lives depends.
    pub(super) fn stop_next(&mut self, i: u32, sweep_only: bool) {
        let concerned = |machine: &Self, kid: u32| {
            let node = machine.node(kid);
            node.phase.is_live() && (node.flags.sweep || !sweep_only)
        };
        match self.sup(i).rules.order {
            Order::Declared => {
                let (kids, from) = (self.sup(i).ordered(), self.sup(i).asked_from);
                let last = kids[..from.min(kids.len())].iter().rposition(|kid| concerned(self, *kid));
                let kid = last.map(|at| kids[at]);
                self.sup_mut(i).asked_from = last.map_or(0, |at| at + 1);
                if let Some(kid) = kid {
                    self.begin_stop(kid);
                }
            }
            Order::Edges => {
                let kids: Vec<u32> =
                    self.sup(i).ordered().iter().rev().copied().filter(|kid| concerned(self, *kid)).collect();
                let names = &self.sup(i).names;
                let edges = kids.iter().flat_map(|kid| &self.node(*kid).spec.after);
                let needed: BTreeSet<u32> =
                    edges.filter_map(|edge| names.get(&edge.child).copied()).collect();
                for kid in kids {
                    if !needed.contains(&kid) {
                        self.begin_stop(kid);
                    }
                }
            }
        }
    }

    fn all_kids_gone(&mut self, i: u32) {
        for kid in self.sup(i).ordered().to_vec() {
            if self.node(kid).flags.added {
                self.free(kid);
            }
        }
        if self.sup(i).rules.dedicated_runtime && !self.sup(i).runtime_lost {
            self.close_runtime(i);
        } else {
            self.sup_mut(i).mode = Mode::Down;
            self.gone(i, Exit::Stopped, StopStage::Asked);
        }
    }

    fn close_runtime(&mut self, i: u32) {
        let (id, attempt) = self.attempt_of(i);
        self.sup_mut(i).mode = Mode::Closing;
        self.push(Effect::Ask { id, attempt });
        let now = self.now;
        let plan = &mut self.sup_mut(i).plan;
        plan.hurry = plan.hurry.min(now);
        plan.kill = plan.kill.min(now.after(KILL_WAIT));
        plan.abandon = plan.abandon.min(plan.kill.max(now).after(KILL_WAIT));
        let at = plan.next_point(now).min(plan.abandon);
        self.set_timer(i, at);
    }

    pub(super) fn runtime_closed(&mut self, i: u32, exit: Exit) {
        self.sup_mut(i).mode = Mode::Down;
        let exit = if exit.is_failure() { exit } else { Exit::Stopped };
        self.gone(i, exit, StopStage::Asked);
    }

    /// The plan of the supervisor of `i`, if that is stopping.
    fn plan_above(&self, i: u32) -> StopPlan {
        let parent = self.node(i).parent;
        if parent != NONE && self.sup(parent).mode == Mode::Stopping {
            self.sup(parent).plan
        } else {
            StopPlan::UNBOUNDED
        }
    }

    /// Whether `i` stops as a member of its group, under the group's deadline.
    fn shares_deadline(&self, i: u32) -> bool {
        let parent = self.node(i).parent;
        parent != NONE && self.sup(parent).is_group() && self.sup(parent).mode == Mode::Stopping
    }

    /// From here on a report of what stops at or below `i` is written.
    pub(super) fn open_log(&mut self, i: u32) {
        let began = self.now;
        self.book(i)
            .log
            .get_or_insert_with(|| Box::new(StopLog { began, entries: Vec::new(), members: 0, unlisted: 0 }));
    }

    /// The report that was begun at `i`. What it holds goes into the report of a stop above as well.
    pub(super) fn close_log(&mut self, i: u32) -> StopReport {
        let log = self.node_mut(i).book.as_mut().and_then(|book| book.log.take());
        let Some(log) = log else { return StopReport::default() };
        let members = log.members;
        let mut entries = log.entries;
        keep_roughest_of_each(&mut entries);
        let report = StopReport { took: self.now.since(log.began), entries, unlisted: log.unlisted };
        let parent = self.node(i).parent;
        if let Some(above) = self.log_above(parent) {
            above.entries.extend(report.entries.iter().cloned());
            above.members += members;
            above.unlisted += report.unlisted;
        }
        report
    }

    pub(super) fn log_stop(&mut self, i: u32, took: Duration, stage: StopStage, exit: Option<&Exit>) {
        if i == self.root {
            return;
        }
        let member = self.is_member(i);
        let Some(log) = self.log_above(i) else { return };
        let full = log.entries.len() >= MAX_LISTED || member && log.members >= MAX_LISTED_MEMBERS;
        if full && !stage.is_forced() {
            log.unlisted += 1;
            return;
        }
        log.members += usize::from(member);
        let entry = StopEntry { path: self.path_of(i), took, stage, exit: exit.cloned() };
        if let Some(log) = self.log_above(i) {
            log.entries.push(entry);
        }
    }

    /// The nearest report in the making, at `i` or above.
    fn log_above(&mut self, mut i: u32) -> Option<&mut StopLog> {
        while i != NONE {
            let node = self.node(i);
            if node.book.as_ref().is_some_and(|book| book.log.is_some()) {
                return self.node_mut(i).book.as_mut()?.log.as_deref_mut();
            }
            i = node.parent;
        }
        None
    }
}

/// Of a child that came back during the stop of others, and was stopped again, the roughest end is told, and of equals the
/// last: what was forced once is not hidden by what went well later.
fn keep_roughest_of_each(entries: &mut Vec<StopEntry>) {
    let mut kept: BTreeMap<Path, usize> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let best = kept.entry(entry.path.clone()).or_insert(at);
        if entry.stage >= entries[*best].stage {
            *best = at;
        }
    }
    let kept: BTreeSet<usize> = kept.into_values().collect();
    let mut at = 0..;
    entries.retain(|_| at.next().is_some_and(|at| kept.contains(&at)));
}
