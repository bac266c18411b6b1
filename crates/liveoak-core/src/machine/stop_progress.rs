//! The progress of a stop: which children are asked next, which are abandoned, and when a supervisor has ended.

use super::driver_queue::{Walk, WalkAct};
use super::plan::StopPlan;
use super::state::{Children, Index, Phase, Purpose, SupervisorPhase};
use super::{Effect, Machine, Refusal};
use crate::{Attempt, EventKind, Exit, Order, StopStage, Survivors};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Machine {
    /// Continues the stop of a supervisor. Asks the children whose turn it is. When all children have ended, ends the
    /// supervisor.
    pub(super) fn continue_stop(&mut self, sup: Index) {
        let state = self.arena.sup_mut(sup);
        let done = match &state.children {
            // All members were asked together when the stop began.
            Children::Group { count, .. } => *count == 0,
            Children::Ordered(_) => {
                if self.now < state.plan.ask_all {
                    self.stop_next(sup);
                } else if !std::mem::replace(&mut state.all_asked, true) {
                    for child in self.arena.sup(sup).ordered().to_vec() {
                        self.begin_stop(child);
                    }
                }
                self.arena.sup(sup).live == 0
            }
        };
        if done && self.arena.sup(sup).phase == SupervisorPhase::Stopping {
            self.all_children_ended(sup);
        }
    }

    /// Asks the next children of a stopping supervisor, or of a restart set, to stop, in reverse start order. With
    /// [`Order::Declared`], these are the children of the last place that has a live child. With [`Order::Edges`], these are
    /// all children on which no other live child depends.
    pub(super) fn stop_next(&mut self, sup: Index) {
        let state = self.arena.sup(sup);
        let concerned = |child: &Index| self.is_to_stop(sup, *child);
        match state.rules.order {
            Order::Declared => {
                let children = state.ordered();
                let position = children[..state.stop_cursor.min(children.len())].iter().rposition(concerned);
                let place = position.map_or(0..0, |position| self.place(sup, position));
                // The place stays before the cursor, so that no other child is asked while one of the place is live.
                self.arena.sup_mut(sup).stop_cursor = place.end;
                for position in place {
                    let child = self.arena.sup(sup).ordered()[position];
                    if self.is_to_stop(sup, child) {
                        self.begin_stop(child);
                    }
                }
            }
            Order::Edges => {
                let children: Vec<Index> = state.ordered().iter().rev().copied().filter(concerned).collect();
                let edges = children.iter().flat_map(|child| &self.arena[*child].spec.after);
                let needed: BTreeSet<Index> =
                    edges.filter_map(|edge| state.names.get(&edge.child).copied()).collect();
                for child in children.into_iter().filter(|child| !needed.contains(child)) {
                    self.begin_stop(child);
                }
            }
        }
    }

    /// Returns `true` if a live child has to end, because its supervisor stops or its restart set restarts.
    fn is_to_stop(&self, sup: Index, child: Index) -> bool {
        let state = &self.arena[child];
        let stopping = self.arena.sup(sup).phase == SupervisorPhase::Stopping;
        state.phase.is_live() && (stopping || state.flags.in_restart_set)
    }

    fn all_children_ended(&mut self, sup: Index) {
        for child in self.arena.sup(sup).ordered().to_vec() {
            // Added children live only until their supervisor ends.
            if self.arena[child].flags.added {
                self.remove_child(child, Refusal::NotFound);
            }
        }
        let state = self.arena.sup_mut(sup);
        if state.rules.dedicated_runtime && !state.runtime_lost {
            self.close_runtime(sup);
        } else {
            state.phase = SupervisorPhase::Down;
            self.on_attempt_ended(sup, Exit::Stopped, StopStage::Asked);
        }
    }

    /// Applies the stage that the plan of a stopping supervisor has reached.
    pub(super) fn next_point_of_plan(&mut self, sup: Index) {
        let (now, plan) = (self.now, self.arena.sup(sup).plan);
        if now >= plan.abandon {
            self.abandon(sup);
        } else if now >= plan.kill {
            self.kill(sup);
        } else {
            self.set_timer(sup, Purpose::Phase, plan.next_point(now));
            self.mark_to_evaluate(Some(sup));
        }
    }

    /// Abandons a child: its attempt counts as ended although it may still run. If the child was not killed yet, it is
    /// killed first.
    pub(super) fn abandon(&mut self, child: Index) {
        let is_leaf = self.arena[child].sup.is_none();
        if is_leaf || !self.arena[child].phase.is_stopping() {
            self.kill(child);
        }
        if is_leaf {
            if self.arena[child].phase == (Phase::Stopping { killed: false }) {
                // The system has refused to signal it. The kill is tried, but not reported as a kill.
                let (id, attempt) = self.arena.attempt_of(child);
                self.push(Effect::Kill(id, attempt));
            }
            return self.end_abandoned(child);
        }
        // All remaining steps of this stop are overdue.
        let at_once = StopPlan::at_once(self.now);
        let sup = self.arena.sup_mut(child);
        sup.plan = sup.plan.min(at_once);
        if sup.phase == SupervisorPhase::ClosingRuntime {
            self.kill_runtime(child);
            self.arena.sup_mut(child).phase = SupervisorPhase::Down;
            return self.end_abandoned(child);
        }
        if self.arena.sup(child).is_group() {
            let cursor = self.arena.first_member(child);
            self.driver_queue.walks.push_back(Walk { cursor, act: WalkAct::Abandon });
        }
        for below in self.arena.sup(child).ordered().to_vec() {
            if self.arena[below].phase.is_live() {
                self.abandon(below);
            }
        }
        self.mark_to_evaluate(Some(child));
    }

    fn end_abandoned(&mut self, child: Index) {
        let (id, attempt) = self.arena.attempt_of(child);
        self.emit(child, || EventKind::Abandoned { attempt });
        self.push(Effect::Abandon(id, attempt));
        let survivors = self.survivors_of(child).cloned();
        let exit = survivors.map_or(Exit::Abandoned, Exit::StillRuns);
        self.on_attempt_ended(child, exit, StopStage::Abandoned);
    }

    /// Notes which processes the live attempt of a child runs. If the system has refused to kill some of them, waiting
    /// for the end of a killed attempt is useless.
    pub(super) fn reported_survivors(&mut self, child: Index, survivors: Arc<Survivors>) {
        let refused = survivors.refused.is_some();
        let attempt = Attempt(self.arena[child].attempt);
        self.arena.record_or_new(child).survivors = Some((attempt, survivors));
        if refused && self.arena[child].phase == (Phase::Stopping { killed: true }) {
            self.abandon(child);
        }
    }

    /// Takes one step of the first walk over a group. Returns `false` if there is no walk.
    pub(super) fn step_walk(&mut self) -> bool {
        let Some(walk) = self.driver_queue.walks.front_mut() else { return false };
        let Some(member) = walk.cursor else {
            self.driver_queue.walks.pop_front();
            return true;
        };
        let act = walk.act;
        // The walk moves on first, because the member may leave the group now.
        walk.cursor = self.arena[member].next;
        match act {
            WalkAct::Pause | WalkAct::Resume => self.pause_or_resume(member, act),
            _ if self.arena[member].phase.is_idle() => self.remove_child(member, Refusal::NotFound),
            WalkAct::Ask => self.begin_stop(member),
            WalkAct::Kill => self.kill(member),
            WalkAct::Abandon if self.arena[member].phase.is_live() => self.abandon(member),
            WalkAct::Abandon => {}
        }
        true
    }
}
