//! The values of the user that no attempt can drop: arguments, closures and kept errors of children that are over.
//!
//! A destructor is user code: it may block, panic, or call the tree. An attempt's own task drops what the attempt
//! holds. The values that a child leaves behind when it is over come here instead, from any thread. Separate threads
//! drop them, inside the runtime's context, where blocking is allowed. (Tokio's blocking pool would not do: a job waits
//! there without end when all threads are taken, or when the system refuses one.)
//!
//! 1. As long as there are threads, no value waits for the end of another's destructor. While a job is inside a
//!    destructor and values wait, there is a spare job. The spare waits for [`STALL`]. If the other jobs finish no
//!    destructor in this time, the spare takes a value itself, and another spare begins. So fast destructors use one or
//!    two threads, and slow ones up to [`MAX_DROP_JOBS`]. A thread without values ends after [`IDLE`], or with the
//!    tree.
//! 2. Stops wait for these drops, but only within their budget. A destructor that takes longer is reported as
//!    abandoned, and continues.
//! 3. The queue grows only with children that were added. While [`MAX_DROPS_WAITING`] values wait, no child is added,
//!    and no error is kept.
//! 4. In tests with a paused clock, the jobs are tasks on the one thread ([`is_in_place`]).
//! 5. When the runtime shuts down, the tree's timer task is dropped, and that drops the waiting values.
//! 6. An error that an attempt returned belongs to the attempt, so the attempt waits for its destructor
//!    ([`Drops::drop_now`]). This error is dropped by a thread of [`DropThreads`], because blocking is not allowed in a
//!    task.
//! 7. If the system refuses a thread, the start of a thread is tried again when the next value comes, or when a stop
//!    that waits checks again.

use crate::attempt::body::UserValue;
use crate::attempt::panic::{catch, drop_catching_panics};
use crate::engine::drop_threads::{DropThreads, THREAD};
use crate::util::in_place::is_in_place;
use crate::util::lock::{ignore_poison, lock};
use liveoak_core::ChildId;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// The number of waiting values at which no more children are added.
pub(crate) const MAX_DROPS_WAITING: usize = 65_536;

/// How many jobs (threads) of one tree drop values at once.
pub(crate) const MAX_DROP_JOBS: usize = 64;

/// How long a job may be inside one destructor before another job takes the next value.
const STALL: Duration = Duration::from_millis(1);

/// How long a thread without values waits for more.
const IDLE: Duration = Duration::from_secs(10);

/// How often a stop that waits tries again to start a thread that the system refused.
const RETRY: Duration = Duration::from_millis(10);

/// The values of one tree that wait to be dropped.
pub(crate) struct Drops {
    handle: Handle,
    /// `true` if the jobs are tasks.
    pub(crate) in_place: bool,
    work: Mutex<Work>,
    /// The threads of [`drop_now`](Self::drop_now).
    threads: Arc<DropThreads>,
    /// Wakes the thread that waits for the end.
    changed: Condvar,
    /// Wakes spare and idle jobs.
    more: Condvar,
    /// Wakes the tasks that wait for the drops below a child.
    pub(crate) settled: Notify,
    /// `true` while the queue is full. Read without the lock.
    full: AtomicBool,
    /// `true` while values are unfinished. Read without the lock.
    unfinished: AtomicBool,
    /// `true` if the runtime of the tree is lost: no more jobs are started.
    lost: AtomicBool,
    /// `true` if the tree has ended, so that threads without values end.
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
            threads: DropThreads::new(),
            changed: Condvar::new(),
            more: Condvar::new(),
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
    #[inline]
    pub(crate) fn push(self: &Arc<Self>, child: ChildId, values: Vec<UserValue>) {
        if !values.is_empty() {
            self.push_all(child, values);
        }
    }

    fn push_all(self: &Arc<Self>, child: ChildId, values: Vec<UserValue>) {
        let (closed, lost) = (self.closed.load(Ordering::Acquire), self.lost.load(Ordering::Acquire));
        if closed && (lost || self.in_place) {
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
            self.more.notify_one();
        }
    }

    /// Drops a value of a live attempt on a thread that drops no other value meanwhile, and blocks until it is dropped. If
    /// the system refuses the thread, the value is dropped here.
    pub(crate) fn drop_now(&self, value: UserValue) {
        self.threads.drop_now(value, &self.handle);
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

    /// Blocks until every value is dropped, or until `deadline`. Returns the children whose values are not.
    pub(crate) fn wait(self: &Arc<Self>, deadline: Instant) -> Vec<ChildId> {
        let mut work = lock(&self.work);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if work.left == 0 || left.is_zero() {
                let unfinished = work.unfinished.iter().filter(|(_, unfinished)| unfinished.values > 0);
                let mut unfinished: Vec<_> = unfinished.map(|(child, _)| *child).collect();
                unfinished.sort_unstable_by_key(|child| (child.slot, child.serial));
                return unfinished;
            }
            if work.needs_job() {
                drop(work);
                self.start_job();
                work = lock(&self.work);
            }
            work = ignore_poison(self.changed.wait_timeout(work, left.min(RETRY))).0;
        }
    }

    /// Lets threads without values end, because the tree has ended. Later values get new threads.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.threads.close();
        let _work = lock(&self.work);
        self.more.notify_all();
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

    /// Drops one value after another until none waits. A job that `may_idle` ends only when no value has come for
    /// [`IDLE`]. A job begins only when the others finish no destructor, unless the runtime shuts down.
    fn drop_all<'a>(
        self: &'a Arc<Self>,
        mut work: MutexGuard<'a, Work>,
        mut may_idle: bool,
    ) -> MutexGuard<'a, Work> {
        let mut spare = !self.lost.load(Ordering::Acquire);
        loop {
            if spare && work.busy > 0 && !work.queue.is_empty() {
                let before = work.progress;
                work = ignore_poison(self.more.wait_timeout(work, STALL)).0;
                if work.progress != before {
                    continue;
                }
            }
            spare = false;
            let Some((child, value)) = work.queue.pop_front() else {
                if may_idle && !self.closed.load(Ordering::Acquire) {
                    let (more, waited) = ignore_poison(self.more.wait_timeout(work, IDLE));
                    work = more;
                    spare = true;
                    may_idle = !waited.timed_out();
                    continue;
                }
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
        let drops = Arc::clone(self);
        if self.in_place {
            return self.start_job_in_task();
        }
        let job = move || {
            let _inside = drops.handle.enter();
            drop(drops.drop_all(lock(&drops.work), true));
        };
        if std::thread::Builder::new().name(THREAD.to_owned()).spawn(job).is_err() {
            // No thread is left. A destructor that blocks is better than one that never runs.
            self.start_job_in_task();
        }
    }

    fn start_job_in_task(self: &Arc<Self>) {
        let drops = Arc::clone(self);
        let job = async move { drop(drops.drop_all(lock(&drops.work), false)) };
        // Panics on a thread whose local storage is torn down.
        if catch(None, || drop(self.handle.spawn(job))).is_err() {
            lock(&self.work).jobs -= 1;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kept_error::settle_error;
    use liveoak_core::Exit;
    use std::sync::mpsc;
    use tokio::runtime::{Builder, Runtime};

    const CHILD: ChildId = ChildId { slot: 1, serial: 0 };
    const LONG: Duration = Duration::from_secs(60);

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

    /// Blocks in its destructor until the sender of the receiver is dropped.
    struct Blocks(mpsc::Sender<()>, Arc<Mutex<mpsc::Receiver<()>>>);

    impl Drop for Blocks {
        fn drop(&mut self) {
            let _ = self.0.send(());
            let _ = lock(&self.1).recv();
        }
    }

    /// Returns the values of a tree with `count` destructors that block until the sender is dropped. As many jobs as
    /// are allowed are inside these destructors.
    fn blocked(runtime: &Runtime, count: usize) -> (Arc<Drops>, mpsc::Sender<()>) {
        let drops = Drops::new(runtime.handle().clone());
        let ((begins, has_begun), (release, blocked)) = (mpsc::channel(), mpsc::channel::<()>());
        let blocked = Arc::new(Mutex::new(blocked));
        for _ in 0..count {
            drops.push(CHILD, vec![Box::new(Blocks(begins.clone(), Arc::clone(&blocked)))]);
        }
        for _ in 0..MAX_DROP_JOBS {
            has_begun.recv_timeout(LONG).expect("each is dropped although the others block");
        }
        (drops, release)
    }

    #[test]
    fn while_too_many_values_wait_for_their_destructors_the_queue_is_full() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let (drops, release) = blocked(&runtime, MAX_DROP_JOBS);
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
        assert_eq!(dropped.into_iter().count(), MAX_DROPS_WAITING);
    }

    #[test]
    fn while_too_many_values_wait_for_their_destructors_an_exit_keeps_only_the_text_of_its_error() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let (drops, release) = blocked(&runtime, MAX_DROP_JOBS);
        let keeps = || match settle_error(Exit::failed("on purpose"), true, CHILD, &drops) {
            Exit::Failed(failure) if failure.text() == "on purpose" => failure.error().is_some(),
            other => panic!("{other}"),
        };
        assert!(keeps());
        let (values, _dropped) = counted(MAX_DROPS_WAITING);
        drops.push(CHILD, values);
        assert!(!keeps());
        drop(release);
        assert!(drops.wait(Instant::now() + LONG).is_empty());
        assert!(keeps());
    }

    #[test]
    fn no_more_than_the_limit_of_jobs_are_inside_destructors_at_the_same_time() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let (drops, release) = blocked(&runtime, MAX_DROP_JOBS + 20);
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
    fn values_are_dropped_although_all_threads_of_the_blocking_pool_are_taken() {
        let runtime = Builder::new_current_thread().max_blocking_threads(1).build().expect("a runtime");
        let (release, blocked) = mpsc::channel::<()>();
        drop(runtime.spawn_blocking(move || blocked.recv()));
        let drops = Drops::new(runtime.handle().clone());
        let (values, dropped) = counted(3);
        drops.push(CHILD, values);
        assert!(drops.wait(Instant::now() + LONG).is_empty());
        assert!(dropped.into_iter().eq(0..3));
        drop(release);
    }

    #[test]
    fn the_threads_of_a_tree_end_with_it() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let drops = Drops::new(runtime.handle().clone());
        let (values, dropped) = counted(3);
        drops.push(CHILD, values);
        assert!(dropped.into_iter().eq(0..3));
        drops.close();
        while Arc::strong_count(&drops) > 1 {
            std::thread::yield_now();
        }
    }
}
