//! One running tree: the machine behind one short lock, and its effects.
//!
//! Inputs come from many threads: a worker whose task has ended, a caller with a command. Each thread gives its input
//! to the machine directly and performs the effects, so a child that ends is restarted without a hop to another task.
//!
//! 1. The machine and the [state](TreeState) around it are used under the lock only. User code never runs under the
//!    lock, not even a destructor: exits hold the text of errors, and an error that is kept is dropped elsewhere.
//! 2. Effects are taken under the lock and performed outside it, by the thread that finds them. They need no order
//!    among each other: orders to an attempt are latched, so they also hold for an attempt that starts a moment later,
//!    and an attempt starts only after the previous one was reported as ended or was abandoned. Only events are
//!    delivered in order ([`Broadcast`]).
//! 3. A call runs no code of other children. The thread may be inside a call of a child, for example a report of its
//!    health, and may hold locks of the user. So an effect only latches an order, wakes a task, or passes a task or a
//!    value on. Bodies and factories run in the task of their attempt, [`Drops`] drops the values of children that are
//!    over, and the [log thread](crate::util::log) writes log lines. A thread performs a limited number of effects per
//!    turn ([`TurnLimit`]); the timer task performs the rest and yields in between. If an effect of a tree causes an input
//!    to the same tree on the same thread, the outer loop handles the input, so the stack does not grow ([`CURRENT_TREE`]).
//! 4. The timer task sleeps until the earliest deadline. A thread that adds an earlier deadline wakes the timer task. If
//!    the timer task is late, the [`Watchdog`] does its work.
//! 5. A slot may have a new child before the driver forgets the old one, so each entry carries the serial of its child.
//! 6. Code of the user that an effect runs (a waker) is guarded against panics where it is called. Any other panic is one of
//!    the machine or of this driver: the tree then fails as a whole ([`failure`](crate::engine::failure)).

use crate::attempt::body::Body;
use crate::attempt::cell::{AttemptCell, AttemptListener};
use crate::attempt::panic::catch;
use crate::engine::action::{Action, Batch, TurnLimit};
use crate::engine::carried::CarriedValues;
use crate::engine::checks::OpenTries;
use crate::engine::clock::Clock;
use crate::engine::drops::Drops;
use crate::engine::ended::{Ended, FinalReport};
use crate::engine::events::Broadcast;
use crate::engine::failure::{DURING, FailOnUnwind};
use crate::engine::kept_error::settle_error;
use crate::engine::output::OutputWatch;
use crate::engine::poll_watch::PollWatch;
use crate::engine::processes::Processes;
use crate::engine::run_hold::RunHolds;
use crate::engine::state::{ChildEntry, TreeState};
use crate::engine::watchdog::Watchdog;
use crate::util::lock::ignore_poison;
use crate::util::waker_guard::WakerGuard;
use liveoak_core::{ChildId, Exit, Input, Machine, Origin, Path, Refusal, Time};
use std::cell::Cell;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError, Weak};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// How often a thread tries to take the lock before it sleeps on it.
const LOCK_TRIES: u32 = 200;

thread_local! {
    /// The tree whose effects this thread is performing (its address), and whether that tree got an input meanwhile.
    static CURRENT_TREE: Cell<(usize, bool)> = const { Cell::new((0, false)) };
}

// The types with which a running tree instantiates the generic types of `attempt`.
pub(crate) type LiveAttempt = AttemptCell<Arc<TreeInner>>;
pub(crate) type ChildBody = dyn Body<Arc<TreeInner>>;
pub(crate) type State = TreeState<Arc<TreeInner>>;

pub(crate) struct TreeInner {
    pub(crate) clock: Clock,
    pub(crate) me: Weak<Self>,
    /// The attempt that has begun this tree, if code of an attempt has.
    pub(crate) owner: Option<Owner>,
    state: Mutex<State>,
    pub(crate) events: Broadcast,
    /// Set when the whole tree is ready for the first time.
    ready: OnceLock<()>,
    pub(crate) ended: OnceLock<Ended>,
    /// Set just before `ended`.
    pub(crate) final_report: OnceLock<Arc<FinalReport>>,
    /// Wakes the tasks that wait for `ready` or `ended`.
    pub(crate) ready_or_ended: Notify,
    pub(crate) timer_task_notify: Notify,
    /// Wakes the stop of a tree that has failed by a panic when an attempt has ended.
    pub(crate) attempt_left: Notify,
    /// Wakes changes to a mode when a later change begins.
    pub(crate) mode_changed: Notify,
    /// Held while another declaration takes the place of the present one, until its starts begin.
    pub(crate) applying: tokio::sync::Mutex<()>,
    /// Held while what another declaration needs is started.
    pub(crate) apply_starts: tokio::sync::Mutex<()>,
    pub(crate) watchdog: Arc<Watchdog>,
    pub(crate) poll_watch: Arc<PollWatch>,
    pub(crate) drops: Arc<Drops>,
    /// Values that attempts leave to the next attempts.
    pub(crate) carried: CarriedValues,
    pub(crate) tries: OpenTries,
    pub(crate) processes: Processes,
    /// Gets the output of programs, if anyone watches it.
    pub(crate) output: OnceLock<OutputWatch>,
    /// `true` if events are queued that no thread delivers: the timer task must deliver them.
    pub(crate) events_left: AtomicBool,
    /// How the tree ended, while the end still waits for drops or for log lines.
    pub(crate) ending: Mutex<Option<Ended>>,
    pub(crate) run_holds: RunHolds,
}

/// The attempt that has begun a tree. The tree belongs to it like a subtask of this number.
pub(crate) struct Owner {
    pub(crate) cell: Arc<LiveAttempt>,
    pub(crate) number: u64,
}

impl AttemptListener for Arc<TreeInner> {
    fn attempt_ended(&self, cell: &Arc<LiveAttempt>, exit: Exit) {
        let now = if cell.on_tree_runtime { self.clock.now_inside() } else { self.clock.now() };
        let exit = settle_error(exit, cell.keep_error, cell.id, &self.drops);
        if let Some(value) = self.carried.attempt_ended(cell.id, cell.attempt, &exit) {
            self.drops.push(cell.id, vec![value]);
        }
        self.tries.end(cell.id, cell.attempt, None);
        self.attempt_over(cell);
        // The machine drops an exit that comes too late, under the lock. An error in it must be dropped elsewhere.
        let _outlives_the_lock = cell.keep_error.then(|| exit.clone());
        let on_unwind = FailOnUnwind::new(self);
        let mut state = self.state();
        if state.release(cell) && state.failed.is_some() {
            self.note_last_exit(&mut state, cell.id, &exit);
        }
        // If this is not the last reference, a context outlives the attempt.
        if Arc::strong_count(cell) > 1 {
            state.keep_previous_exit(cell);
        }
        self.input(state, now, Input::Exited(cell.id, cell.attempt, exit), TurnLimit::NO_GROUP_STEPS);
        on_unwind.disarm();
        self.clock.release((cell.id, cell.attempt));
    }

    fn body_ended(&self, cell: &Arc<LiveAttempt>, exit: Exit) {
        let now = self.clock.now();
        let exit = settle_error(exit, cell.keep_error, cell.id, &self.drops);
        let _outlives_the_lock = cell.keep_error.then(|| exit.clone());
        self.report(now, Input::Ending(cell.id, cell.attempt, exit));
    }

    fn runs_outside(&self, cell: &Arc<LiveAttempt>) {
        if !self.clock.is_paused() {
            return;
        }
        self.hold_clock(cell);
        let cell = Arc::clone(cell);
        let until_asked = async move {
            cell.orders.stopping().await;
            cell.tree.hold_clock(&cell);
        };
        drop(self.clock.handle.spawn(until_asked));
    }

    fn path(&self, id: ChildId) -> Option<Path> {
        self.guarded(|| self.state().machine.path(id)).flatten()
    }

    fn address(&self) -> usize {
        Arc::as_ptr(self).addr()
    }
}

impl TreeInner {
    /// Keeps the paused clock from advancing until an attempt that is being started or stopped is ready or has ended.
    fn hold_clock(&self, cell: &Arc<LiveAttempt>) {
        let deadline = self.state().machine.deadline_of_attempt(cell.id, cell.attempt);
        if let Some(deadline) = deadline {
            self.clock.hold((cell.id, cell.attempt), deadline.since(self.clock.now()));
            // The attempt may have become ready or ended between the look-up and the hold.
            if self.state().machine.deadline_of_attempt(cell.id, cell.attempt).is_none() {
                self.clock.release((cell.id, cell.attempt));
            }
        }
    }

    pub(crate) fn new(machine: Machine, handle: Handle, owner: Option<Owner>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            drops: Drops::new(handle.clone()),
            carried: CarriedValues::default(),
            tries: OpenTries::default(),
            events_left: AtomicBool::new(false),
            ending: Mutex::new(None),
            clock: Clock::new(handle),
            owner,
            state: Mutex::new(State::new(machine)),
            events: Broadcast::default(),
            ready: OnceLock::new(),
            ended: OnceLock::new(),
            final_report: OnceLock::new(),
            ready_or_ended: Notify::new(),
            timer_task_notify: Notify::new(),
            attempt_left: Notify::new(),
            mode_changed: Notify::new(),
            applying: tokio::sync::Mutex::new(()),
            apply_starts: tokio::sync::Mutex::new(()),
            watchdog: Arc::new(Watchdog::new()),
            poll_watch: Arc::default(),
            processes: Processes::default(),
            output: OnceLock::new(),
            run_holds: RunHolds::default(),
        })
    }

    #[inline]
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        if let Ok(state) = self.state.try_lock() { state } else { self.state_later() }
    }

    /// Waits for the lock.
    fn state_later(&self) -> MutexGuard<'_, State> {
        // The lock is mostly held for well under a microsecond, so a few tries are cheaper than a sleep.
        for _ in 0..LOCK_TRIES {
            match self.state.try_lock() {
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
                Err(TryLockError::Poisoned(poisoned)) => {
                    return self.state_after_panic(poisoned.into_inner());
                }
                Ok(state) => return state,
            }
        }
        self.state.lock().unwrap_or_else(|poisoned| self.state_after_panic(poisoned.into_inner()))
    }

    /// Fails the tree, because a thread has panicked under the lock.
    #[cold]
    fn state_after_panic<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.state.clear_poison();
        self.fail(state, None);
        ignore_poison(self.state.lock())
    }

    /// Fails the tree, because a thread has panicked under the lock or outside. `panic` is what is known of the panic.
    #[cold]
    pub(crate) fn fail_after_panic(&self, panic: Option<Exit>) {
        let state = ignore_poison(self.state.lock());
        self.state.clear_poison();
        self.fail(state, panic);
    }

    /// Runs `f`, a call by the user's code. If the machine or the driver panics in it, the tree fails, and the caller gets
    /// `None` instead of the panic.
    pub(crate) fn guarded<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        catch(Some(DURING), f).map_err(|panic| self.fail_after_panic(Some(panic))).ok()
    }

    /// Gives the machine one input and performs the effects that follow, within `limit`. Every input passes through
    /// here except heartbeat answers (`action.rs`). New children are added by [`with_state`](Self::with_state).
    // Inlined, so that the exit of an attempt is not copied once more.
    #[inline(always)]
    pub(crate) fn input(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        now: Time,
        input: Input,
        limit: TurnLimit,
    ) {
        state.machine.set_interest(self.events.interest());
        let random = state.random();
        state.machine.handle(now, random, input);
        self.perform_effects(state, limit);
    }

    /// Gives the machine the input of a call by the user's code, and performs the effects that follow.
    pub(crate) fn feed(self: &Arc<Self>, now: Time, input: Input) {
        self.feed_by(now, input, None);
    }

    /// Gives the machine an input like [`feed`](Self::feed), and who gives it and why.
    pub(crate) fn feed_by(self: &Arc<Self>, now: Time, input: Input, origin: Option<Arc<Origin>>) {
        let _ = self.guarded(|| {
            let mut state = self.state();
            state.machine.set_origin(origin);
            state.killed |= matches!(input, Input::Kill);
            self.input(state, now, input, TurnLimit::CALL);
        });
    }

    /// Gives the machine the report of an attempt, and performs the effects that follow.
    pub(crate) fn report(self: &Arc<Self>, now: Time, input: Input) {
        let _ = self.guarded(|| self.input(self.state(), now, input, TurnLimit::NO_GROUP_STEPS));
    }

    /// Tells the machine that time has passed, and does what other threads have left to the timer task.
    pub(crate) fn tick(self: &Arc<Self>, now: Time) {
        let _ = self.guarded(|| self.input(self.state(), now, Input::Tick, TurnLimit::TIMER));
    }

    /// Runs `f`, which adds children, on the state, and performs the effects that follow. `f` must not drop user
    /// values. If the machine or the driver panics, the tree fails.
    pub(crate) fn with_state<T>(self: &Arc<Self>, f: impl FnOnce(&mut State) -> T) -> T {
        let on_unwind = FailOnUnwind::new(self);
        let result = self.change_state(f);
        on_unwind.disarm();
        result
    }

    // Inlined, so that the result is not copied once more.
    #[inline(always)]
    fn change_state<T>(self: &Arc<Self>, f: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.machine.set_interest(self.events.interest());
        let result = f(&mut state);
        if state.replaced.is_empty() {
            self.perform_effects(state, TurnLimit::NO_GROUP_STEPS);
        } else {
            let replaced = std::mem::take(&mut state.replaced);
            self.perform_effects(state, TurnLimit::NO_GROUP_STEPS);
            replaced.into_iter().for_each(|(entry, id)| self.dispose(entry, id));
        }
        result
    }

    /// Runs `f` like [`with_state`](Self::with_state). After a panic of the machine or the driver, the tree has ended.
    pub(crate) fn try_with_state<T>(
        self: &Arc<Self>,
        f: impl FnOnce(&mut State) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Some(result) = self.guarded(|| self.change_state(f)) else { return Err(Refusal::TreeEnded) };
        result
    }

    /// Waits until the tree is ready for the first time. The error is how it ended before that.
    pub(crate) async fn until_ready(&self) -> Result<(), Ended> {
        self.until(|| self.ready.get().map(|()| Ok(())).or_else(|| Some(Err(self.ended()?.clone())))).await
    }

    pub(crate) async fn until_ended(&self) -> Ended {
        self.until(|| self.ended().cloned()).await
    }

    async fn until<M>(&self, reached: impl Fn() -> Option<M>) -> M {
        loop {
            let notified = self.ready_or_ended.notified();
            if let Some(reached) = reached() {
                return reached;
            }
            WakerGuard::new().wait(notified).await;
        }
    }

    /// Returns `true` if the whole tree has been ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.get().is_some()
    }

    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// Performs pending effects, batch by batch. If this thread is already performing effects of this tree, returns
    /// immediately and leaves them to the outer loop.
    pub(crate) fn perform_effects<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        limit: TurnLimit,
    ) {
        let me = Arc::as_ptr(self).addr();
        if CURRENT_TREE.get().0 == me {
            return CURRENT_TREE.set((me, true));
        }
        let _outer = ReentryGuard(CURRENT_TREE.replace((me, false)));
        let mut batch = Batch::new(limit);
        loop {
            let first = batch.take(&mut state, self, &self.events);
            let last = batch.drained || batch.ends_turn();
            let wakeup = if last { state.new_wakeup() } else { None };
            drop(state);
            self.wake_timer_task(wakeup);
            // Deliver events first, so that a task that is woken by `ready` or `ended` can read all earlier events.
            if self.events.flush() {
                self.events_are_left();
            }
            if let Some(action) = first {
                self.perform(action);
            }
            // Most turns have no further action.
            if !batch.more.is_empty() {
                batch.more.drain(..).for_each(|action| self.perform(action));
            }
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

    /// Ends the watch of the polls of an attempt.
    fn attempt_over(&self, cell: &LiveAttempt) {
        if let Some(number) = cell.activity.give_back_limit() {
            self.poll_watch.attempt_over(number);
        }
    }

    /// Performs one action. A panic fails the tree.
    fn perform(self: &Arc<Self>, action: Action<Arc<Self>>) {
        let _ = self.guarded(|| self.perform_uncaught(action));
    }

    fn perform_uncaught(self: &Arc<Self>, action: Action<Arc<Self>>) {
        match action {
            Action::Start { body, cell, handle } => {
                if cell.activity.has_poll_limit()
                    && let Some(limit) = self.state().machine.poll_limit(cell.id)
                {
                    cell.activity.use_limit(self.poll_watch.begin(self, limit.longest));
                }
                body.start(cell, handle.as_ref().unwrap_or(&self.clock.handle));
            }
            Action::OpenRuntime { settings, cell } => {
                settings.open(cell, self.clock.handle.clone(), runtime_opened);
            }
            Action::Ask(cell) => {
                cell.orders.ask();
                self.tries.end(cell.id, cell.attempt, None);
            }
            Action::Kill(cell) => {
                cell.orders.kill();
                self.tries.end(cell.id, cell.attempt, None);
            }
            Action::Abandon(cell) => {
                cell.abandon();
                self.attempt_over(&cell);
                self.tries.end(cell.id, cell.attempt, None);
            }
            Action::BeginTry(begun) => self.begin_try(*begun),
            Action::EndTry(id, attempt, index) => self.tries.end(id, attempt, Some(index)),
            Action::Dispose(entry, id, supervisor) => {
                if entry.is_supervisor() && self.drops.has_unfinished() {
                    self.drops.supervisor_leaves(id, supervisor);
                }
                let mut values = Vec::new();
                entry.dispose(&mut values);
                self.carried.forget(id, &mut values);
                self.drops.push_of(id, supervisor, values);
            }
            Action::LetGo(entry, id) => self.dispose(entry, id),
            Action::Reply(reply) => {
                let (sender, result) = *reply;
                // The caller may have stopped waiting.
                let _ = sender.send(result);
            }
            Action::Probe(cell, handle) => self.probe(cell, handle.as_ref()),
            Action::TreeReady => {
                let _ = self.ready.set(());
                self.ready_or_ended.notify_waiters();
            }
            Action::TreeEnded(ended) => self.end(*ended),
        }
    }
}

impl TreeInner {
    /// Refuses to add a child while too many values of earlier children wait for their destructors.
    pub(crate) fn may_add(&self) -> Result<(), Refusal> {
        if self.drops.is_full() { Err(Refusal::DestructorsWaiting) } else { Ok(()) }
    }

    /// Lets [`Drops`] drop the values of an entry, and counts them for `child`.
    pub(crate) fn dispose(&self, entry: ChildEntry<Arc<Self>>, child: ChildId) {
        let mut values = Vec::new();
        entry.dispose(&mut values);
        self.carried.forget(child, &mut values);
        self.drops.push(child, values);
    }
}

/// Records that a dedicated runtime exists. Its supervisor may start its children now.
fn runtime_opened(cell: &Arc<LiveAttempt>, handle: Handle) {
    let tree = &cell.tree;
    tree.state().runtime_opened(cell, handle);
    tree.feed(tree.clock.now(), Input::Ready(cell.id, cell.attempt));
    tree.clock.release((cell.id, cell.attempt));
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
    use crate::attempt::activity::Activity;
    use crate::attempt::dedicated_runtime::DedicatedRuntime;
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
        let tree = TreeInner::new(machine, runtime.handle().clone(), None);
        let cell = |attempt| {
            let activity = Activity::new(false, false);
            AttemptCell::new(Arc::clone(&tree), id, Attempt(attempt), false, false, activity)
        };
        let (old, new) = (cell(1), cell(2));
        let handle_is_there = tree.with_state(|state| {
            state.set_supervisor(id, Some(DedicatedRuntime::new("own", 1)), None);
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
