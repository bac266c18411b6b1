//! Threads that drop the errors of live attempts, each while the task of its attempt waits.
//!
//! A thread takes one value at a time, and the caller waits until the value is dropped. So no value waits for another's
//! destructor: if no thread is idle, the value gets a new one. A few idle threads are kept, because a new thread costs
//! more than most destructors. An idle thread ends after [`IDLE`], or with the tree.

use crate::attempt::body::UserValue;
use crate::attempt::panic::drop_catching_panics;
use crate::util::lock::{ignore_poison, lock};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// The name of the threads that drop values.
pub(crate) const THREAD: &str = "liveoak-drop";

/// How many idle threads one tree keeps at most.
pub(crate) const MAX_IDLE_DROP_THREADS: usize = 4;

/// How long a thread stays idle before it ends.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) struct DropThreads(Mutex<Idle>);

struct Idle {
    /// The last one was used last.
    threads: Vec<Arc<DropThread>>,
    /// `true` if the tree has ended, so that no thread is kept.
    closed: bool,
}

struct DropThread {
    task: Mutex<Task>,
    changed: Condvar,
}

/// What a thread is to do.
enum Task {
    /// To wait: it is idle, or has dropped the value of its caller.
    Wait,
    Drop(UserValue),
    /// To go on: it is inside the destructor.
    Finish,
    End,
}

impl DropThreads {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Idle { threads: Vec::new(), closed: false })))
    }

    /// Drops a value on a thread inside the context of `handle`, and blocks until it is dropped. If the system refuses the
    /// thread, the value is dropped here.
    pub(crate) fn drop_now(self: &Arc<Self>, value: UserValue, handle: &Handle) {
        let idle = lock(&self.0).threads.pop();
        match idle.or_else(|| self.start_thread(handle)) {
            Some(thread) => {
                thread.drop_value(value);
                self.keep(thread);
            }
            None => drop_catching_panics(value),
        }
    }

    /// Lets the idle threads end, because the tree has ended.
    pub(crate) fn close(&self) {
        let mut idle = lock(&self.0);
        idle.closed = true;
        let threads = std::mem::take(&mut idle.threads);
        drop(idle);
        threads.iter().for_each(|thread| thread.set(Task::End));
    }

    /// Keeps a thread for later values, or lets it end.
    fn keep(&self, thread: Arc<DropThread>) {
        let mut idle = lock(&self.0);
        if !idle.closed && idle.threads.len() < MAX_IDLE_DROP_THREADS {
            return idle.threads.push(thread);
        }
        drop(idle);
        thread.set(Task::End);
    }

    /// Takes a thread out of the idle threads. Returns `false` if a caller has it.
    fn take_out(&self, thread: &Arc<DropThread>) -> bool {
        let mut idle = lock(&self.0);
        let at = idle.threads.iter().position(|other| Arc::ptr_eq(other, thread));
        at.map(|at| idle.threads.remove(at)).is_some()
    }

    fn start_thread(self: &Arc<Self>, handle: &Handle) -> Option<Arc<DropThread>> {
        let thread = Arc::new(DropThread { task: Mutex::new(Task::Wait), changed: Condvar::new() });
        let (own, threads, handle) = (Arc::clone(&thread), Arc::downgrade(self), handle.clone());
        let run = move || {
            let _inside = handle.enter();
            own.run(&threads);
        };
        let started = std::thread::Builder::new().name(THREAD.to_owned()).spawn(run);
        started.is_ok().then_some(thread)
    }
}

impl DropThread {
    fn set(&self, task: Task) {
        *lock(&self.task) = task;
        self.changed.notify_all();
    }

    /// Gives the thread a value, and blocks until the value is dropped.
    fn drop_value(&self, value: UserValue) {
        self.set(Task::Drop(value));
        let is_dropping = |task: &mut Task| !matches!(task, Task::Wait);
        drop(ignore_poison(self.changed.wait_while(lock(&self.task), is_dropping)));
    }

    fn run(self: Arc<Self>, threads: &Weak<DropThreads>) {
        let mut task = lock(&self.task);
        loop {
            match std::mem::replace(&mut *task, Task::Finish) {
                Task::Drop(value) => {
                    drop(task);
                    drop_catching_panics(value);
                    self.set(Task::Wait);
                    task = lock(&self.task);
                }
                Task::End => return,
                Task::Wait | Task::Finish => {
                    *task = Task::Wait;
                    let (woken, waited) = ignore_poison(self.changed.wait_timeout(task, IDLE));
                    task = woken;
                    if waited.timed_out() && matches!(*task, Task::Wait) {
                        drop(task);
                        if threads.upgrade().is_none_or(|threads| threads.take_out(&self)) {
                            return;
                        }
                        task = lock(&self.task);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::ThreadId;
    use tokio::runtime::Builder;

    /// Sends the thread of its destructor, which then waits for the other channel to be closed.
    struct Reports(Sender<ThreadId>, Option<Receiver<()>>);

    impl Drop for Reports {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
            if let Some(released) = &self.1 {
                let _ = released.recv();
            }
        }
    }

    #[test]
    fn errors_that_come_one_after_another_are_dropped_by_one_thread() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let (threads, (sender, receiver)) = (DropThreads::new(), channel());
        for _ in 0..100 {
            threads.drop_now(Box::new(Reports(sender.clone(), None)), runtime.handle());
        }
        let used: HashSet<ThreadId> = receiver.try_iter().collect();
        assert!(used.len() == 1 && !used.contains(&std::thread::current().id()), "{used:?}");
    }

    #[test]
    fn an_error_is_dropped_although_the_destructors_of_others_block_and_few_idle_threads_are_kept() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let (threads, (sender, begun)) = (DropThreads::new(), channel());
        let (mut releases, mut callers) = (Vec::new(), Vec::new());
        for _ in 0..3 * MAX_IDLE_DROP_THREADS {
            let (release, released) = channel();
            let value = Box::new(Reports(sender.clone(), Some(released)));
            let (threads, handle) = (Arc::clone(&threads), runtime.handle().clone());
            callers.push(std::thread::spawn(move || threads.drop_now(value, &handle)));
            begun.recv().expect("its destructor runs although the others block");
            releases.push(release);
        }
        drop(releases);
        callers.into_iter().for_each(|caller| caller.join().expect("no panic"));
        assert_eq!(lock(&threads.0).threads.len(), MAX_IDLE_DROP_THREADS);
    }

    #[test]
    fn the_idle_threads_of_a_tree_end_with_it_and_none_is_kept_after_it() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let (threads, (sender, dropped)) = (DropThreads::new(), channel());
        threads.drop_now(Box::new(Reports(sender.clone(), None)), runtime.handle());
        let thread = Arc::downgrade(&lock(&threads.0).threads[0]);
        threads.close();
        while thread.upgrade().is_some() {
            std::thread::yield_now();
        }
        threads.drop_now(Box::new(Reports(sender, None)), runtime.handle());
        assert_eq!(dropped.into_iter().count(), 2);
        assert!(lock(&threads.0).threads.is_empty());
    }

    #[test]
    fn a_thread_goes_on_after_a_destructor_that_panics() {
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("a destructor that panics");
            }
        }
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let (threads, (sender, dropped)) = (DropThreads::new(), channel());
        threads.drop_now(Box::new(Panics), runtime.handle());
        threads.drop_now(Box::new(Reports(sender, None)), runtime.handle());
        assert_eq!(dropped.into_iter().count(), 1);
        assert_eq!(lock(&threads.0).threads.len(), 1);
    }
}
