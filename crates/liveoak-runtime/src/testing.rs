//! A kit for testing trees: a controllable child, paused time, and a check that nothing is left running.
//!
//! Enabled by the feature `testing`. Whenever all tasks wait, paused time jumps to the next deadline, so a test of
//! hours takes milliseconds.
//!
//! ```
//! use liveoak_runtime::testing::{LeakCheck, paused};
//! use liveoak_runtime::{Outcome, Supervisor};
//!
//! paused(async {
//!     let leak_check = LeakCheck::new();
//!     let worker = leak_check.puppet("worker");
//!     let tree = Supervisor::new("shop").child(worker.child()).start().await.unwrap();
//!
//!     worker.fail("no more coffee");
//!     worker.started(2).await; // it was restarted
//!
//!     assert!(tree.stop().await.is_clean());
//!     leak_check.check().await; // nothing is left running
//! });
//! ```

use crate::api::child::Child;
use crate::api::ctx::Ctx;
use crate::api::tree::TreeHandle;
use crate::engine::events::{EventOrLost, Events};
use crate::util::in_place::InPlace;
use crate::util::lock::{ignore_poison, lock};
use crate::util::{Either, race};
pub use liveoak_core::PanicAt;
use liveoak_core::{ChildView, Event, Exit, Health, Path};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Runs `test` on a runtime of one thread whose clock is paused. Work that is usually done on other threads is done on
/// that thread: it writes log lines, and drops the values of children that are over.
///
/// # Panics
/// When the test panics, or when no runtime can be created.
pub fn paused<F: Future>(test: F) -> F::Output {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let _in_place = InPlace::begin();
    built.unwrap_or_else(|error| panic!("no runtime for the test: {error}")).block_on(test)
}

/// Makes the supervision machine of a tree panic once, at the next moment of the kind `at`, so that a test sees how a program
/// meets the failure of its own supervision. The tree then fails as a whole: all children are stopped, every caller that waits
/// is answered, and [`final_report`](TreeHandle::final_report) tells the panic.
pub fn break_machine(tree: &TreeHandle, at: PanicAt) {
    tree.inner.state().machine.panic_at(at);
}

/// How long a test waits, in the runtime's time.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until `condition` holds. Checks it every millisecond of the runtime's time. `what` names the condition in the
/// panic.
///
/// # Panics
/// When it does not hold within 30 s.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    const CHECKS: u32 = 30_000;
    for _ in 0..CHECKS {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("this did not happen: {what}");
}

/// Waits until the child at `path` is as `wanted` says, and returns it as it was then; see
/// [`TreeHandle::wait_for`]. `what` names the state in the panic.
///
/// # Panics
/// When this did not happen within 30 s of the runtime's time, or the tree ended before. The message shows the child.
pub async fn wait_for(
    tree: &TreeHandle,
    path: impl Into<Path>,
    what: &str,
    wanted: impl FnMut(&ChildView) -> bool,
) -> ChildView {
    let path = path.into();
    let waited = tokio::time::timeout(TIMEOUT, tree.wait_for(&path, wanted)).await;
    match waited {
        Ok(Ok(view)) => view,
        Ok(Err(refusal)) => panic!("{path} was not {what}: {refusal}"),
        Err(_) => panic!("{path} was not {what} in time: {:?}", tree.snapshot().get(&path)),
    }
}

/// Returns the next event, which the reader gets through its filter, if any.
///
/// # Panics
/// When no event came within 30 s of the runtime's time, the tree has ended, or events were lost.
pub async fn next_event(events: &mut Events) -> Event {
    match tokio::time::timeout(TIMEOUT, events.next()).await {
        Ok(Some(EventOrLost::Event(event))) => event,
        Ok(Some(EventOrLost::Lost(count))) => panic!("{count} events were lost"),
        Ok(None) => panic!("the tree has ended, and no such event came"),
        Err(_) => panic!("no such event came in time"),
    }
}

#[derive(Clone, Debug)]
enum Instruction {
    Ready,
    End(Exit),
    Panic(String),
    Spin,
    Beat,
    Health(Health),
}

#[derive(Debug, Default)]
struct PuppetState {
    instructions: VecDeque<Instruction>,
    /// The number of live attempts. More than one fails the test.
    live: usize,
    starts: u64,
    overlapped: bool,
    ignores_stop: bool,
    /// How long it takes to stop when asked.
    stop_takes: Duration,
    ready_by_itself: bool,
    spinning: bool,
}

/// What a puppet and its attempts share.
#[derive(Debug)]
struct Control {
    name: String,
    state: Mutex<PuppetState>,
    /// Wakes the puppet, and the tests that wait for it.
    changed_notify: Notify,
    /// The same for threads.
    blocking_changed: Condvar,
}

impl Control {
    fn state(&self) -> MutexGuard<'_, PuppetState> {
        lock(&self.state)
    }

    fn changed(&self) {
        self.changed_notify.notify_waiters();
        self.blocking_changed.notify_all();
    }
}

/// A child that the test controls. Without instructions it is ready at once, runs, and stops when asked.
///
/// Instructions wait for the next attempt if none is live. Two live attempts at once fail the test when its
/// [`LeakCheck`] is checked. Without a leak check, check [`overlapped`](Self::overlapped).
#[derive(Clone, Debug)]
pub struct Puppet {
    control: Arc<Control>,
}

/// Counts a live attempt.
struct Alive(Arc<Control>);

impl Alive {
    fn new(control: &Arc<Control>, ctx: &Ctx) -> Self {
        let mut state = control.state();
        state.live += 1;
        state.starts += 1;
        state.overlapped |= state.live > 1;
        let ready = state.ready_by_itself;
        drop(state);
        control.changed();
        if ready {
            ctx.ready();
        }
        Self(Arc::clone(control))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.state().live -= 1;
        self.0.changed();
    }
}

impl Puppet {
    /// Makes a puppet called `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let state = Mutex::new(PuppetState { ready_by_itself: true, ..PuppetState::default() });
        let control = Control {
            name: name.into(),
            state,
            changed_notify: Notify::new(),
            blocking_changed: Condvar::new(),
        };
        Self { control: Arc::new(control) }
    }

    /// Returns the puppet as a child that is a task.
    #[must_use]
    pub fn child(&self) -> Child {
        let control = Arc::clone(&self.control);
        Child::task(self.control.name.clone(), move |ctx| act(Arc::clone(&control), ctx))
            .reports_ready()
            .reports_health()
    }

    /// Returns the puppet as a child that is a thread. Not for paused time, which does not wait for threads.
    #[must_use]
    pub fn thread(&self) -> Child {
        let control = Arc::clone(&self.control);
        Child::thread(self.control.name.clone(), move |ctx| act_blocking(&control, &ctx))
            .reports_ready()
            .reports_health()
    }

    /// Returns the body of the puppet, for groups and services that wrap it.
    pub fn body(&self, ctx: Ctx) -> impl Future<Output = Exit> + Send + use<> {
        act(Arc::clone(&self.control), ctx)
    }

    fn instruct(&self, instruction: Instruction) {
        self.control.state().instructions.push_back(instruction);
        self.control.changed();
    }

    /// Makes its attempts ready only on [`ready`](Self::ready).
    #[must_use]
    pub fn slow_to_start(self) -> Self {
        self.control.state().ready_by_itself = false;
        self
    }

    /// Makes it ignore a request to stop.
    #[must_use]
    pub fn ignoring_stop(self) -> Self {
        self.control.state().ignores_stop = true;
        self
    }

    /// Makes it take `time` to stop when asked. It follows no instructions meanwhile. For puppets that are tasks.
    #[must_use]
    pub fn stopping_after(self, time: Duration) -> Self {
        self.control.state().stop_takes = time;
        self
    }

    /// Makes it report that it is ready.
    pub fn ready(&self) {
        self.instruct(Instruction::Ready);
    }

    /// Makes it end with success.
    pub fn complete(&self) {
        self.instruct(Instruction::End(Exit::Completed));
    }

    /// Makes it end with an error.
    pub fn fail(&self, message: &str) {
        self.instruct(Instruction::End(Exit::failed(message.to_owned())));
    }

    /// Makes it end with `exit`.
    pub fn end(&self, exit: Exit) {
        self.instruct(Instruction::End(exit));
    }

    /// Makes it panic.
    pub fn panic(&self, message: &str) {
        self.instruct(Instruction::Panic(message.to_owned()));
    }

    /// Makes it block its thread, without yielding, until [`release`](Self::release).
    pub fn spin(&self) {
        self.control.state().spinning = true;
        self.instruct(Instruction::Spin);
    }

    /// Ends a [`spin`](Self::spin).
    pub fn release(&self) {
        self.control.state().spinning = false;
        self.control.changed();
    }

    /// Makes it report a heartbeat.
    pub fn beat(&self) {
        self.instruct(Instruction::Beat);
    }

    /// Makes it report its health.
    pub fn health(&self, health: Health) {
        self.instruct(Instruction::Health(health));
    }

    /// Returns the number of live attempts.
    #[must_use]
    pub fn live(&self) -> usize {
        self.control.state().live
    }

    /// Returns the number of attempts that were started.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.control.state().starts
    }

    /// Waits until `count` attempts were started in all and the last of them is live.
    pub async fn started(&self, count: u64) {
        self.until(|state| state.starts >= count && state.live > 0).await;
    }

    /// Returns `true` if two attempts were ever live at once, which supervision must never allow.
    #[must_use]
    pub fn overlapped(&self) -> bool {
        self.control.state().overlapped
    }

    /// Waits until no attempt is live.
    pub async fn gone(&self) {
        self.until(|state| state.live == 0).await;
    }

    async fn until(&self, looked_for: impl Fn(&PuppetState) -> bool) {
        loop {
            let changed = self.control.changed_notify.notified();
            if looked_for(&self.control.state()) {
                return;
            }
            changed.await;
        }
    }
}

async fn act(control: Arc<Control>, ctx: Ctx) -> Exit {
    let _alive = Alive::new(&control, &ctx);
    loop {
        let changed = control.changed_notify.notified();
        let instruction = control.state().instructions.pop_front();
        match instruction {
            Some(instruction) => {
                if let Some(exit) = follow(&control, &ctx, instruction) {
                    return exit;
                }
            }
            None if control.state().ignores_stop => changed.await,
            None => match race(ctx.stopping(), changed).await {
                // Instructions that came before the request to stop come first.
                Either::Left(()) if !control.state().instructions.is_empty() => {}
                Either::Left(()) => {
                    let stop_takes = control.state().stop_takes;
                    if !stop_takes.is_zero() {
                        tokio::time::sleep(stop_takes).await;
                    }
                    return Exit::Completed;
                }
                Either::Right(()) => {}
            },
        }
    }
}

/// Does the same as [`act`], as a thread. Checks for the stop every few milliseconds.
fn act_blocking(control: &Arc<Control>, ctx: &Ctx) -> Exit {
    const INTERVAL: Duration = Duration::from_millis(5);
    let _alive = Alive::new(control, ctx);
    loop {
        let mut state = control.state();
        if let Some(instruction) = state.instructions.pop_front() {
            drop(state);
            if let Some(exit) = follow(control, ctx, instruction) {
                return exit;
            }
        } else if ctx.is_stopping() && !state.ignores_stop {
            return Exit::Completed;
        } else {
            let (guard, _) = ignore_poison(control.blocking_changed.wait_timeout(state, INTERVAL));
            drop(guard);
        }
    }
}

fn follow(control: &Control, ctx: &Ctx, instruction: Instruction) -> Option<Exit> {
    match instruction {
        Instruction::Ready => ctx.ready(),
        Instruction::End(exit) => return Some(exit),
        Instruction::Panic(message) => std::panic::panic_any(message),
        Instruction::Beat => ctx.heartbeat(),
        Instruction::Health(health) => ctx.health(health, ""),
        Instruction::Spin => {
            let mut state = control.state();
            while state.spinning {
                state = ignore_poison(control.blocking_changed.wait(state));
            }
        }
    }
    None
}

/// Watches everything that one test starts, and checks in the end that nothing is left running.
#[derive(Debug)]
pub struct LeakCheck {
    handle: Handle,
    tasks_before: usize,
    puppets: Mutex<Vec<Puppet>>,
}

impl Default for LeakCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl LeakCheck {
    /// Begins to watch the current runtime.
    ///
    /// # Panics
    /// When called outside a Tokio runtime.
    #[must_use]
    pub fn new() -> Self {
        let handle = Handle::current();
        let tasks_before = handle.metrics().num_alive_tasks();
        Self { handle, tasks_before, puppets: Mutex::default() }
    }

    /// Makes a puppet that is watched.
    pub fn puppet(&self, name: impl Into<String>) -> Puppet {
        let puppet = Puppet::new(name);
        lock(&self.puppets).push(puppet.clone());
        puppet
    }

    /// Returns how many more tasks are alive on the runtime than at the beginning.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.handle.metrics().num_alive_tasks().saturating_sub(self.tasks_before)
    }

    /// Checks that no attempt of a puppet is live, that no puppet had two live attempts at once, and that no task is
    /// left. Attempts and tasks that are ending get two seconds of real time; the paused clock does not advance.
    ///
    /// # Panics
    /// When the check fails.
    pub async fn check(self) {
        const TIMEOUT: Duration = Duration::from_secs(2);
        let since = Instant::now();
        let is_quiet = || self.tasks() == 0 && lock(&self.puppets).iter().all(|puppet| puppet.live() == 0);
        while !is_quiet() && since.elapsed() < TIMEOUT {
            tokio::task::yield_now().await;
        }
        for puppet in lock(&self.puppets).iter() {
            let (name, state) = (&puppet.control.name, puppet.control.state());
            assert!(!state.overlapped, "{name} had two live attempts at once");
            assert_eq!(state.live, 0, "{name} is still alive");
        }
        assert_eq!(self.tasks(), 0, "tasks are left over");
    }
}
