//! The reference model, part 3: how a stop begins, and when a child is asked.

use crate::child::{Body, Mode, NEVER, Phase, Plan, later};
use crate::reference::Model;
use crate::stopping::Act;
use std::time::Duration;

impl Model {
    pub(crate) fn stop(&mut self, path: &str) {
        let (plan, now) = (self.plan_above(path), self.now);
        match self.at(path).phase {
            Phase::Idle(_) => {}
            Phase::Waiting | Phase::BackingOff => self.after_stop(path, None),
            Phase::Stopping { .. } if self.at(path).drains => {
                if now >= plan.ask_all {
                    self.ask_after_drain(path);
                }
            }
            Phase::Stopping { .. } => {
                let mut tighter = self.at(path).plan.within(plan);
                if self.at(path).is_group() {
                    tighter.ask_all = NEVER;
                }
                if !self.at(path).is_leaf() && tighter != self.at(path).plan {
                    let child = self.of(path);
                    child.plan = tighter;
                    child.timer = child.timer.min(tighter.next(now));
                }
            }
            Phase::Starting | Phase::Running => {
                let child = self.at(path);
                let unready_for = child.spec.unready_for;
                let was_well = child.phase == Phase::Running && child.cause.is_none();
                self.set(path, Phase::Stopping { killed: false });
                if !self.at(path).is_leaf() {
                    return self.stop_supervisor(path, plan);
                }
                let within = self.at(path).spec.stop_within;
                if within.is_zero() || now >= plan.kill {
                    return self.kill(path);
                }
                if was_well && now < plan.ask_all && !unready_for.is_zero() {
                    let child = self.of(path);
                    (child.drains, child.timer) = (true, later(now, unready_for));
                    return;
                }
                self.acts.push(format!("ask {path}"));
                if !self.stops_with_its_group(path) {
                    self.of(path).timer = later(now, within).min(plan.kill);
                }
            }
        }
    }

    /// Asks a child that has not been ready for long enough. It has the rest of its time, or one further wait.
    pub(crate) fn ask_after_drain(&mut self, path: &str) {
        let (plan, now) = (self.plan_above(path), self.now);
        self.of(path).drains = false;
        if now >= plan.kill {
            return self.kill(path);
        }
        self.acts.push(format!("ask {path}"));
        let child = self.of(path);
        let within = child.spec.stop_within;
        let deadline = later(child.since, within);
        child.timer = deadline.min(plan.kill);
        if deadline <= now {
            child.timer = later(now, within.min(Duration::from_secs(1))).min(plan.kill);
            child.prolonged = child.timer;
        }
    }

    fn stop_supervisor(&mut self, path: &str, outer: Plan) {
        let now = self.now;
        let spec = &self.at(path).spec;
        let mut plan = Plan::new(now, spec.stop_within, spec.kill_wait).within(outer);
        if let Body::Group(group) = &self.at(path).body {
            let within = group.template.stop_within;
            if within != Duration::MAX {
                plan.kill = plan.kill.min(later(now, within));
                plan.abandon = plan.abandon.min(later(plan.kill, group.template.kill_wait));
            }
            plan.ask_all = NEVER;
        }
        let child = self.of(path);
        let opening = child.mode == Mode::Opening;
        child.mode = Mode::Stopping;
        child.plan = plan;
        child.prolonged_plan = crate::child::NO_PLAN;
        child.timer = plan.next(now);
        if child.is_group() {
            self.member_walks.push_back((path.to_owned(), Act::Ask));
        } else {
            for kid in self.kids(path) {
                if self.at(&kid).pending() {
                    self.stop(&kid);
                } else if matches!(self.at(&kid).phase, Phase::Idle(_)) {
                    self.of(&kid).trial_timer = NEVER;
                }
            }
        }
        if opening {
            self.close_runtime(path);
        }
        if now >= plan.kill {
            self.kill(path);
        }
    }
}
