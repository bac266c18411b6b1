//! The answers to the machine's heartbeat checks.
//!
//! A child that has not given its heartbeat may be stuck, or it could not run because other code blocks the threads of
//! its runtime. The rule: a heartbeat counts as missed only if the child had a thread. It had one if code of the child
//! is running at the check, or if its runtime runs a *probe*: a task that does nothing else. A probe that runs late, or
//! has not run by the next check, shows that the runtime was blocked. The child then has a whole further period.
//!
//! So the child whose code blocks the runtime is found stuck. The other children are not.

use crate::attempt::cell::{AttemptCell, AttemptListener};
use crate::engine::action::Action;
use crate::engine::driver::{LiveAttempt, TreeInner};
use crate::engine::state::TreeState;
use crate::engine::watchdog::SLACK;
use crate::util::log::log;
use liveoak_core::{Input, Time};
use std::sync::Arc;
use tokio::runtime::Handle;

impl<T: AttemptListener> TreeState<T> {
    /// Answers the heartbeat check of an attempt, or returns the probe that will.
    pub(crate) fn check_heartbeat(&mut self, cell: Arc<AttemptCell<T>>) -> Option<Action<T>> {
        let beaten = cell.orders.take_beat();
        if !beaten && !cell.activity.is_running() && cell.activity.begin_probe() {
            let handle = if cell.on_tree_runtime { None } else { self.runtime_for(cell.id) };
            return Some(Action::Probe(cell, handle));
        }
        // If neither is true, the probe of the last check has not run yet.
        let had_no_thread = !beaten && !cell.activity.is_running();
        let random = self.random();
        let answer = Input::Heartbeat(cell.id, cell.attempt, beaten || had_no_thread);
        // The time of the machine does not go back, so zero means the current time of the machine.
        self.machine.handle(Time::ZERO, random, answer);
        None
    }
}

impl TreeInner {
    /// Spawns the probe of an attempt on its runtime.
    pub(crate) fn probe(self: &Arc<Self>, cell: Arc<LiveAttempt>, handle: Option<&Handle>) {
        let asked = self.clock.now();
        let tree = Arc::clone(self);
        let probe = async move { tree.probed(&cell, asked) };
        drop(handle.unwrap_or(&self.clock.handle).spawn(probe));
    }

    fn probed(self: &Arc<Self>, cell: &Arc<LiveAttempt>, asked: Time) {
        let now = self.clock.now();
        let waited = now.since(asked);
        cell.activity.end_probe();
        let beaten = cell.orders.take_beat();
        let was_blocked = !beaten && waited > SLACK;
        if was_blocked && !cell.orders.is_stopping() {
            let path = cell.path();
            log(move || {
                tracing::warn!(
                    target: "liveoak",
                    %path,
                    event = "runtime-blocked",
                    "the threads of its runtime were blocked for {waited:?}: its heartbeat does not count as missed"
                );
            });
        }
        let answer = Input::Heartbeat(cell.id, cell.attempt, beaten || was_blocked);
        self.report(now, answer);
    }
}
