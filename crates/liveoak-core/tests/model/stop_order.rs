//! The reference model, part 4: in which order the children of a stopping supervisor are asked.

use crate::child::{Mode, Path};
use crate::reference::Model;
use crate::stopping::Act;
use liveoak_core::Order;

impl Model {
    pub(crate) fn go_on_stopping(&mut self, path: &str) {
        if !self.at(path).is_group() {
            if self.now >= self.at(path).plan.ask_all {
                self.act_on_children(path, Act::Ask);
            } else {
                self.stop_next(path, false);
            }
        }
        let kids = self.kids(path);
        let group = self.at(path).is_group();
        if kids.iter().any(|kid| group || self.at(kid).lives()) {
            return;
        }
        for kid in kids {
            if self.at(&kid).added {
                self.forget(&kid);
            }
        }
        if self.at(path).has_own_attempt() {
            return self.close_runtime(path);
        }
        self.of(path).mode = Mode::Down;
        self.attempt_ended(path, "stopped");
    }

    /// Asks the next children to stop. `Order::Declared`: the last live child, and the replicas of its set. `Order::Edges`: every live child that no
    /// live child depends on.
    pub(crate) fn stop_next(&mut self, path: &str, restart_set_only: bool) {
        let mut kids: Vec<Path> = self.kids(path);
        kids.retain(|kid| self.at(kid).lives() && (self.at(kid).in_restart_set || !restart_set_only));
        let edges = self.at(path).rules().is_some_and(|rules| rules.order == Order::Edges);
        let needed = |name: &str| {
            let after = |kid: &Path| self.at(kid).spec.after.iter().any(|edge| edge.child.as_str() == name);
            kids.iter().any(after)
        };
        let free: Vec<Path> = if edges {
            let name = |kid: &Path| kid.rsplit('/').next().unwrap_or_default().to_owned();
            kids.iter().rev().filter(|kid| !needed(&name(kid))).cloned().collect()
        } else {
            // The replicas of the last one stop with it.
            let last = kids.last().cloned();
            let with_last = |kid: &&Path| {
                Some(*kid) == last.as_ref() || self.are_replicas(kid, last.as_ref().unwrap_or(kid))
            };
            kids.iter().filter(with_last).cloned().collect()
        };
        free.iter().for_each(|kid| self.stop(kid));
    }
}
