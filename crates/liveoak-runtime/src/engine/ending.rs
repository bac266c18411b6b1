//! The end of a tree, and the wait of a stop for the destructors of values that children leave behind.
//!
//! A stop waits for these destructors within the rest of its budget. A destructor that takes longer is reported as
//! abandoned, and continues. The end of a tree also waits up to [`LOG_WAIT`] until the last lines are in the log.

use crate::attempt::cell::AttemptListener as _;
use crate::attempt::panic::{catch, drop_catching_panics};
use crate::engine::action::TurnLimit;
use crate::engine::driver::{LiveAttempt, Owner, State, TreeInner};
use crate::engine::drops::Awaited;
use crate::engine::ended::{Ended, FinalReport};
use crate::util::lock::lock;
use crate::util::log::{flush_log, is_log_flushed};
use crate::util::own_timer::own_timer;
use crate::util::race;
use crate::util::waker_guard::WakerGuard;
use liveoak_core::{ChildId, Exit, Input, KILL_WAIT, Origin, Path, StopEntry, StopReport, StopStage, Time};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the end of a tree waits for the log subscriber.
const LOG_WAIT: Duration = Duration::from_secs(1);

/// The least time that a stop waits for destructors, even if attempts have used up its budget. Destructors that do not
/// block take far less, and are not reported as abandoned.
const DROP_WAIT: Duration = Duration::from_millis(50);

/// The longest time that a stop without a budget waits for destructors.
const UNBOUNDED_DROP_WAIT: Duration = KILL_WAIT;

/// Returns how long a stop that has used `took` of its `budget` waits for destructors.
fn drop_wait(budget: Duration, took: Duration) -> Duration {
    if budget == Duration::MAX {
        return UNBOUNDED_DROP_WAIT;
    }
    budget.saturating_sub(took).max(DROP_WAIT)
}

impl TreeInner {
    /// Waits for the destructors of the values that the child and the children below it have left behind, within the rest
    /// of `budget`. Adds the time of the wait to the `report`, and the children whose destructors have not ended.
    pub(crate) async fn wait_for_drops(
        self: &Arc<Self>,
        awaited: &Awaited,
        path: &Path,
        budget: Duration,
        report: &mut StopReport,
    ) {
        if !self.drops.has_unfinished() {
            return;
        }
        let child = awaited.child;
        let begun = self.clock.now();
        let wait = drop_wait(budget, report.took);
        let paused = self.drops.in_place.then(|| {
            let _inside = self.clock.handle.enter();
            tokio::time::sleep(wait)
        });
        let sleep = async {
            match paused {
                Some(paused) => paused.await,
                // The caller may be on another runtime, and the threads of the tree's runtime may be blocked.
                None => own_timer(wait).await,
            }
        };
        let dropped = async {
            loop {
                let settled = self.drops.settled.notified();
                if self.unfinished_below(child).is_empty() {
                    return;
                }
                settled.await;
            }
        };
        WakerGuard::new().wait(race(dropped, sleep)).await;
        let waited = self.clock.now().since(begun);
        report.took += waited;
        let left = self.unfinished_below(child);
        add_abandoned(report, left.into_iter().map(|left| self.path(left).unwrap_or_else(|| path.clone())));
    }

    fn unfinished_below(&self, child: ChildId) -> Vec<ChildId> {
        if !self.drops.has_unfinished() {
            return Vec::new();
        }
        let state = self.state();
        self.drops.unfinished_below(child, |id| state.machine.parent(id))
    }

    /// Ends the tree: takes all values of the user out of the tree, because handles of the tree may live on, waits
    /// until these values are dropped, and reports the end. Callers that still wait for an answer get
    /// [`Refusal::TreeEnded`](liveoak_core::Refusal::TreeEnded).
    pub(crate) fn end(self: &Arc<Self>, ended: Ended) {
        let (wait, killed) = {
            let state = self.state();
            let wait = match state.stopped_by {
                Some(Time::NEVER) => UNBOUNDED_DROP_WAIT,
                Some(by) => by.since(self.clock.now()).max(DROP_WAIT),
                None => drop_wait(state.stop_budget(state.machine.root()), ended.report.took),
            };
            (wait, state.killed)
        };
        let wait = if killed { wait.min(KILL_WAIT) } else { wait };
        *lock(&self.ending) = Some(ended);
        // A call does a limited amount of work.
        let is_large = self.state().children.is_large();
        if !is_large {
            self.let_go();
            let delivered = self.events.until_delivered(Duration::ZERO);
            if !self.drops.has_unfinished() && delivered && is_log_flushed() {
                return self.tell_end(&[]);
            }
        }
        if self.drops.in_place {
            drop(self.clock.handle.spawn(Arc::clone(self).end_in_task(wait)));
        } else {
            self.end_later(wait);
        }
    }

    /// Waits for the end in a task: in tests with a paused clock, and if there is no thread left.
    async fn end_in_task(self: Arc<Self>, wait: Duration) {
        self.let_go();
        let since = self.clock.now();
        let dropped = async {
            loop {
                let settled = self.drops.settled.notified();
                if !self.drops.has_unfinished() {
                    return;
                }
                settled.await;
            }
        };
        race(dropped, tokio::time::sleep(wait)).await;
        self.tell_end_after(since, &self.drops.wait(Instant::now()));
    }

    fn tell_end_after(&self, since: Time, unfinished: &[ChildId]) {
        if let Some(ended) = &mut *lock(&self.ending) {
            Arc::make_mut(&mut ended.report).took += self.clock.now().since(since);
        }
        self.tell_end(unfinished);
    }

    /// Waits for the end in a thread of its own: the caller may be inside a call by the user, and all threads of the
    /// runtime may be blocked.
    fn end_later(self: &Arc<Self>, wait: Duration) {
        let (done, until_done) = std::sync::mpsc::channel::<()>();
        let (tree, since) = (Arc::clone(self), self.clock.now());
        let waits = move || {
            let told = catch(None, || {
                tree.let_go();
                let begun = Instant::now();
                let until = begun.checked_add(wait).unwrap_or(begun + UNBOUNDED_DROP_WAIT);
                let unfinished = tree.drops.wait(until);
                let since_dropped = Instant::now();
                tree.events.until_delivered(LOG_WAIT);
                flush_log(LOG_WAIT.saturating_sub(since_dropped.elapsed()));
                tree.tell_end_after(since, &unfinished);
            });
            if told.is_err() {
                tree.tell_end(&[]);
            }
            drop(done);
        };
        if self.clock.is_pausable() {
            // Tokio does not advance the paused clock while a blocking call runs.
            let stands = move || until_done.recv().is_ok();
            let _ = catch(None, || drop(self.clock.handle.spawn_blocking(stands)));
        }
        // If the system refuses the thread, a task of the runtime waits.
        if std::thread::Builder::new().name("liveoak-end".to_owned()).spawn(waits).is_err() {
            drop(self.clock.handle.spawn(Arc::clone(self).end_in_task(wait)));
        }
    }

    /// Returns how the tree has ended, if that is known and the end only waits for destructors or for the log.
    pub(crate) fn known_end(&self) -> Option<Ended> {
        lock(&self.ending).clone()
    }

    /// Sets how the tree has ended, unless that is known.
    pub(crate) fn set_end(&self, ended: Ended) {
        lock(&self.ending).get_or_insert(ended);
    }

    /// Records the end, and wakes the tasks that wait for it. `unfinished` are the children whose destructors were
    /// abandoned. A second call does nothing.
    pub(crate) fn tell_end(&self, unfinished: &[ChildId]) {
        let Some(mut ended) = lock(&self.ending).take() else { return };
        if !unfinished.is_empty() {
            let report = Arc::make_mut(&mut ended.report);
            let state = self.state();
            let root = state.machine.root();
            let paths = unfinished
                .iter()
                .filter_map(|child| state.machine.path(*child).or_else(|| state.machine.path(root)));
            add_abandoned(report, paths);
        }
        self.drops.close();
        self.clock.release_all();
        let times = (self.clock.wall(Time::ZERO), self.clock.wall(self.clock.now()));
        let (asked, first) = {
            let machine = &self.state().machine;
            (machine.end_command().cloned(), machine.first_failure().cloned())
        };
        let report = FinalReport::new(&ended, times, asked, first, self.is_ready());
        let _ = self.final_report.set(Arc::new(report));
        let _ = self.ended.set(ended);
        self.ready_or_ended.notify_waiters();
        self.timer_task_notify.notify_one();
        self.watchdog.end();
        self.poll_watch.end();
        if let Some(Owner { cell, number }) = &self.owner {
            cell.subtask_ended(*number, None);
        }
    }

    /// Takes all values of the user out of the tree, and ends the events.
    pub(crate) fn let_go(&self) {
        let mut state = self.state();
        let mut children = std::mem::take(&mut state.children);
        let requests = state.requests.take_all();
        drop(state);
        self.events.close();
        for (slot, entry) in (0..).zip(children.drain()) {
            if let Some(child) = entry.id(slot) {
                self.dispose(entry, child);
            }
        }
        // Dropping a request wakes its caller.
        requests.for_each(drop_catching_panics);
    }

    /// Ends the tree immediately, because its runtime is shutting down. No wait is possible any more, so every attempt
    /// is killed, abandoned and reported as killed, and nothing starts again. A second call does nothing.
    pub(crate) fn runtime_lost(self: &Arc<Self>) {
        let now = self.clock.now();
        let mut state = self.state();
        if std::mem::replace(&mut state.runtime_lost, true) {
            return;
        }
        self.drops.lose_runtime();
        let live = state.live_cells();
        // Under the same lock: an exit that is reported later must not be answered by a new attempt.
        // A panic changes nothing: everything ends below.
        let _ = catch(None, || self.input(state, now, Input::Kill, TurnLimit::TIMER));
        let entries = live.iter().map(killed).collect();
        for cell in live {
            cell.orders.kill();
            cell.abandon();
        }
        let report = Arc::new(StopReport { entries, ..StopReport::default() });
        lock(&self.ending).get_or_insert(Ended { exit: Exit::Killed, report });
        self.let_go();
        self.tell_end(&[]);
    }
}

impl TreeInner {
    /// Begins the stop of the tree. `within` is its budget, instead of the declared one. A stop that has begun becomes
    /// shorter by it, never longer.
    pub(crate) fn stop_within(self: &Arc<Self>, within: Option<Duration>, origin: Option<Arc<Origin>>) {
        let _ = self.guarded(|| self.stop_within_unguarded(within, origin));
    }

    fn stop_within_unguarded(self: &Arc<Self>, within: Option<Duration>, origin: Option<Arc<Origin>>) {
        let now = self.clock.now();
        let mut state = self.state();
        if let Some(within) = within {
            let by = now.after(within);
            let earlier = match state.stopped_by {
                None if state.machine.is_ending() => {
                    let (_, since, _) = state.machine.root_state();
                    Some(since.after(state.stop_budget(state.machine.root())))
                }
                earlier => earlier,
            };
            state.stopped_by = Some(earlier.map_or(by, |earlier| earlier.min(by)));
        } else if !state.machine.is_ending() {
            state.stopped_by = None;
        }
        state.machine.set_origin(origin);
        state.machine.set_stop_budget(within);
        self.input(state, now, Input::Stop, TurnLimit::CALL);
    }
}

impl State {
    /// Returns how long the stop of a child may take in all.
    pub(crate) fn stop_budget(&self, child: ChildId) -> Duration {
        self.machine.spec(child).map_or(Duration::MAX, |spec| spec.stop_within)
    }
}

fn killed(cell: &Arc<LiveAttempt>) -> StopEntry {
    let exit = Some(Exit::Killed);
    StopEntry { path: cell.path(), took: Duration::ZERO, stage: StopStage::Killed, exit, stuck: None }
}

/// Reports the children whose values could not be dropped in time. A child that the report names already keeps its exit.
fn add_abandoned(report: &mut StopReport, paths: impl Iterator<Item = Path>) {
    let took = report.took;
    let mut named: HashMap<Path, usize> =
        report.entries.iter().enumerate().map(|(at, entry)| (entry.path.clone(), at)).collect();
    for path in paths {
        let at = *named.entry(path.clone()).or_insert(report.entries.len());
        match report.entries.get_mut(at) {
            Some(entry) => entry.stage = StopStage::Abandoned,
            None => {
                report.entries.push(StopEntry {
                    path,
                    took,
                    stage: StopStage::Abandoned,
                    exit: Some(Exit::Abandoned),
                    stuck: None,
                });
            }
        }
    }
}
