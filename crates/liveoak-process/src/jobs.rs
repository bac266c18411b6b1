//! The jobs of the spawner thread, and the process group that a spawn returns.
//!
//! [`Job::Spawn`] returns a [`ProcessGroup`]. Dropping it kills the process group and submits [`Job::Reap`], so a group
//! whose owner was cancelled, or never received it, is still cleaned up.

use crate::command::CommandLine;
use crate::leader::Leader;
use crate::signal::Signal;
use crate::spawn_error::SpawnError;
use rustix::event::{EventfdFlags, eventfd};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// What the spawner thread is asked to do.
pub(crate) enum Job {
    /// Fork and execute.
    Spawn { command: Arc<CommandLine>, reply: oneshot::Sender<Result<Spawned, SpawnError>> },
    /// Reap a leader that is dead or was sent `SIGKILL`, as soon as it is dead, and kill the rest of its process group.
    Reap { leader: Leader, done: Option<oneshot::Sender<()>> },
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Job::Spawn { command, .. } => write!(f, "Spawn({command})"),
            Job::Reap { leader, .. } => write!(f, "Reap({leader:?})"),
        }
    }
}

/// The queue that leads to the spawner thread.
#[derive(Debug)]
pub(crate) struct JobQueue {
    /// Bounded by the processes that are alive or being spawned: each submits one job at a time.
    jobs: Mutex<Vec<Job>>,
    /// Readable when there are jobs.
    wake: OwnedFd,
}

impl JobQueue {
    /// # Errors
    /// When there is no file descriptor left.
    pub(crate) fn new() -> io::Result<JobQueue> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(JobQueue { jobs: Mutex::default(), wake })
    }

    /// Appends a job and returns at once.
    pub(crate) fn submit(&self, job: Job) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job);
        // A write fails only if the counter is full, and then the thread has been woken already.
        let _full = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Removes and returns all jobs.
    pub(crate) fn take(&self) -> Vec<Job> {
        let mut count = [0; 8];
        let _empty = rustix::io::read(&self.wake, &mut count);
        std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the descriptor that is readable when there are jobs.
    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// A process group that has just been started.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) group: ProcessGroup,
    /// The read end of standard output, if it is captured.
    pub(crate) stdout: Option<OwnedFd>,
    /// The read end of standard error, if it is captured.
    pub(crate) stderr: Option<OwnedFd>,
}

/// The owner of a process group. Dropping it sends `SIGKILL` to all members and lets the spawner thread reap the
/// leader.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    /// `None` only while it is dropped or reaped.
    leader: Option<Leader>,
    queue: Arc<JobQueue>,
}

impl ProcessGroup {
    pub(crate) fn new(leader: Leader, queue: Arc<JobQueue>) -> ProcessGroup {
        ProcessGroup { leader: Some(leader), queue }
    }

    /// Returns the leader.
    pub(crate) fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// Hands the leader over to be reaped as soon as it is dead. The receiver completes when that is done.
    pub(crate) fn reap(mut self) -> oneshot::Receiver<()> {
        let (done, reaped) = oneshot::channel();
        if let Some(leader) = self.leader.take() {
            self.queue.submit(Job::Reap { leader, done: Some(done) });
        }
        reaped
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.leader.take() {
            let _no_member_left = leader.signal(Signal::KILL);
            self.queue.submit(Job::Reap { leader, done: None });
        }
    }
}
