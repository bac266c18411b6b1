//! The context of a running attempt: the questions that its code can ask, and the reports that it can make.

use crate::attempt::cell::{AttemptCell, AttemptListener as _};
use crate::attempt::span::{in_span, wanted_span};
use crate::engine::driver::{LiveAttempt, TreeInner};
use crate::engine::output::{OutputPiece, deliver};
use crate::util::{Either, race};
use liveoak_core::{
    Attempt, ChildId, Exit, Health, Input, MAX_REASON_BYTES, Path, Refusal, Restart, Survivors, bounded_text,
};
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The context of one attempt of one child. Cheap to clone; all clones belong to the same attempt. After the end of the
/// attempt, reports through a context change nothing.
///
/// # Cancel safety
/// All methods are safe, because a request to stop stays set. A [`sleep`](Self::sleep) that was dropped starts from zero
/// the next time. [`unless_stopping`](Self::unless_stopping) is as safe as the future that is passed to it.
#[derive(Clone)]
pub struct Ctx {
    pub(crate) cell: Arc<LiveAttempt>,
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("path", &self.path())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

impl Ctx {
    /// Returns the path of the child.
    #[must_use]
    pub fn path(&self) -> Path {
        self.cell.path()
    }

    /// Returns the id of the child.
    #[must_use]
    pub fn id(&self) -> ChildId {
        self.cell.id
    }

    /// Returns the number of this attempt: 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        self.cell.attempt
    }

    /// Returns how the previous attempt ended, or `None` in the first attempt. The answer does not change, even after this
    /// attempt has ended.
    #[must_use]
    pub fn last_exit(&self) -> Option<Exit> {
        let cell = &self.cell;
        let state = cell.tree.state();
        let kept = cell.subtasks.previous_exit();
        kept.or_else(|| state.machine.exit_before(cell.id, cell.attempt).cloned())
    }

    /// Reports that this attempt is ready. Has an effect on children that were declared
    /// [`reports_ready`](crate::Child::reports_ready); a second report changes nothing.
    pub fn ready(&self) {
        self.report(Input::Ready(self.cell.id, self.cell.attempt));
        self.cell.tree.clock.release((self.cell.id, self.cell.attempt));
    }

    /// Reports that the work of this attempt has ended with `exit`, while its cleanup still runs.
    ///
    /// For children that [handle their kill themselves](crate::Child::task_with_kill). From now on the child counts as
    /// stopping, and its cleanup may take as long as its stop. When this time is over, [`killed`](Self::killed) completes.
    /// `exit` decides about the restart, unless `exit` is a success and the body then returns a failure.
    pub fn report_exit(&self, exit: Exit) {
        self.cell.tree.body_ended(&self.cell, exit);
    }

    /// Reports the health of the child, and why. The event and the snapshot show the reason, at most 1 KiB of it; an empty
    /// reason counts as none. The worse of this health and of what the [checks](crate::Child::readiness) of the child say counts.
    /// [`Health::Unknown`] withdraws an earlier report.
    ///
    /// A child that reports its health should be declared [`reports_health`](crate::Child::reports_health).
    pub fn health(&self, health: Health, reason: impl fmt::Display) {
        let reason = bounded_text(&reason, MAX_REASON_BYTES);
        let reason = (!reason.is_empty()).then(|| reason.into());
        self.report(Input::Health(self.cell.id, self.cell.attempt, health, reason));
    }

    /// Asks for the restart of this child. The attempt is asked to stop now ([`stopping`](Self::stopping) completes), and
    /// is killed if it does not end within its stop deadline. Its exit is
    /// [`Exit::RestartRequested`], unless the body returns a failure or has to be killed, which is a failure. A paused child
    /// does not start again, and a trial goes back into quarantine. The call does not wait.
    ///
    /// This is not a failure: the next attempt starts without a delay, and the restart counts against no limit. Siblings
    /// follow the strategy of the supervisor. More than ten such restarts of one child within a minute are ordinary
    /// failures, and so is a request before the child is ready in the first start of its supervisor, which fails this
    /// start. While the child is being stopped, the call changes nothing.
    ///
    /// # Errors
    /// [`Refusal::IsTemporary`] if the child is temporary, and therefore never restarted.
    pub fn restart_me(&self, reason: impl Into<String>) -> Result<(), Refusal> {
        let cell = &self.cell;
        let restart = cell.tree.state().machine.spec(cell.id).map(|spec| spec.restart);
        if restart == Some(Restart::Temporary) {
            return Err(Refusal::IsTemporary);
        }
        cell.tree.body_ended(cell, Exit::restart_requested(reason));
        Ok(())
    }

    fn report(&self, input: Input) {
        let tree = &self.cell.tree;
        tree.feed(tree.clock.now(), input);
    }

    /// Reports that the child is alive. Costs about a nanosecond. Has an effect on children with a
    /// [`heartbeat`](crate::Child::heartbeat).
    pub fn heartbeat(&self) {
        self.cell.orders.beat();
    }

    /// Waits until the attempt is asked to stop or killed, or has ended. The request is latched: a later call returns
    /// immediately.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + '_ {
        self.cell.orders.stopping()
    }

    /// Returns `true` if the attempt was asked to stop or killed, or has ended.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.cell.orders.is_stopping()
    }

    /// Returns a new `CancellationToken` of tokio-util for libraries that want one. It is cancelled when this attempt is asked
    /// to stop or killed, or has ended, as soon as a task of the runtime has run. Cancelling the token does not stop the
    /// attempt, and no other token.
    ///
    /// # Panics
    /// When called outside a Tokio runtime.
    #[cfg(feature = "tokio-util")]
    #[must_use]
    pub fn cancellation_token(&self) -> tokio_util::sync::CancellationToken {
        let token = tokio_util::sync::CancellationToken::new();
        if self.is_stopping() {
            token.cancel();
            return token;
        }
        // The task is aborted when the body ends, and then drops the guard. If it is not admitted, the guard is dropped at
        // once.
        let (guard, ctx) = (token.clone().drop_guard(), self.clone());
        drop(self.spawn(async move {
            let _cancels = guard;
            ctx.stopping().await;
        }));
        token
    }

    /// Waits until the attempt is killed or abandoned. For services, threads and children made with
    /// [`Child::task_with_kill`](crate::Child::task_with_kill); the bodies of other tasks are dropped instead.
    pub fn killed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.cell.orders.killed()
    }

    /// Sleeps for `duration`, or until the child is asked to stop. Returns `true` if the full time has passed.
    pub async fn sleep(&self, duration: Duration) -> bool {
        self.unless_stopping(tokio::time::sleep(duration)).await.is_some()
    }

    /// Runs `future` until it is done, or until the child is asked to stop. In the second case, drops the future and
    /// returns `None`. Wrap futures that may wait for a long time, so that the child stops when asked.
    ///
    /// Inside `unless_stopping`, a child may also wait for its own stop: `ctx.unless_stopping(ctx.tree().stop())` waits
    /// until the child is asked to stop. Without `unless_stopping`, the wait in `ctx.tree().stop()` is refused
    /// ([`Refusal::WouldWaitForItself`](crate::Refusal::WouldWaitForItself)).
    pub async fn unless_stopping<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        match race(self.stopping(), poll_fn(|cx| listening(|| future.as_mut().poll(cx)))).await {
            Either::Left(()) => None,
            Either::Right(outcome) => Some(outcome),
        }
    }

    /// Notes that this attempt runs outside of the runtime's tasks; see
    /// [`AttemptListener::runs_outside`](crate::attempt::cell::AttemptListener::runs_outside).
    #[doc(hidden)]
    pub fn runs_outside(&self) {
        self.cell.tree.runs_outside(&self.cell);
    }

    /// Reports the processes of this attempt. If the attempt is abandoned, the next one starts only after the value of
    /// [`processes_gone`](Self::processes_gone) is dropped.
    #[doc(hidden)]
    pub fn may_survive(&self, survivors: Survivors) {
        self.report(Input::MaySurvive(self.cell.id, self.cell.attempt, Arc::new(survivors)));
    }

    /// Returns a value whose drop reports that no process of this attempt is left.
    #[doc(hidden)]
    #[must_use]
    pub fn processes_gone(&self) -> impl Send + 'static + use<> {
        ProcessesGone(Arc::clone(&self.cell))
    }

    /// Notes that this attempt runs as the process `pid`. Log lines about the attempt show it, and [`TreeHandle::pid`] returns
    /// it.
    #[doc(hidden)]
    pub fn runs_as_process(&self, pid: u32) {
        let AttemptCell { tree, id, attempt, .. } = &*self.cell;
        tree.events.tell_pid(*id, *attempt, pid);
        tree.processes.keep((*id, *attempt), pid, |id| tree.state().machine.path(id).is_some());
    }

    /// Gives a piece of output of this attempt to the watcher of the tree, if there is one. `piece` makes it of the path and
    /// the number of the attempt.
    #[doc(hidden)]
    pub fn wrote<'a>(&self, path: &'a Path, piece: impl FnOnce(&'a Path, Attempt) -> OutputPiece<'a>) {
        if let Some(watch) = self.cell.tree.output.get() {
            deliver(watch, piece(path, self.cell.attempt));
        }
    }

    /// Returns `true` if the tree no longer waits for this attempt, although the code of the attempt still runs.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.cell.orders.is_abandoned()
    }
}

/// Reports that no process of an attempt is left, when it is dropped. See [`Ctx::processes_gone`].
struct ProcessesGone(Arc<LiveAttempt>);

impl Drop for ProcessesGone {
    fn drop(&mut self) {
        let tree = &self.0.tree;
        tree.feed(tree.clock.now(), Input::Gone(self.0.id, self.0.attempt));
    }
}

/// The attempt whose code a thread is running now.
struct Current {
    ctx: Option<Ctx>,
    /// `true` inside [`Ctx::unless_stopping`]: the future that is polled now is dropped when the attempt is asked to stop.
    listens: bool,
    /// Where [`spawn`](crate::spawn) adds children, if not beside the child of `ctx`.
    place: Option<SpawnPlace>,
}

/// A tree, and the child in it at which children are added.
pub(crate) type SpawnPlace = Arc<(Arc<TreeInner>, ChildId)>;

thread_local! {
    static CURRENT: RefCell<Current> = const { RefCell::new(Current { ctx: None, listens: false, place: None }) };
}

/// Runs `f` as code of the attempt of `ctx`, so that [`current`] finds this attempt. Returns the context again. `f` must
/// not panic.
pub(crate) fn with_current<T>(ctx: Ctx, f: impl FnOnce() -> T) -> (Ctx, T) {
    let span = wanted_span(&ctx.cell);
    let mut given = Current { ctx: Some(ctx), listens: false, place: None };
    // A thread whose local storage is torn down has no current context, but may still drop a runtime that it owns.
    let swapped = CURRENT.try_with(|current| std::mem::swap(&mut *current.borrow_mut(), &mut given)).is_ok();
    let outcome = in_span(span.as_deref(), f);
    if swapped {
        let _ = CURRENT.try_with(|current| std::mem::swap(&mut *current.borrow_mut(), &mut given));
    }
    match given.ctx {
        Some(ctx) => (ctx, outcome),
        None => unreachable!("each call puts back the context that it found"),
    }
}

/// Runs `f` as code that spawns children at `place`. `f` must not panic.
pub(crate) fn with_place<T>(place: SpawnPlace, f: impl FnOnce() -> T) -> T {
    let mut given = Some(place);
    let swap = |given: &mut Option<SpawnPlace>| {
        let _ = CURRENT.try_with(|current| std::mem::swap(&mut current.borrow_mut().place, given));
    };
    swap(&mut given);
    let outcome = f();
    swap(&mut given);
    outcome
}

/// Returns where the code that runs now spawns children.
pub(crate) fn spawn_place() -> Option<SpawnPlace> {
    let of_current = |current: &Current| {
        let beside = |ctx: &Ctx| Arc::new((Arc::clone(&ctx.cell.tree), ctx.cell.id));
        current.place.clone().or_else(|| current.ctx.as_ref().map(beside))
    };
    CURRENT.try_with(|current| of_current(&current.borrow())).ok().flatten()
}

/// Runs `f` as code that stops waiting when its attempt is asked to stop.
fn listening<T>(f: impl FnOnce() -> T) -> T {
    /// Restores the value at the end, also after a panic.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = CURRENT.try_with(|current| current.borrow_mut().listens = self.0);
        }
    }
    let before = CURRENT.try_with(|current| std::mem::replace(&mut current.borrow_mut().listens, true));
    let _restore = Restore(before.unwrap_or_default());
    f()
}

/// Returns `true` if the code that runs now stops waiting when its attempt is asked to stop.
pub(crate) fn listens() -> bool {
    CURRENT.try_with(|current| current.borrow().listens).unwrap_or_default()
}

/// Calls `f` with the context of the attempt that the calling code runs in, without cloning it. `f` must not run code of
/// the user.
pub(crate) fn with_caller<T>(f: impl Fn(Option<&Ctx>) -> T) -> T {
    CURRENT.try_with(|current| f(current.borrow().ctx.as_ref())).unwrap_or_else(|_| f(None))
}

/// Returns the context of the attempt that the calling code runs in. Returns `None` outside of every tree.
#[must_use]
pub fn current() -> Option<Ctx> {
    CURRENT.try_with(|current| current.borrow().ctx.clone()).ok().flatten()
}
