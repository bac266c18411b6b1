//! The token of a living group: whoever owns it may signal the group by number, and dropping it kills the group.
//!
//! A process id belongs to a process until its parent reaps it, dead or alive. The leader's id is the group's number
//! too. So as long as the leader is not reaped, the number can not belong to another, and only the spawner thread
//! reaps, and only what a dropped or finished [`Leader`] handed over to it.

use crate::guardian::Slot;
use crate::os;
use crate::signal::Signal;
use crate::spawner::{Job, Spawner};
use crate::status::Status;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, getpgid, waitid};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A leader that was not reaped.
#[derive(Debug)]
pub(crate) struct Body {
    /// The leader's id, which is the group's number.
    pub(crate) pid: Pid,
    /// The leader's identity.
    pub(crate) pidfd: Arc<OwnedFd>,
    /// Its place in the guardian's list.
    pub(crate) slot: Slot,
}

impl Body {
    /// Sends `signal` to every member of the group, and to the leader should it have left its group.
    ///
    /// # Errors
    /// `ESRCH` when nobody is left, `EPERM` when nobody may be signalled, `EINVAL` for a signal the kernel does not know.
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

    /// For kernels before 6.9. Only while the number is certainly ours.
    fn signal_by_number(&self, signal: Signal) -> io::Result<()> {
        match peek(self.pidfd.as_fd()) {
            Some(Status::Lost) => Err(Errno::SRCH.into()),
            _ => os::signal_group_by_number(self.pid, signal),
        }
    }

    /// Collects the leader, which must be dead. From here on the number is not ours.
    pub(crate) fn reap(self) {
        let _already_taken =
            waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Whether the kernel (or a filter in front of it) has no way to signal a group by descriptor.
fn cannot_signal_by_identity(error: &io::Error) -> bool {
    let unknown = [Errno::INVAL, Errno::NOSYS, Errno::PERM];
    error.raw_os_error().is_some_and(|raw| unknown.contains(&Errno::from_raw_os_error(raw)))
}

/// How the process behind `pidfd`, a child of this program, ended: `None` while it runs. Reaps nothing.
pub(crate) fn peek(pidfd: BorrowedFd<'_>) -> Option<Status> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::PidFd(pidfd), options) {
            Ok(status) => return status.as_ref().map(status_of),
            Err(Errno::INTR) => {}
            Err(_) => return Some(Status::Lost),
        }
    }
}

fn status_of(status: &WaitIdStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status::Code(code),
        (None, Some(signal)) => {
            Status::Signal { signal: Signal::reported(signal), core_dumped: status.dumped() }
        }
        (None, None) => Status::Lost,
    }
}

/// The owner of a living group. Dropping it sends `SIGKILL` to the whole group and has the leader reaped elsewhere.
#[derive(Debug)]
pub(crate) struct Leader {
    /// `None` only while being dropped or reaped.
    body: Option<Body>,
    spawner: Arc<Spawner>,
}

impl Leader {
    pub(crate) fn new(body: Body, spawner: Arc<Spawner>) -> Leader {
        Leader { body: Some(body), spawner }
    }

    /// The living group.
    pub(crate) fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// Hands the leader over to be reaped as soon as it is dead. The receiver hears when that is done.
    pub(crate) fn reap(mut self) -> oneshot::Receiver<()> {
        let (done, heard) = oneshot::channel();
        if let Some(body) = self.body.take() {
            self.spawner.submit(Job::Reap { body, done: Some(done) });
        }
        heard
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            let _nobody_left = body.signal(Signal::KILL);
            self.spawner.submit(Job::Reap { body, done: None });
        }
    }
}
