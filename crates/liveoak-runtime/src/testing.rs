//! A kit for testing trees: one controllable child, paused time, and a check that nothing is left over.
//!
//! Enabled by the feature `testing`. Time that is paused moves on by itself whenever all tasks wait, straight to the
//! next deadline, so that tests of seconds and hours take none.
//!
//! ```
//! use liveoak_runtime::testing::{Universe, paused};
//! use liveoak_runtime::{Outcome, Supervisor};
//!
//! paused(async {
//!     let universe = Universe::new();
//!     let worker = universe.puppet("worker");
//!     let tree = Supervisor::new("shop").child(worker.child()).start().await.unwrap();
//!
//!     worker.fail("no more coffee");
//!     worker.started(2).await; // it came back
//!
//!     assert!(tree.stop().await.is_clean());
//!     universe.check().await; // nothing is left over
//! });
//! ```

use crate::child::Child;
use crate::ctx::Ctx;
use crate::race::{Either, race};
use liveoak_core::{Exit, Health};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Runs `test` on a runtime of one thread whose clock is paused.
///
/// # Panics
/// When the test does, or when no runtime can be made.
pub fn paused<F: Future>(test: F) -> F::Output {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    match built {
        Ok(runtime) => runtime.block_on(test),
        Err(error) => panic!("no runtime for the test: {error}"),
    }
}

/// Waits until `condition` holds, looking every millisecond of the runtime's time. `what` names it in the panic.
///
/// # Panics
/// When it does not hold within 30 s.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    const LOOKS: u32 = 30_000;
    for _ in 0..LOOKS {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("this did not happen: {what}");
}

/// What a puppet is told to do.
#[derive(Clone, Debug)]
enum Order {
    Ready,
    End(Exit),
    Panic(String),
    Spin,
    Beat,
    Health(Health),
}

#[derive(Debug, Default)]
struct State {
    orders: VecDeque<Order>,
    /// How many attempts live. More than one fails the test.
    live: usize,
    starts: u64,
    overlapped: bool,
    ignores_stop: bool,
    /// How long it takes to stop when asked.
    lingers: Duration,
    ready_by_itself: bool,
    spinning: bool,
}

struct Strings {
    name: String,
    state: Mutex<State>,
    /// Wakes the puppet, and those who watch it.
    news: Notify,
    /// The same for threads.
    blocking_news: Condvar,
}

impl Strings {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.news.notify_waiters();
        self.blocking_news.notify_all();
    }
}

/// A child that does what the test tells it. Until told otherwise it is ready at once, runs, and stops when asked.
///
/// Orders wait for the next attempt if none lives. Two attempts at once fail the test when its [`Universe`] is
/// checked; see [`overlapped`](Self::overlapped) for one without.
#[derive(Clone)]
pub struct Puppet {
    strings: Arc<Strings>,
}

impl fmt::Debug for Puppet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Puppet")
            .field("name", &self.strings.name)
            .field("state", &*self.strings.state())
            .finish()
    }
}

/// Counts a living attempt.
struct Alive(Arc<Strings>);

impl Alive {
    fn new(strings: &Arc<Strings>) -> Self {
        let mut state = strings.state();
        state.live += 1;
        state.starts += 1;
        state.overlapped |= state.live > 1;
        drop(state);
        strings.changed();
        Self(Arc::clone(strings))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.state().live -= 1;
        self.0.changed();
    }
}

impl Puppet {
    /// A puppet called `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let state = Mutex::new(State { ready_by_itself: true, ..State::default() });
        let strings =
            Strings { name: name.into(), state, news: Notify::new(), blocking_news: Condvar::new() };
        Self { strings: Arc::new(strings) }
    }

    /// The puppet as a child that is a task.
    #[must_use]
    pub fn child(&self) -> Child {
        let strings = Arc::clone(&self.strings);
        Child::task(self.strings.name.clone(), move |ctx| act(Arc::clone(&strings), ctx)).reports_ready()
    }

    /// The puppet as a child that is a thread. For time that is not paused: paused time does not wait for threads.
    #[must_use]
    pub fn thread(&self) -> Child {
        let strings = Arc::clone(&self.strings);
        Child::thread(self.strings.name.clone(), move |ctx| act_blocking(&strings, &ctx)).reports_ready()
    }

    /// The body of the puppet, for groups and services that wrap it.
    pub fn body(&self, ctx: Ctx) -> impl Future<Output = Exit> + Send + use<> {
        act(Arc::clone(&self.strings), ctx)
    }

    fn order(&self, order: Order) {
        self.strings.state().orders.push_back(order);
        self.strings.changed();
    }

    /// Its attempts say that they are ready only when told ([`ready`](Self::ready)).
    #[must_use]
    pub fn slow_to_start(self) -> Self {
        self.strings.state().ready_by_itself = false;
        self
    }

    /// It does not listen when asked to stop.
    #[must_use]
    pub fn ignoring_stop(self) -> Self {
        self.strings.state().ignores_stop = true;
        self
    }

    /// It takes `time` to stop when asked, and obeys no orders meanwhile. For puppets that are tasks.
    #[must_use]
    pub fn stopping_after(self, time: Duration) -> Self {
        self.strings.state().lingers = time;
        self
    }

    /// Says that it is ready.
    pub fn ready(&self) {
        self.order(Order::Ready);
    }

    /// Ends with success.
    pub fn complete(&self) {
        self.order(Order::End(Exit::Completed));
    }

    /// Ends with an error.
    pub fn fail(&self, message: &str) {
        self.order(Order::End(Exit::failed(message.to_owned())));
    }

    /// Ends with any exit.
    pub fn end(&self, exit: Exit) {
        self.order(Order::End(exit));
    }

    /// Panics.
    pub fn panic(&self, message: &str) {
        self.order(Order::Panic(message.to_owned()));
    }

    /// Blocks its thread, without ever yielding, until [`release`](Self::release).
    pub fn spin(&self) {
        self.strings.state().spinning = true;
        self.order(Order::Spin);
    }

    /// Ends a [`spin`](Self::spin).
    pub fn release(&self) {
        self.strings.state().spinning = false;
        self.strings.changed();
    }

    /// Gives a heartbeat.
    pub fn beat(&self) {
        self.order(Order::Beat);
    }

    /// Says how it is.
    pub fn health(&self, health: Health) {
        self.order(Order::Health(health));
    }

    /// How many attempts live now.
    #[must_use]
    pub fn live(&self) -> usize {
        self.strings.state().live
    }

    /// How many attempts were begun.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.strings.state().starts
    }

    /// Waits until `count` attempts were begun in all and the last of them lives.
    pub async fn started(&self, count: u64) {
        self.until(|state| state.starts >= count && state.live > 0).await;
    }

    /// Whether two attempts ever lived at once: what supervision must never let happen.
    #[must_use]
    pub fn overlapped(&self) -> bool {
        self.strings.state().overlapped
    }

    /// Waits until no attempt lives.
    pub async fn gone(&self) {
        self.until(|state| state.live == 0).await;
    }

    async fn until(&self, looked_for: impl Fn(&State) -> bool) {
        loop {
            let news = self.strings.news.notified();
            if looked_for(&self.strings.state()) {
                return;
            }
            news.await;
        }
    }
}

/// The body of an attempt, as a task.
async fn act(strings: Arc<Strings>, ctx: Ctx) -> Exit {
    let _alive = Alive::new(&strings);
    if strings.state().ready_by_itself {
        ctx.ready();
    }
    loop {
        let news = strings.news.notified();
        let order = strings.state().orders.pop_front();
        match order {
            Some(order) => {
                if let Some(exit) = obey(&strings, &ctx, order) {
                    return exit;
                }
            }
            None if strings.state().ignores_stop => news.await,
            None => match race(ctx.stopping(), news).await {
                // Orders that came before it was asked come first.
                Either::Left(()) if !strings.state().orders.is_empty() => {}
                Either::Left(()) => {
                    let lingers = strings.state().lingers;
                    if !lingers.is_zero() {
                        tokio::time::sleep(lingers).await;
                    }
                    return Exit::Completed;
                }
                Either::Right(()) => {}
            },
        }
    }
}

/// The body of an attempt, as a thread. Looks at the stop every few milliseconds.
fn act_blocking(strings: &Arc<Strings>, ctx: &Ctx) -> Exit {
    const LOOK: Duration = Duration::from_millis(5);
    let _alive = Alive::new(strings);
    if strings.state().ready_by_itself {
        ctx.ready();
    }
    loop {
        let mut state = strings.state();
        if let Some(order) = state.orders.pop_front() {
            drop(state);
            if let Some(exit) = obey(strings, ctx, order) {
                return exit;
            }
        } else if ctx.is_stopping() && !state.ignores_stop {
            return Exit::Completed;
        } else {
            let (guard, _) =
                strings.blocking_news.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
            drop(guard);
        }
    }
}

fn obey(strings: &Strings, ctx: &Ctx, order: Order) -> Option<Exit> {
    match order {
        Order::Ready => ctx.ready(),
        Order::End(exit) => return Some(exit),
        Order::Panic(message) => std::panic::panic_any(message),
        Order::Beat => ctx.heartbeat(),
        Order::Health(health) => ctx.health(health),
        Order::Spin => {
            let mut state = strings.state();
            while state.spinning {
                state = strings.blocking_news.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
    None
}

/// Everything that one test makes: in the end nothing of it may be left over.
#[derive(Debug)]
pub struct Universe {
    handle: Handle,
    tasks_before: usize,
    puppets: Mutex<Vec<Puppet>>,
}

impl Default for Universe {
    fn default() -> Self {
        Self::new()
    }
}

impl Universe {
    /// Begins to watch.
    ///
    /// # Panics
    /// When called outside a Tokio runtime.
    #[must_use]
    pub fn new() -> Self {
        let handle = Handle::current();
        let tasks_before = handle.metrics().num_alive_tasks();
        Self { handle, tasks_before, puppets: Mutex::default() }
    }

    /// A puppet that is watched.
    pub fn puppet(&self, name: impl Into<String>) -> Puppet {
        let puppet = Puppet::new(name);
        self.puppets.lock().unwrap_or_else(PoisonError::into_inner).push(puppet.clone());
        puppet
    }

    /// How many tasks are alive on the runtime beyond those that were there in the beginning.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.handle.metrics().num_alive_tasks().saturating_sub(self.tasks_before)
    }

    fn is_quiet(&self) -> bool {
        let puppets = self.puppets.lock().unwrap_or_else(PoisonError::into_inner);
        self.tasks() == 0 && puppets.iter().all(|puppet| puppet.live() == 0)
    }

    /// Checks that no puppet lives, none ever lived twice at once, and no task is left over. What is ending already
    /// gets two seconds of real time for it, in which paused time stands still.
    ///
    /// # Panics
    /// When something is left over.
    pub async fn check(self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let since = Instant::now();
        while !self.is_quiet() && since.elapsed() < PATIENCE {
            tokio::task::yield_now().await;
        }
        for puppet in self.puppets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let (name, state) = (&puppet.strings.name, puppet.strings.state());
            assert!(!state.overlapped, "{name} lived twice at once");
            assert_eq!(state.live, 0, "{name} is still alive");
        }
        assert_eq!(self.tasks(), 0, "tasks are left over");
    }
}
