//! The messages between a process group and the spawner thread: the jobs of the thread, and the leader that it reaps.
//!
//! A process id belongs to a process, dead or alive, until its parent reaps it; the leader's id is also the number of
//! its process group. While a [`Leader`] exists, that number cannot belong to other processes, so the process group may
//! be signalled. Only the spawner thread reaps, and only leaders that were passed to it.
//!
//! [`Job::Spawn`] returns a [`Spawned`], which contains a [`ProcessGroup`]. Dropping the `ProcessGroup` kills the
//! process group and submits [`Job::Reap`], so a group whose owner was cancelled, or never received it, is still
//! cleaned up.

use crate::command::CommandLine;
use crate::exit_watch::{Status, peek};
use crate::guardian::GuardianSlot;
use crate::os;
use crate::resolve::{Located, Prepared};
use crate::signal::Signal;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, getpgid, waitid};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// A value that the spawner thread drops when no process of the group is left and the leader was reaped.
pub(crate) struct WhenGone(Option<Box<dyn Send>>);

impl WhenGone {
    /// A `WhenGone` without a value.
    pub(crate) const NOTHING: WhenGone = WhenGone(None);

    pub(crate) fn new(value: impl Send + 'static) -> WhenGone {
        WhenGone(Some(Box::new(value)))
    }
}

impl fmt::Debug for WhenGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "WhenGone(..)" } else { "WhenGone" })
    }
}

/// A leader, alive or dead, that was not reaped.
#[derive(Debug)]
pub(crate) struct Leader {
    /// The leader's id, which is the number of the process group.
    pub(crate) pid: Pid,
    /// Refers to this leader and to no later process with the same id.
    pub(crate) pidfd: Arc<OwnedFd>,
    /// The entry of the process group in the guardian's list.
    pub(crate) slot: GuardianSlot,
}

impl Leader {
    /// Sends `signal` to every member of the process group, and to the leader even if it has left the process group.
    ///
    /// # Errors
    /// `ESRCH` when no member is left, `EPERM` when no member may be signalled.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let fd = self.pidfd.as_fd();
        let group = match os::signal_group_by_identity(fd, signal) {
            Err(error) if cannot_signal_by_identity(&error) => self.signal_by_number(signal),
            done => done,
        };
        if getpgid(Some(self.pid)).is_ok_and(|group| group != self.pid) {
            return os::signal_process(fd, signal);
        }
        group
    }

    /// Sends `signal` only to the leader.
    ///
    /// # Errors
    /// `ESRCH` when it is dead and was reaped, `EPERM` when it may not be signalled.
    pub(crate) fn signal_alone(&self, signal: Signal) -> io::Result<()> {
        os::signal_process(self.pidfd.as_fd(), signal)
    }

    /// Signals the group by number, if the kernel or a system call filter refuses the pidfd. After a lost status it sends
    /// nothing, because the number may belong to other processes.
    fn signal_by_number(&self, signal: Signal) -> io::Result<()> {
        match peek(self.pidfd.as_fd()) {
            Some(Status::Lost) => Err(Errno::SRCH.into()),
            _ => os::signal_group_by_number(self.pid, signal),
        }
    }

    /// Reaps the leader, which must be dead. From then on the number may belong to other processes.
    pub(crate) fn reap(self) {
        let _already_reaped =
            waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Returns `true` if the kernel, or a system call filter, cannot signal a process group by descriptor.
fn cannot_signal_by_identity(error: &io::Error) -> bool {
    let unknown = [Errno::INVAL, Errno::NOSYS, Errno::PERM];
    error.raw_os_error().is_some_and(|raw| unknown.contains(&Errno::from_raw_os_error(raw)))
}

/// A job for the spawner thread.
#[derive(Debug)]
pub(crate) enum Job {
    /// Fork and execute.
    Spawn {
        command: Arc<CommandLine>,
        prepared: Box<Prepared>,
        when_gone: WhenGone,
        reply: oneshot::Sender<Result<Spawned, Refused>>,
    },
    /// Answer a start whose fork is over.
    Forked {
        slot: GuardianSlot,
        result: Result<Forked, Refused>,
        when_gone: WhenGone,
        reply: oneshot::Sender<Result<Spawned, Refused>>,
    },
    /// Kill the rest of a group, and reap its leader when no process of the group is alive. The leader is dead or was
    /// sent `SIGKILL`.
    Reap(Reap),
}

/// A leader that will be reaped when it is dead, and the channel that reports the reaping.
#[derive(Debug)]
pub(crate) struct Reap {
    pub(crate) leader: Leader,
    pub(crate) when_gone: WhenGone,
    pub(crate) done: Option<oneshot::Sender<()>>,
}

/// The queue that leads to the spawner thread.
#[derive(Debug)]
pub(crate) struct JobQueue {
    /// At most one job for each requested start and each leader that was not reaped.
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

    /// Appends a job and returns immediately.
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

    /// Makes each exit of a child process wake the spawner thread, which calls this.
    pub(crate) fn wake_at_child_exits(&self) {
        if let Ok(copy) = self.wake.try_clone() {
            os::wake_at_child_exits(copy);
        }
    }

    /// Returns the descriptor that is readable when there are jobs.
    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// A fork or exec that the kernel refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) located: Located,
    pub(crate) source: io::Error,
}

/// A leader that has just been forked and has executed its program.
#[derive(Debug)]
pub(crate) struct Forked {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    /// The write end of an input that stays open.
    pub(crate) stdin: Option<OwnedFd>,
    /// The read ends of the captured outputs.
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// A process group that has just been started.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) group: ProcessGroup,
    /// The write end of an input that stays open.
    pub(crate) stdin: Option<OwnedFd>,
    /// The read ends of the captured outputs.
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// The owner of a process group. Dropping it sends `SIGKILL` to all members and lets the spawner thread reap the
/// leader when no member is alive.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    /// `None` only while it is dropped or reaped.
    leader: Option<Leader>,
    when_gone: WhenGone,
    queue: Arc<JobQueue>,
}

impl ProcessGroup {
    pub(crate) fn new(leader: Leader, when_gone: WhenGone, queue: Arc<JobQueue>) -> ProcessGroup {
        ProcessGroup { leader: Some(leader), when_gone, queue }
    }

    /// Returns the leader.
    pub(crate) fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// Lets the spawner thread reap the leader as soon as the leader is dead. The receiver completes after that.
    pub(crate) fn reap(mut self) -> oneshot::Receiver<()> {
        let (done, reaped) = oneshot::channel();
        if let Some(leader) = self.leader.take() {
            let when_gone = std::mem::replace(&mut self.when_gone, WhenGone::NOTHING);
            self.queue.submit(Job::Reap(Reap { leader, when_gone, done: Some(done) }));
        }
        reaped
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.leader.take() {
            let _no_member_left = leader.signal(Signal::KILL);
            let when_gone = std::mem::replace(&mut self.when_gone, WhenGone::NOTHING);
            self.queue.submit(Job::Reap(Reap { leader, when_gone, done: None }));
        }
    }
}
