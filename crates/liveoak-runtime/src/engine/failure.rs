//! The end of a tree whose machine or driver has panicked. Code of the user cannot cause this: it runs outside the lock,
//! and its panics are caught.
//!
//! The state of the machine may contradict itself then, so nothing decides about the children any more. The tree fails as
//! a whole: callers that wait for an answer get [`Refusal::TreeEnded`], the streams of events end, and every attempt is
//! asked to stop, killed after [`LAST_STOP`], and abandoned [`KILL_WAIT`] later. Then the tree has ended as
//! [`Exit::Panicked`], with a final report.
//!
//! The panic goes no further than the call in which it happened, so the code that called continues. An attempt that reports
//! its end has no caller: there, [`FailOnUnwind`] fails the tree while the panic unwinds the task, which costs nothing otherwise. A panic that
//! nothing has caught is noticed by the next thread that takes the lock, because the lock is then poisoned.

use crate::attempt::panic::{catch, drop_catching_panics, seen_last};
use crate::engine::driver::{LiveAttempt, State, TreeInner};
use crate::engine::ended::{Ended, LastExits};
use crate::util::log::log;
use crate::util::own_timer::own_timer;
use crate::util::{Either, race};
use liveoak_core::{ChildId, Exit, KILL_WAIT, Path, Refusal, StopEntry, StopReport, StopStage, Time};
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// The part that has panicked, as an exit names it.
pub(crate) const DURING: &str = "supervision";

/// How long the attempts of a tree that has failed by a panic may take from the request to stop until they are killed, unless
/// the budget of the tree is smaller. It is the default of a child.
const LAST_STOP: Duration = Duration::from_secs(5);

/// Fails the tree if a panic unwinds through its owner.
pub(crate) struct FailOnUnwind<'a>(Option<&'a TreeInner>);

impl<'a> FailOnUnwind<'a> {
    pub(crate) const fn new(tree: &'a TreeInner) -> Self {
        Self(Some(tree))
    }

    /// Ends the watch: there was no panic.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for FailOnUnwind<'_> {
    fn drop(&mut self) {
        if let Some(tree) = self.0 {
            tree.fail_after_panic(None);
        }
    }
}

/// What is stopped when a tree has failed.
struct LastStop {
    exit: Exit,
    began: Time,
    budget: Duration,
    leaves: Vec<(Arc<LiveAttempt>, Path)>,
    runtimes: Vec<(Arc<LiveAttempt>, Path)>,
}

impl State {
    /// Returns why a command is refused whose child does not exist.
    pub(crate) const fn refusal_of_absent(&self) -> Refusal {
        if self.failed.is_some() { Refusal::TreeEnded } else { Refusal::NotFound }
    }
}

impl TreeInner {
    /// Fails the tree, unless it has failed before. `panic` is what is known of the panic.
    pub(crate) fn fail(&self, mut state: MutexGuard<'_, State>, panic: Option<Exit>) {
        if state.failed.is_some() {
            return;
        }
        let exit = panic.unwrap_or_else(|| seen_last(DURING));
        let mut last = LastStop {
            exit: exit.clone(),
            began: self.clock.now(),
            budget: catch(None, || state.stop_budget(state.machine.root()))
                .unwrap_or(LAST_STOP)
                .min(LAST_STOP),
            leaves: Vec::new(),
            runtimes: Vec::new(),
        };
        for cell in state.live_cells() {
            let known = catch(None, || state.machine.path(cell.id)).ok().flatten();
            let path = known.unwrap_or_else(|| Path::new("(a child of the tree)"));
            let is_runtime = state.is_runtime(cell.id);
            (if is_runtime { &mut last.runtimes } else { &mut last.leaves }).push((cell, path));
        }
        state.failed = Some(Box::new(LastExits {
            leaves: last.leaves.len(),
            runtimes: last.runtimes.iter().map(|(cell, _)| cell.id).collect(),
            exits: HashMap::new(),
        }));
        // If the machine cannot even be ended, nothing of it is used below.
        let _ = catch(None, || state.machine.fail());
        let is_ending = std::mem::replace(&mut state.runtime_lost, true);
        let requests = state.requests.take_all();
        drop(state);
        // Dropping a request wakes its caller.
        requests.for_each(drop_catching_panics);
        log(move || {
            tracing::error!(target: "liveoak", event = "failed", "the tree has failed, and is stopped: {exit}");
        });
        // Otherwise another thread is about to end the tree.
        if !is_ending && self.ended().is_none() {
            let _ = catch(None, || self.events.close());
            self.begin_last_stop(last);
        }
    }

    /// Notes the end of an attempt of a tree that has failed.
    #[cold]
    pub(crate) fn note_last_exit(&self, state: &mut State, id: ChildId, exit: &Exit) {
        let now = self.clock.now();
        if let Some(last) = &mut state.failed {
            if !last.runtimes.remove(&id) {
                last.leaves = last.leaves.saturating_sub(1);
            }
            last.exits.insert(id, (exit.clone(), now));
            self.attempt_left.notify_waiters();
        }
    }

    /// Stops what still runs, in a task or thread of its own, because the caller unwinds.
    fn begin_last_stop(&self, last: LastStop) {
        // Otherwise nothing holds the tree any more, so nothing waits for its end.
        let Some(tree) = self.me.upgrade() else { return };
        let finish = FinishOnDrop { tree: Arc::clone(&tree), exit: last.exit.clone() };
        if self.drops.in_place {
            drop(self.clock.handle.spawn(async move { finish.tree.last_stop(last).await }));
            return;
        }
        let stop = move || {
            let handle = finish.tree.clock.handle.clone();
            handle.block_on(finish.tree.last_stop(last));
        };
        // If the system refuses the thread, the closure is dropped, and the tree ends at once.
        let _thread = std::thread::Builder::new().name("liveoak-end".to_owned()).spawn(stop);
    }

    /// Asks, kills and abandons what still runs, and ends the tree.
    async fn last_stop(self: &Arc<Self>, last: LastStop) {
        let LastStop { exit, began, budget, leaves, runtimes } = last;
        let mut entries = self.end_all(&leaves, began, budget, |last| last.leaves == 0).await;
        entries.extend(self.end_all(&runtimes, began, KILL_WAIT, |last| last.runtimes.is_empty()).await);
        let took = self.clock.now().since(began);
        let report = Arc::new(StopReport { took, entries, ..StopReport::default() });
        // The tree may have been about to end in another way.
        self.end(self.known_end().unwrap_or(Ended { exit, report }));
    }

    /// Ends some attempts, in three stages.
    async fn end_all(
        &self,
        cells: &[(Arc<LiveAttempt>, Path)],
        began: Time,
        budget: Duration,
        ended: impl Fn(&LastExits) -> bool,
    ) -> Vec<StopEntry> {
        cells.iter().for_each(|(cell, _)| {
            cell.orders.ask();
            self.tries.end(cell.id, cell.attempt, None);
        });
        let killed_at = if self.until_left(&ended, budget).await { Time::NEVER } else { self.clock.now() };
        if killed_at != Time::NEVER {
            cells.iter().for_each(|(cell, _)| cell.orders.kill());
            if !self.until_left(&ended, KILL_WAIT).await {
                cells.iter().for_each(|(cell, _)| cell.abandon());
            }
        }
        let (now, state) = (self.clock.now(), self.state());
        let exits = state.failed.as_ref().map(|last| &last.exits);
        let entry = |(cell, path): &(Arc<LiveAttempt>, Path)| {
            let (exit, at, stage) = match exits.and_then(|exits| exits.get(&cell.id)) {
                Some((exit, at)) if *at < killed_at => (exit.clone(), *at, StopStage::Asked),
                Some((exit, at)) => (exit.clone(), *at, StopStage::Killed),
                None => (Exit::Abandoned, now, StopStage::Abandoned),
            };
            StopEntry { path: path.clone(), took: at.since(began), stage, exit: Some(exit), stuck: None }
        };
        cells.iter().map(entry).collect()
    }

    /// Waits until `ended` holds, for at most `within`. Returns `true` if it does.
    async fn until_left(&self, ended: impl Fn(&LastExits) -> bool, within: Duration) -> bool {
        let holds = || self.state().failed.as_ref().is_none_or(|last| ended(last));
        let all_ended = async {
            loop {
                let left = self.attempt_left.notified();
                if holds() {
                    return;
                }
                left.await;
            }
        };
        if self.drops.in_place {
            return matches!(race(all_ended, tokio::time::sleep(within)).await, Either::Left(()));
        }
        // The threads of the runtime may be blocked.
        matches!(race(all_ended, own_timer(within)).await, Either::Left(()))
    }
}

/// Ends the tree if its last stop could not do that: its task or thread was dropped, or has panicked.
struct FinishOnDrop {
    tree: Arc<TreeInner>,
    exit: Exit,
}

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        let Self { tree, exit } = self;
        let ends = tree.ended().is_some() || (!std::thread::panicking() && tree.known_end().is_some());
        if !ends {
            for cell in catch(None, || tree.state().live_cells()).unwrap_or_default() {
                cell.orders.kill();
                cell.abandon();
            }
            tree.set_end(Ended { exit: exit.clone(), report: Arc::default() });
            let _ = catch(None, || tree.let_go());
            let _ = catch(None, || tree.tell_end(&[]));
        }
    }
}
