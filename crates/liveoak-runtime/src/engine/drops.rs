//! The values of the user that no attempt can drop: arguments, closures and kept errors of children that are over.
//!
//! A destructor is user code: it may block, panic, or call the tree. The task of an attempt drops the values that the
//! attempt holds. Any thread can find the values that a child leaves behind when it is over. This thread puts them into
//! the queue of this file, and jobs on Tokio's blocking pool drop them: inside the runtime's context, where blocking is
//! allowed.
//!
//! 1. No value waits for the destructor of another value, as long as there are threads. While a job is inside a
//!    destructor and values wait, there is a spare job. The spare job waits for a [`STALL`]. If no other job makes
//!    progress, it takes a value itself, and another spare job begins. So fast destructors use one or two threads, and
//!    slow destructors use up to [`MAX_DROP_JOBS`].
//! 2. A stop waits for these drops, but only within its budget. A destructor that takes longer is reported as abandoned,
//!    and goes on.
//! 3. The queue grows only with children that were added. While [`MAX_DROPS_WAITING`] values wait, no child is added,
//!    and no error is kept.
//! 4. In tests with a paused clock, the jobs are tasks of the only thread ([`is_in_place`]).
//! 5. When the runtime shuts down, it drops the timer task of the tree, which then drops the waiting values. A job that
//!    was accepted but not run does the same when it is dropped. If the runtime refuses a job before that, a separate
//!    thread takes the values. If the system refuses this thread too, the values wait until the next value comes.

use crate::attempt::body::UserValue;
use crate::attempt::panic::{catch, drop_catching_panics};
use crate::util::in_place::is_in_place;
use crate::util::lock::{ignore_poison, lock};
use liveoak_core::ChildId;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// The number of waiting values at which no more children are added.
pub(crate) const MAX_DROPS_WAITING: usize = 65_536;

/// How many jobs of one tree drop values at the same time. This is few compared with the 512 threads of Tokio's blocking
/// pool.
pub(crate) const MAX_DROP_JOBS: usize = 64;

/// How long a job may be inside one destructor before another job goes on with the next value.
const STALL: Duration = Duration::from_millis(1);

thread_local! {
    /// Set while this thread hands a job to the runtime, and by the job if the runtime refuses it.
    static HANDING_OVER: Cell<HandingOver> = const { Cell::new(HandingOver::No) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HandingOver {
    No,
    Yes,
    Refused,
}

/// The values of one tree that wait to be dropped.
pub(crate) struct Drops {
    handle: Handle,
    /// `true` if the jobs are tasks.
    pub(crate) in_place: bool,
    work: Mutex<Work>,
    /// Wakes spare jobs, and the thread that waits for the end.
    changed: Condvar,
    /// Wakes the tasks that wait for the drops below a child.
    pub(crate) settled: Notify,
    /// `true` while the queue is full. Read without the lock.
    full: AtomicBool,
    /// `true` while values are unfinished. Read without the lock.
    unfinished: AtomicBool,
    /// `true` if the runtime of the tree is lost: no more jobs are started.
    lost: AtomicBool,
    /// `true` if the tree has ended, so that values may be dropped in the calls that find them.
    closed: AtomicBool,
}

#[derive(Default)]
struct Work {
    /// The values, each with the child for which it is counted.
    queue: VecDeque<(ChildId, UserValue)>,
    jobs: usize,
    /// The jobs that are inside a destructor.
    busy: usize,
    /// Counts the destructors that have ended.
    progress: u64,
    /// For each child, the number of values that wait or are being dropped.
    unfinished: HashMap<ChildId, Unfinished>,
    /// The sum of these numbers.
    left: u64,
    /// The children for whose stop or removal a caller waits, with the number of callers. The values of these children are
    /// counted for the children themselves; the values of other children are counted for their supervisors.
    awaited: HashMap<ChildId, u32>,
}

#[derive(Default)]
struct Unfinished {
    values: u64,
    /// The supervisor above, if the child has left the tree meanwhile.
    above: Option<ChildId>,
}

impl Work {
    fn needs_job(&mut self) -> bool {
        let needs = !self.queue.is_empty() && self.jobs == self.busy && self.jobs < MAX_DROP_JOBS;
        self.jobs += usize::from(needs);
        needs
    }
}

impl Drops {
    pub(crate) fn new(handle: Handle) -> Arc<Self> {
        Arc::new(Self {
            handle,
            in_place: is_in_place(),
            work: Mutex::default(),
            changed: Condvar::new(),
            settled: Notify::new(),
            full: AtomicBool::new(false),
            unfinished: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// Lets the jobs drop the values of a child that has left the tree.
    pub(crate) fn push_of(self: &Arc<Self>, child: ChildId, supervisor: ChildId, values: Vec<UserValue>) {
        if values.is_empty() {
            return;
        }
        let mut work = lock(&self.work);
        let is_awaited = work.awaited.contains_key(&child);
        if is_awaited {
            work.unfinished.entry(child).or_default().above = Some(supervisor);
        }
        drop(work);
        self.push(if is_awaited { child } else { supervisor }, values);
    }

    /// Counts the values that `child` leaves behind for `child` itself, while the result of this function exists.
    pub(crate) fn await_child(self: &Arc<Self>, child: ChildId) -> Awaited {
        *lock(&self.work).awaited.entry(child).or_default() += 1;
        Awaited { drops: Arc::clone(self), child }
    }

    /// Lets the jobs drop `values`, and counts them for `child`.
    pub(crate) fn push(self: &Arc<Self>, child: ChildId, values: Vec<UserValue>) {
        if values.is_empty() {
            return;
        }
        if self.closed.load(Ordering::Acquire) {
            return values.into_iter().for_each(drop_catching_panics);
        }
        let mut work = lock(&self.work);
        work.unfinished.entry(child).or_default().values += values.len() as u64;
        work.left += values.len() as u64;
        self.unfinished.store(true, Ordering::Release);
        work.queue.extend(values.into_iter().map(|value| (child, value)));
        self.set_full(&work);
        let (start, spares) = (work.needs_job(), work.jobs > work.busy);
        drop(work);
        if start {
            self.start_job();
        } else if spares {
            self.changed.notify_one();
        }
    }

    /// Remembers the supervisor above a supervisor that leaves the tree, for the stops that wait above it.
    pub(crate) fn supervisor_leaves(&self, supervisor: ChildId, above: ChildId) {
        let mut work = lock(&self.work);
        if work.left > 0 {
            work.unfinished.entry(supervisor).or_default().above = Some(above);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn has_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire)
    }

    /// Returns the children whose values are not dropped yet, among `child` and the children below it. `above` returns the
    /// supervisor of a child that is part of the tree.
    pub(crate) fn unfinished_below(
        &self,
        child: ChildId,
        above: impl Fn(ChildId) -> Option<ChildId>,
    ) -> Vec<ChildId> {
        let work = lock(&self.work);
        let next = |id: &ChildId| above(*id).or_else(|| work.unfinished.get(id)?.above);
        let is_below = |id: ChildId| std::iter::successors(Some(id), next).any(|id| id == child);
        let counted = work.unfinished.iter().filter(|(_, unfinished)| unfinished.values > 0);
        counted.map(|(id, _)| *id).filter(|id| is_below(*id)).collect()
    }

    /// Blocks until every value is dropped, or until `deadline`. Returns the children whose values are not dropped.
    pub(crate) fn wait(&self, deadline: Instant) -> Vec<ChildId> {
        let mut work = lock(&self.work);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if work.left == 0 || left.is_zero() {
                let unfinished = work.unfinished.iter().filter(|(_, unfinished)| unfinished.values > 0);
                let mut unfinished: Vec<_> = unfinished.map(|(child, _)| *child).collect();
                unfinished.sort_unstable_by_key(|child| (child.slot, child.serial));
                return unfinished;
            }
            work = ignore_poison(self.changed.wait_timeout(work, left)).0;
        }
    }

    /// Lets later values be dropped where they are found, because the tree has ended.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Starts no more jobs, because the runtime shuts down. The timer task drops the waiting values when it is dropped.
    pub(crate) fn lose_runtime(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Drops all waiting values on this thread, if the runtime is lost.
    pub(crate) fn work_off(self: &Arc<Self>) {
        if !self.lost.load(Ordering::Acquire) {
            return;
        }
        let mut work = lock(&self.work);
        work.jobs += 1;
        drop(self.drop_all(work, false));
    }

    fn set_full(&self, work: &Work) {
        self.full.store(work.queue.len() >= MAX_DROPS_WAITING, Ordering::Relaxed);
    }

    /// Drops value by value until no value waits. A `spare` job begins only when the other jobs make no progress.
    fn drop_all<'a>(
        self: &'a Arc<Self>,
        mut work: MutexGuard<'a, Work>,
        mut spare: bool,
    ) -> MutexGuard<'a, Work> {
        loop {
            if spare && work.busy > 0 && !work.queue.is_empty() {
                let before = work.progress;
                work = ignore_poison(self.changed.wait_timeout(work, STALL)).0;
                if work.progress != before {
                    continue;
                }
            }
            spare = false;
            let Some((child, value)) = work.queue.pop_front() else {
                work.jobs -= 1;
                return work;
            };
            self.set_full(&work);
            work.busy += 1;
            let start = work.needs_job();
            drop(work);
            if start {
                self.start_job();
            }
            drop_catching_panics(value);
            work = self.finished(child);
        }
    }

    /// Records the end of one destructor.
    fn finished(&self, child: ChildId) -> MutexGuard<'_, Work> {
        let mut work = lock(&self.work);
        work.busy -= 1;
        work.progress += 1;
        work.left -= 1;
        let values = work.unfinished.get_mut(&child).map_or(0, |unfinished| {
            unfinished.values -= 1;
            unfinished.values
        });
        if values > 0 {
            return work;
        }
        if work.left == 0 {
            work.unfinished.clear();
            self.unfinished.store(false, Ordering::Release);
            self.changed.notify_all();
        } else if work.unfinished.get(&child).is_some_and(|unfinished| unfinished.above.is_none()) {
            work.unfinished.remove(&child);
        }
        drop(work);
        self.settled.notify_waiters();
        lock(&self.work)
    }

    fn start_job(self: &Arc<Self>) {
        if self.lost.load(Ordering::Acquire) {
            lock(&self.work).jobs -= 1;
            return;
        }
        let before = HANDING_OVER.replace(HandingOver::Yes);
        let job = Job { drops: Arc::clone(self), ran: false };
        // Panics if the system refuses the first thread of the pool.
        let _ = catch(None, || {
            if self.in_place {
                drop(self.handle.spawn(async move { job.run() }));
            } else {
                drop(self.handle.spawn_blocking(move || job.run()));
            }
        });
        if HANDING_OVER.replace(HandingOver::Yes) == HandingOver::Refused {
            let job = Job { drops: Arc::clone(self), ran: false };
            let handle = self.handle.clone();
            let run = move || {
                let _inside = handle.enter();
                job.run();
            };
            let spawned = std::thread::Builder::new().name("liveoak-drop".to_owned()).spawn(run);
            if spawned.is_err() {
                lock(&self.work).jobs -= 1;
            }
        }
        HANDING_OVER.set(before);
    }
}

/// A caller that waits for the stop or the removal of a child.
pub(crate) struct Awaited {
    drops: Arc<Drops>,
    pub(crate) child: ChildId,
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut work = lock(&self.drops.work);
        if let Some(callers) = work.awaited.get_mut(&self.child) {
            *callers -= 1;
            if *callers == 0 {
                work.awaited.remove(&self.child);
            }
        }
    }
}

/// One job, which the runtime may drop without running it.
struct Job {
    drops: Arc<Drops>,
    ran: bool,
}

impl Job {
    fn run(mut self) {
        self.ran = true;
        let work = lock(&self.drops.work);
        drop(self.drops.drop_all(work, true));
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.ran {
            return;
        }
        match HANDING_OVER.get() {
            HandingOver::No => drop(self.drops.drop_all(lock(&self.drops.work), false)),
            HandingOver::Yes | HandingOver::Refused => HANDING_OVER.set(HandingOver::Refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tokio::runtime::{Builder, Runtime};

    const CHILD: ChildId = ChildId { slot: 1, serial: 0 };
    const LONG: Duration = Duration::from_secs(60);

    /// Returns a runtime whose blocking pool has one thread, which is busy until the sender is dropped.
    fn without_free_thread() -> (Runtime, mpsc::Sender<()>) {
        let runtime = Builder::new_current_thread().max_blocking_threads(1).build().expect("a runtime");
        let (release, blocked) = mpsc::channel::<()>();
        let (begins, has_begun) = mpsc::channel();
        drop(runtime.spawn_blocking(move || {
            begins.send(()).expect("the test waits");
            let _ = blocked.recv();
        }));
        has_begun.recv().expect("the job has begun");
        (runtime, release)
    }

    fn counted(count: usize) -> (Vec<UserValue>, mpsc::Receiver<usize>) {
        struct Sends(usize, mpsc::Sender<usize>);
        impl Drop for Sends {
            fn drop(&mut self) {
                let _ = self.1.send(self.0);
            }
        }
        let (sender, receiver) = mpsc::channel();
        ((0..count).map(|n| Box::new(Sends(n, sender.clone())) as UserValue).collect(), receiver)
    }

    #[test]
    fn while_too_many_values_wait_for_their_destructors_the_queue_is_full() {
        let (runtime, release) = without_free_thread();
        let drops = Drops::new(runtime.handle().clone());
        let (values, dropped) = counted(MAX_DROPS_WAITING);
        for value in values {
            assert!(!drops.is_full());
            drops.push(CHILD, vec![value]);
        }
        assert!(drops.is_full());
        assert_eq!(drops.wait(Instant::now()), [CHILD]);
        drop(release);
        assert!(drops.wait(Instant::now() + LONG).is_empty());
        assert!(!drops.is_full() && !drops.has_unfinished());
        assert!(dropped.into_iter().eq(0..MAX_DROPS_WAITING), "in their order");
    }

    #[test]
    fn no_more_than_the_limit_of_jobs_are_inside_destructors_at_the_same_time() {
        struct Blocks(mpsc::Sender<()>, Arc<Mutex<mpsc::Receiver<()>>>);
        impl Drop for Blocks {
            fn drop(&mut self) {
                let _ = self.0.send(());
                let _ = lock(&self.1).recv();
            }
        }
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let drops = Drops::new(runtime.handle().clone());
        let ((begins, has_begun), (release, blocked)) = (mpsc::channel(), mpsc::channel::<()>());
        let blocked = Arc::new(Mutex::new(blocked));
        for _ in 0..MAX_DROP_JOBS + 20 {
            drops.push(CHILD, vec![Box::new(Blocks(begins.clone(), Arc::clone(&blocked)))]);
        }
        for _ in 0..MAX_DROP_JOBS {
            has_begun.recv_timeout(LONG).expect("each is dropped although the others block");
        }
        assert_eq!(lock(&drops.work).jobs, MAX_DROP_JOBS);
        drop(release);
        assert!(drops.wait(Instant::now() + LONG).is_empty());
    }

    #[test]
    fn values_are_dropped_although_the_runtime_takes_no_more_jobs() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let drops = Drops::new(runtime.handle().clone());
        drop(runtime);
        let (values, dropped) = counted(3);
        drops.push(CHILD, values);
        assert!(drops.wait(Instant::now() + LONG).is_empty());
        assert!(dropped.into_iter().eq(0..3));
    }

    #[test]
    fn jobs_that_a_runtime_has_accepted_and_does_not_run_any_more_drop_their_values_all_the_same() {
        let (runtime, release) = without_free_thread();
        let drops = Drops::new(runtime.handle().clone());
        let (values, dropped) = counted(3);
        drops.push(CHILD, values);
        drop(release);
        runtime.shutdown_timeout(LONG);
        assert!(dropped.into_iter().eq(0..3));
    }
}
