//! One running tree: the machine behind one short lock, and the performing of its effects.
//!
//! Inputs come from many threads: a worker whose task has ended, a caller with a command. Each thread gives its input to
//! the machine directly and performs the effects, so a child that ends is restarted without a hop to another task.
//!
//! 1. The machine and the [state](TreeState) around it are used under the lock only. User code never runs under the
//!    lock, not even a destructor.
//! 2. Effects are taken under the lock and performed outside it, by the thread that finds them. They need no order among
//!    each other: orders to an attempt are latched, so they also hold for an attempt that starts a moment later, and an
//!    attempt starts only after the end of the previous one was reported. Only events are delivered in order
//!    ([`Broadcast`]).
//! 3. A thread performs a limited number of effects per turn ([`Batch::ends_turn`]); the timer task performs the rest
//!    and yields in between. An input that arrives while its thread performs an effect of the same tree is handled by
//!    the outer loop, not deeper on the stack ([`CURRENT_TREE`]).
//! 4. The timer task sleeps until the earliest deadline. A thread that adds an earlier one wakes it. If the timer task
//!    is late, the [`Watchdog`] does its work.
//! 5. A slot may have a new child before the driver was told to forget the old one, so each entry carries the serial of
//!    its child.
//! 6. A panic of user code on the way (a waker, a destructor, a log subscriber) ends at most its own effect: no other
//!    effect, message or waiter is lost. The panic is caught; the panic hook has already reported it.

use crate::attempt::body::Body;
use crate::attempt::cell::{AttemptCell, Owner};
use crate::attempt::panic::catch;
use crate::engine::action::{Action, Batch};
use crate::engine::clock::Clock;
use crate::engine::ended::{Ended, drop_catching_panics};
use crate::engine::events::{Broadcast, Events};
use crate::engine::state::TreeState;
use crate::engine::watchdog::Watchdog;
use crate::util::lock::{ignore_poison, lock};
use crate::util::waker_guard::guard_waker;
use liveoak_core::{ChildId, Command, Exit, Input, Machine, Outcome, Path, Refusal, Snapshot, Time};
use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// How many steps of the stop of a dynamic group are performed per turn, by the timer task and by the thread that stops
/// the group. Enough to keep all threads busy with the members that were asked.
const GROUP_STEPS_PER_TURN: usize = 2048;

/// How often a thread tries to take the lock before it sleeps on it.
const LOCK_TRIES: u32 = 200;

thread_local! {
    /// The tree whose effects this thread is performing (its address), and whether that tree got an input meanwhile.
    static CURRENT_TREE: Cell<(usize, bool)> = const { Cell::new((0, false)) };
}

/// An attempt of a child of a running tree.
pub(crate) type LiveAttempt = AttemptCell<Arc<TreeInner>>;

/// The body of a child of a running tree.
pub(crate) type ChildBody = dyn Body<Arc<TreeInner>>;

/// The state of a running tree.
pub(crate) type State = TreeState<Arc<TreeInner>>;

/// One running tree.
pub(crate) struct TreeInner {
    pub(crate) clock: Clock,
    state: Mutex<State>,
    pub(crate) events: Broadcast,
    /// Set when the whole tree is ready for the first time.
    ready: OnceLock<()>,
    /// Set when the tree has ended.
    ended: OnceLock<Ended>,
    /// Wakes the tasks that wait for `ready` or `ended`.
    milestone: Notify,
    /// Wakes the timer task.
    pub(crate) timer_task_notify: Notify,
    pub(crate) watchdog: Arc<Watchdog>,
}

impl Owner for Arc<TreeInner> {
    fn attempt_ended(&self, cell: &Arc<LiveAttempt>, exit: Exit) {
        let now = if cell.on_root { self.clock.now_inside() } else { self.clock.now() };
        let mut state = self.state();
        state.release(cell);
        let released = state.errors.add(&exit);
        self.input(state, now, Input::Exited(cell.id, cell.attempt, exit), 0);
        released.drop_errors();
    }

    fn body_ended(&self, cell: &Arc<LiveAttempt>, exit: Exit) {
        let now = self.clock.now();
        let mut state = self.state();
        let released = state.errors.add(&exit);
        self.input(state, now, Input::Ending(cell.id, cell.attempt, exit), 0);
        released.drop_errors();
    }

    fn path(&self, id: ChildId) -> Option<Path> {
        self.state().machine.path(id)
    }
}

impl TreeInner {
    pub(crate) fn new(machine: Machine, handle: Handle) -> Arc<Self> {
        Arc::new(Self {
            clock: Clock::new(handle),
            state: Mutex::new(State::new(machine)),
            events: Broadcast::default(),
            ready: OnceLock::new(),
            ended: OnceLock::new(),
            milestone: Notify::new(),
            timer_task_notify: Notify::new(),
            watchdog: Arc::new(Watchdog::new()),
        })
    }

    /// Locks the state.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // The lock is held for well under a microsecond, so a few tries are cheaper than a sleep.
        for _ in 0..LOCK_TRIES {
            match self.state.try_lock() {
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
                Err(TryLockError::Poisoned(poisoned)) => return ignore_poison(Err(poisoned)),
                Ok(state) => return state,
            }
        }
        lock(&self.state)
    }

    /// Gives the machine one input and performs the effects that follow, with at most `group_steps` steps of the stop of
    /// dynamic groups. Every input passes through here; only new children are added by [`with_state`](Self::with_state).
    // Inlined, so that the exit of an attempt is not copied once more.
    #[inline(always)]
    fn input(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        now: Time,
        input: Input,
        group_steps: usize,
    ) {
        state.machine.set_interest(self.events.interest());
        let random = state.random();
        state.machine.handle(now, random, input);
        self.perform_effects(state, group_steps);
    }

    /// Gives the machine one input that carries no error of the user, and performs the effects that follow.
    pub(crate) fn feed(self: &Arc<Self>, now: Time, input: Input) {
        self.input(self.state(), now, input, GROUP_STEPS_PER_TURN);
    }

    /// Kills everything, and lets nothing start any more. Returns the attempts that were live before, or `None` if this
    /// was done already. For [`runtime_lost`](Self::runtime_lost).
    pub(crate) fn kill_for_good(self: &Arc<Self>) -> Option<Vec<Arc<LiveAttempt>>> {
        let now = self.clock.now();
        let mut state = self.state();
        if std::mem::replace(&mut state.runtime_lost, true) {
            return None;
        }
        let live = state.live_cells();
        // Under the same lock: an exit that is reported later must not be answered by a new attempt.
        self.input(state, now, Input::Kill, 0);
        Some(live)
    }

    /// Runs `f`, which adds children, on the state, and performs the effects that follow. `f` must not drop user values.
    pub(crate) fn with_state<T>(self: &Arc<Self>, f: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.machine.set_interest(self.events.interest());
        let result = f(&mut state);
        let replaced = std::mem::take(&mut state.replaced);
        self.perform_effects(state, 0);
        replaced.into_iter().for_each(drop_catching_panics);
        result
    }

    /// Gives a command on one child, and waits for its answer: the effect of the command, not its arrival.
    ///
    /// Dropping the future does not undo the command.
    pub(crate) async fn command(self: &Arc<Self>, path: &Path, command: Command) -> Result<Outcome, Refusal> {
        let answer = {
            let now = self.clock.now();
            let mut state = self.state();
            if state.runtime_lost {
                return Err(Refusal::TreeEnded);
            }
            let Some(id) = state.machine.find(path) else { return Err(Refusal::NotFound) };
            let (request, answer) = state.replies.expect();
            self.input(state, now, Input::Command { request, id, command }, GROUP_STEPS_PER_TURN);
            answer
        };
        answer.wait().await
    }

    /// Returns how the previous attempt of a child ended.
    pub(crate) fn last_exit(&self, id: ChildId) -> Option<Exit> {
        self.state().machine.last_exit(id).cloned()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        self.state().machine.snapshot(now)
    }

    /// Returns a snapshot, and the events that follow it.
    pub(crate) fn watch(&self) -> (Snapshot, Events) {
        let now = self.clock.now();
        let mut state = self.state();
        let snapshot = state.machine.snapshot(now);
        let events = self.events.subscribe(snapshot.number);
        // The reader also gets the events of earlier inputs whose effects are still to be taken.
        state.machine.set_interest(self.events.interest());
        (snapshot, events)
    }

    /// Waits until the tree is ready for the first time.
    ///
    /// # Errors
    /// How the tree ended, if it ended before that.
    pub(crate) async fn until_ready(&self) -> Result<(), Ended> {
        loop {
            let milestone = self.milestone.notified();
            if self.ready.get().is_some() {
                return Ok(());
            }
            if let Some(ended) = self.ended() {
                return Err(ended.clone());
            }
            guard_waker(milestone).await;
        }
    }

    /// Waits until the tree has ended.
    pub(crate) async fn until_ended(&self) -> Ended {
        loop {
            let milestone = self.milestone.notified();
            if let Some(ended) = self.ended() {
                return ended.clone();
            }
            guard_waker(milestone).await;
        }
    }

    /// Returns how the tree ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// Records the end of the tree, and wakes the tasks that wait for it.
    pub(crate) fn set_ended(&self, ended: Ended) {
        let _ = self.ended.set(ended);
        self.milestone.notify_waiters();
        self.timer_task_notify.notify_one();
        self.watchdog.end();
    }

    /// Performs pending effects. If this thread is already doing so for this tree, returns at once and leaves them to
    /// the outer loop.
    fn perform_effects<'a>(self: &'a Arc<Self>, state: MutexGuard<'a, State>, group_steps: usize) {
        let me = Arc::as_ptr(self).addr();
        if CURRENT_TREE.get().0 == me {
            return CURRENT_TREE.set((me, true));
        }
        let outer = ReentryGuard(CURRENT_TREE.replace((me, false)));
        self.perform_in_batches(me, state, group_steps);
        drop(outer);
    }

    fn perform_in_batches<'a>(
        self: &'a Arc<Self>,
        me: usize,
        mut state: MutexGuard<'a, State>,
        group_steps: usize,
    ) {
        let mut batch = Batch::new(group_steps);
        loop {
            batch.take(&mut state, self, &self.events);
            let last = batch.drained || batch.ends_turn();
            let wakeup = if last { state.new_wakeup() } else { None };
            drop(state);
            self.wake_timer_task(wakeup);
            // Events first: a task that a milestone wakes finds the events before it.
            self.events.flush();
            // Actions may run user code, down to wakers and destructors. After a panic, the loop goes on with the next
            // one.
            let mut actions = batch.actions();
            while catch(None, || actions.by_ref().for_each(|action| self.perform(action))).is_err() {}
            drop(actions);
            let got_input = CURRENT_TREE.replace((me, false)).1;
            if batch.drained && !got_input {
                return;
            }
            state = self.state();
            if batch.ends_turn() {
                let wakeup = state.new_wakeup();
                drop(state);
                return self.wake_timer_task(wakeup);
            }
        }
    }

    fn perform(self: &Arc<Self>, action: Action<Arc<Self>>) {
        match action {
            Action::Start { body, cell, handle } => {
                body.start(cell, handle.as_ref().unwrap_or_else(|| self.clock.handle()));
            }
            Action::OpenRuntime { settings, cell } => {
                settings.open(cell, self.clock.handle().clone(), runtime_opened);
            }
            Action::Ask(cell) => cell.orders.ask(),
            Action::Kill(cell) => cell.orders.kill(),
            Action::Abandon(cell) => cell.abandon(),
            Action::Drop(entry) => drop_catching_panics(entry),
            Action::Reply(sender, result) => {
                // The caller may have stopped waiting.
                let _ = sender.send(result);
            }
            Action::TreeReady => {
                let _ = self.ready.set(());
                self.milestone.notify_waiters();
            }
            Action::TreeEnded(ended) => {
                self.drop_user_values();
                self.set_ended(ended);
            }
            Action::Nothing => {}
        }
    }
}

/// Records that a dedicated runtime exists. Its supervisor may start its children now.
fn runtime_opened(cell: &Arc<LiveAttempt>, handle: Handle) {
    let tree = &cell.tree;
    tree.state().runtime_opened(cell, handle);
    tree.feed(tree.clock.now(), Input::Ready(cell.id, cell.attempt));
}

/// Restores [`CURRENT_TREE`] when this thread has performed the effects of a tree.
struct ReentryGuard((usize, bool));

impl Drop for ReentryGuard {
    fn drop(&mut self) {
        CURRENT_TREE.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::dedicated_runtime::DedicatedRuntime;
    use crate::engine::state::ChildEntry;
    use liveoak_core::{Attempt, ChildDeclaration, ChildForm, ChildSpec, Name, SupervisorSpec};

    #[test]
    fn a_runtime_that_was_abandoned_during_its_creation_is_not_used_by_the_next_attempt() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        let spec = SupervisorSpec { dedicated_runtime: true, ..SupervisorSpec::default() };
        let name = Name::new("t").expect("a name");
        let declared =
            ChildDeclaration { name, spec: ChildSpec::of_root(), form: ChildForm::Supervisor(spec) };
        let (machine, _) = Machine::new(&declared).expect("a tree");
        let id = machine.root();
        let tree = TreeInner::new(machine, runtime.handle().clone());
        let cell = |attempt| AttemptCell::new(Arc::clone(&tree), id, Attempt(attempt), false);
        let (old, new) = (cell(1), cell(2));
        let handle_is_there = tree.with_state(|state| {
            state.set_supervisor(id, Some(DedicatedRuntime::new("own", 1)));
            let handle = |state: &State| match state.children.get(id.slot) {
                Some(ChildEntry::Supervisor { dedicated: Some(own), .. }) => own.handle.is_some(),
                Some(_) | None => false,
            };
            if let Some(ChildEntry::Supervisor { dedicated: Some(own), .. }) = state.children.get_mut(id.slot)
            {
                own.cell = Some(Arc::clone(&new));
            }
            state.runtime_opened(&old, runtime.handle().clone());
            let after_old = handle(state);
            state.runtime_opened(&new, runtime.handle().clone());
            (after_old, handle(state))
        });
        assert_eq!(handle_is_there, (false, true));
    }
}
