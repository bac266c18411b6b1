//! The machine behind one short lock, and the doing of its effects.
//!
//! 1. The machine and the table of what each child runs are touched under the lock only; user code never runs
//!    under it, not even a destructor.
//! 2. Effects are taken under the lock and done outside it, by whoever finds them. They need no order among each
//!    other: a stop and a kill are latched in the attempt's [`Cell`], so that they hold also for an attempt that is
//!    begun a moment later, and an attempt is begun only after the one before it was reported gone. Events alone are
//!    handed out in their order ([`Broadcast`]).
//! 3. Nobody works for others for long: after [`EFFECTS_PER_TURN`] the tree's own task goes on, and yields in between.
//!    What an effect feeds in is done by the loop that did the effect, not deeper on the stack ([`DRIVING`]).
//! 4. The tree's task sleeps until the earliest deadline; whoever makes an earlier one wakes it. Should it not come to
//!    that in time, the [`Watchdog`] does its work.
//! 5. A slot may have a new child before the driver was told to forget the old one, so each entry of the table
//!    carries its child's serial.
//! 6. User code that panics on the way (a waker, a destructor, a log subscriber) ends its own effect at most: no other
//!    effect, message or waiter is lost. Its panic goes no further; the panic hook has told of it.

use crate::cell::Cell;
use crate::clock::Clock;
use crate::events::{Broadcast, Events};
use crate::latch::Shield;
use crate::panic::catch;
use crate::table::{Action, Core, dispose};
use crate::tree::Ended;
use crate::watchdog::{SLACK, Watchdog};
use liveoak_core::{
    ChildId, Exit, Input, Machine, Outcome, Path, Refusal, Snapshot, StopEntry, StopReport, StopStage, Time,
};
use std::cell::Cell as StdCell;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::task;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// How many effects a thread does before it leaves the rest to the tree's task. About a millisecond's work.
const EFFECTS_PER_TURN: usize = 4096;

/// How many steps of a walk over a stopping group are done at a time, by the tree's task and by whoever stops the group.
/// Enough to keep all threads busy with the members that were asked.
const STEPS_PER_TURN: usize = 2048;

/// How often a taken lock is looked at before sleeping on it.
const LOOKS: u32 = 200;

thread_local! {
    /// The tree whose effects this thread is doing now (its address), and whether the tree was fed meanwhile.
    static DRIVING: StdCell<(usize, bool)> = const { StdCell::new((0, false)) };
}

/// One tree at run time.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    core: Mutex<Core>,
    pub(crate) events: Broadcast,
    /// Set when the whole tree is ready for the first time.
    up: OnceLock<()>,
    /// Set when the tree has ended.
    ended: OnceLock<Ended>,
    /// Wakes those who wait for `up` or `ended`.
    milestones: Notify,
    /// Wakes the tree's task: an earlier deadline, or effects left over.
    rearm: Notify,
    /// Looks after what the tree's task does not.
    pub(crate) watchdog: Arc<Watchdog>,
}

impl Shared {
    pub(crate) fn new(machine: Machine, handle: Handle) -> Arc<Self> {
        Arc::new(Self {
            clock: Clock::new(handle),
            core: Mutex::new(Core::new(machine)),
            events: Broadcast::default(),
            up: OnceLock::new(),
            ended: OnceLock::new(),
            milestones: Notify::new(),
            rearm: Notify::new(),
            watchdog: Arc::new(Watchdog::new()),
        })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        // It is held for well under a microsecond, so a few looks are cheaper than a sleep.
        for _ in 0..LOOKS {
            match self.core.try_lock() {
                Ok(core) => return core,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Feeds one input in, and does what follows.
    pub(crate) fn feed(self: &Arc<Self>, now: Time, input: Input) {
        let mut core = self.core();
        core.machine.set_interest(self.events.interest());
        let random = core.random();
        core.machine.handle(now, random, input);
        self.drive_with(core, STEPS_PER_TURN);
    }

    /// An attempt is gone.
    pub(crate) fn exited(self: &Arc<Self>, cell: &Arc<Cell>, exit: Exit) {
        let now = if cell.on_root { self.clock.now_inside() } else { self.clock.now() };
        let mut core = self.core();
        core.release(cell);
        let unused = core.failures.keep(&exit);
        core.machine.set_interest(self.events.interest());
        let random = core.random();
        core.machine.handle(now, random, Input::Exited { id: cell.id, attempt: cell.attempt, exit });
        self.drive(core);
        unused.dispose();
    }

    /// The body of an attempt has ended, but not all of it.
    pub(crate) fn ending(self: &Arc<Self>, cell: &Arc<Cell>, exit: Exit) {
        let now = self.clock.now();
        let mut core = self.core();
        let unused = core.failures.keep(&exit);
        core.machine.set_interest(self.events.interest());
        let random = core.random();
        core.machine.handle(now, random, Input::Ending { id: cell.id, attempt: cell.attempt, exit });
        self.drive(core);
        unused.dispose();
    }

    /// Runs `f` on the core, for additions, and does what follows. `f` must not drop anything of the user's.
    pub(crate) fn with_core<T>(self: &Arc<Self>, f: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core();
        core.machine.set_interest(self.events.interest());
        let result = f(&mut core);
        let replaced = std::mem::take(&mut core.replaced);
        self.drive(core);
        replaced.into_iter().for_each(dispose);
        result
    }

    /// A command on one child; the answer comes when its effect is there.
    ///
    /// Dropping the future does not undo the command.
    pub(crate) async fn command(
        self: &Arc<Self>,
        path: &Path,
        command: liveoak_core::Command,
    ) -> Result<Outcome, Refusal> {
        let answer = {
            let mut core = self.core();
            if core.collapsed {
                return Err(Refusal::TreeEnded);
            }
            let Some(id) = core.machine.find(path) else { return Err(Refusal::NotFound) };
            let (request, answer) = core.expect_reply();
            drop(core);
            self.feed(self.clock.now(), Input::Command { request, id, command });
            answer
        };
        answer.told().await
    }

    pub(crate) fn path(&self, id: ChildId) -> Option<Path> {
        self.core().machine.path(id)
    }

    pub(crate) fn last_exit(&self, id: ChildId) -> Option<Exit> {
        self.core().machine.last_exit(id).cloned()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        self.core().machine.snapshot(now)
    }

    /// A snapshot, and the events from the next one on.
    pub(crate) fn watch(&self) -> (Snapshot, Events) {
        let now = self.clock.now();
        let mut core = self.core();
        let snapshot = core.machine.snapshot(now);
        let events = self.events.subscribe(snapshot.number);
        // Effects that are polled from now on are watched, also those of inputs before.
        core.machine.set_interest(self.events.interest());
        (snapshot, events)
    }

    /// Waits until the tree was ready or has ended; what it ended with, if it did before it was ready.
    pub(crate) async fn until_up(&self) -> Result<(), Ended> {
        loop {
            let news = self.milestones.notified();
            if self.up.get().is_some() {
                return Ok(());
            }
            if let Some(ended) = self.ended.get() {
                return Err(ended.clone());
            }
            Shield::new().wait(news).await;
        }
    }

    pub(crate) async fn until_ended(&self) -> Ended {
        loop {
            let news = self.milestones.notified();
            if let Some(ended) = self.ended.get() {
                return ended.clone();
            }
            Shield::new().wait(news).await;
        }
    }

    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// Does what is to be done. Inside an effect that is being done it is left to the loop that does the effect.
    fn drive<'a>(self: &'a Arc<Self>, core: MutexGuard<'a, Core>) {
        self.drive_with(core, 0);
    }

    /// The same, with so many steps of walks over groups.
    fn drive_with<'a>(self: &'a Arc<Self>, core: MutexGuard<'a, Core>, steps: usize) {
        let me = Arc::as_ptr(self).addr();
        if DRIVING.get().0 == me {
            return DRIVING.set((me, true));
        }
        let outer = Driving(DRIVING.replace((me, false)));
        self.do_effects(me, core, steps);
        drop(outer);
    }

    fn do_effects<'a>(self: &'a Arc<Self>, me: usize, mut core: MutexGuard<'a, Core>, mut steps: usize) {
        let mut done = 0;
        let mut more = Vec::new();
        loop {
            // Most inputs have one effect, or none.
            let first = core.next_effect(&mut steps);
            let second = if first.is_some() { core.next_effect(&mut steps) } else { None };
            let first = first.map(|effect| core.prepare(self, effect));
            let drained = second.is_none_or(|effect| core.prepare_more(self, effect, &mut steps, &mut more));
            done += 1 + more.len();
            let enough = done >= EFFECTS_PER_TURN;
            let news = if drained || enough { core.news_for_keeper() } else { None };
            drop(core);
            if let Some(deadline) = news {
                self.expect(deadline);
            }
            // Whoever waits for a milestone finds the events before it told.
            self.events.flush();
            // Whatever user code they come to, down to wakers and destructors: after a panic the rest is done all the same.
            let mut actions = first.into_iter().chain(more.drain(..));
            while catch(None, || actions.by_ref().for_each(|action| self.perform(action))).is_err() {}
            let fed = DRIVING.replace((me, false)).1;
            if drained && !fed {
                return;
            }
            core = self.core();
            if enough {
                let news = core.news_for_keeper();
                drop(core);
                return news.into_iter().for_each(|deadline| self.expect(deadline));
            }
        }
    }

    /// There is something to be done at `deadline`: by the tree's task, else by the watchdog.
    fn expect(&self, deadline: Time) {
        self.rearm.notify_one();
        self.watchdog.expect(if deadline == Time::ZERO { self.clock.now() } else { deadline });
    }

    /// The watchdog's look at the clock.
    pub(crate) fn keep_deadlines(self: &Arc<Self>) {
        let now = self.clock.now();
        let core = self.core();
        let deadline = core.machine.poll_deadline().unwrap_or(Time::NEVER);
        let waited_for = core.machine.has_effects();
        drop(core);
        if waited_for || deadline.after(SLACK) <= now {
            self.keep(now);
        }
        let core = self.core();
        let mut next = core.machine.poll_deadline().unwrap_or(Time::NEVER).min(core.armed);
        if core.machine.has_effects() || core.keeper_awake {
            next = now;
        }
        drop(core);
        // If that is past already, the tree's task is late for it: look again soon.
        self.watchdog.expect(next.max(now));
    }

    fn perform(self: &Arc<Self>, action: Action) {
        match action {
            Action::Start { body, cell, handle } => {
                body.start(cell, handle.as_ref().unwrap_or_else(|| self.clock.handle()));
            }
            Action::OpenRuntime { place, cell } => {
                place.open(cell, |cell, handle| cell.tree.place_opened(cell, handle))
            }
            Action::Ask(cell) => cell.ask(),
            Action::Kill(cell) => cell.kill(),
            Action::Abandon(cell) => cell.abandon(),
            Action::Drop(local) => dispose(local),
            Action::Reply(sender, result) => {
                // Whoever asked may have stopped waiting.
                let _ = sender.send(result);
            }
            Action::Up => {
                let _ = self.up.set(());
                self.milestones.notify_waiters();
            }
            Action::Down(ended) => {
                self.let_go();
                let _ = self.ended.set(ended);
                self.milestones.notify_waiters();
                self.rearm.notify_one();
                self.watchdog.end();
            }
            Action::Nothing => {}
        }
    }

    fn place_opened(self: &Arc<Self>, cell: &Arc<Cell>, handle: Handle) {
        self.core().place_opened(cell, handle);
        self.feed(self.clock.now(), Input::Ready { id: cell.id, attempt: cell.attempt });
    }

    /// The tree's own task: deadlines, walks over groups, and effects that others left over. Ends with the tree.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let news = self.rearm.notified();
            let deadline = {
                let mut core = self.core();
                core.armed = core.machine.poll_deadline().unwrap_or(Time::NEVER);
                core.keeper_awake = core.machine.has_effects();
                if core.keeper_awake { Time::ZERO } else { core.armed }
            };
            if self.ended.get().is_some() {
                break;
            }
            if deadline == Time::NEVER {
                news.await;
            } else if deadline != Time::ZERO {
                let sleep = tokio::time::sleep_until(self.clock.instant(deadline));
                crate::race::race(news, sleep).await;
            }
            self.keep(self.clock.now_inside());
            // Others first, if there is much to do.
            to_the_back().await;
        }
    }

    /// One turn of the tree's task: the time, effects that were left to it, and steps of walks over groups.
    fn keep(self: &Arc<Self>, now: Time) {
        let mut core = self.core();
        core.machine.set_interest(self.events.interest());
        let random = core.random();
        core.machine.handle(now, random, Input::Tick);
        self.drive_with(core, STEPS_PER_TURN);
    }

    /// The runtime is going away under the tree. Nothing can be waited for any more: everything is ordered to end.
    pub(crate) fn collapse(self: &Arc<Self>) {
        let now = self.clock.now();
        let mut core = self.core();
        if std::mem::replace(&mut core.collapsed, true) {
            return;
        }
        let alive = core.everything_alive();
        // Before anybody else reports an end that would be answered by a new attempt.
        let random = core.random();
        core.machine.handle(now, random, Input::Kill);
        self.drive(core);
        let entry = |cell: &Arc<Cell>| StopEntry {
            path: cell.path(),
            took: Duration::ZERO,
            stage: StopStage::Killed,
            exit: Some(Exit::Killed),
        };
        let entries = alive.iter().map(entry).collect();
        for cell in alive {
            cell.kill();
            cell.abandon();
        }
        self.let_go();
        let report = Arc::new(StopReport { entries, ..StopReport::default() });
        let ended = Ended { exit: Exit::Killed, report };
        let _ = self.ended.set(ended);
        self.milestones.notify_waiters();
        self.watchdog.end();
    }

    /// The tree has ended: what the user gave to it is dropped now, not with the last handle. Whoever still waits for
    /// an answer is told.
    fn let_go(&self) {
        let let_go = self.core().let_go();
        self.events.close();
        drop(let_go);
    }
}

/// Lets others go first. Unlike Tokio's own, which is remembered by the thread until that has nothing else to do, this
/// goes through the queue, from where any thread may take it.
async fn to_the_back() {
    let mut been = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut been, true) {
            return task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        task::Poll::Pending
    })
    .await;
}

/// Remembers which tree this thread was at before.
struct Driving((usize, bool));

impl Drop for Driving {
    fn drop(&mut self) {
        DRIVING.set(self.0);
    }
}

/// Orders everything to end when the tree's task is dropped before the tree has ended.
pub(crate) struct Alarm(pub(crate) Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.0.ended.get().is_none() {
            self.0.collapse();
        }
    }
}
