//! The leader of a process group, for as long as it is not reaped.
//!
//! A process id belongs to a process, dead or alive, until its parent reaps it; the leader's id is also the number of
//! its process group. While a [`Leader`] exists, that number cannot belong to other processes, so the process group may
//! be signalled. Only the spawner thread reaps, and only leaders that were handed over to it.
//!
//! It does not stand for the other members: they may live on after the leader (`members.rs` looks for them).

use crate::guardian::GuardianSlot;
use crate::os;
use crate::signal::Signal;
use crate::status::Status;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, getpgid, waitid};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

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
    /// `ESRCH` when no member is left, `EPERM` when no member may be signalled, `EINVAL` for a signal the kernel does
    /// not know.
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

    /// Does the same on kernels before 6.9. After a lost status the number may belong to other processes.
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

/// Returns how the process behind `pidfd`, a child process of this program, ended, or `None` while it runs. Does not
/// reap it.
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
