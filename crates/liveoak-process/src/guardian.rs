//! The guardian: a small shell process that kills all process groups when the process that runs the tree has died.
//!
//! The kernel's parent-death signal reaches only the direct child process; processes that the child started live on.
//! Therefore the first spawn also starts a `/bin/sh` in a session of its own. It reads the list of living process
//! groups from a pipe. Only the process that runs the tree has the write end of this pipe. When that process ends in
//! any way, even by `kill -9`, the kernel closes the write end. The shell then sends `SIGKILL` to every listed process
//! group, and exits. The last word of its command line is the process id of the process that runs the tree.
//!
//! If the guardian and the process that runs the tree are killed together, only the direct child processes die. If the
//! guardian is suspended (`SIGSTOP`) when that process is killed, the processes that the child processes started live
//! until the guardian is resumed.
//!
//! The guardian runs as the same user as the process that runs the tree. So it cannot kill a program that became
//! another user either. Such a process group stays listed until its last process is gone (invariant 2). When a kill is
//! refused, the guardian continues with the next group.
//!
//! Invariants:
//!
//! 1. A process group is listed before the first instruction of its program: the child process writes the line itself,
//!    before its exec. The parent writes it once more, in case the child could not.
//! 2. A process group is unlisted before its leader is reaped, and the leader is reaped only when no process of the
//!    group is alive (or `/proc` cannot be read). After that the number may belong to other processes.
//! 3. The write end of a guardian's pipe is closed only when that guardian is known to be dead. Closing it earlier
//!    would make the guardian kill every living process group.
//! 4. A guardian that is dead, or does not read for [`READ_PATIENCE`], is replaced, and the new one gets the whole
//!    list.

use crate::log::log;
use crate::os;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{self, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Reads `+ SLOT GROUP` and `- SLOT` until end of file, then kills the process groups that are still listed. Each
/// slot is one shell variable: adding and removing take constant time. The final loop uses only shell built-ins.
const SCRIPT: &str = r#"# liveoak guardian: kills the process groups of the program that started it, once that program is gone
last=0
while read -r op slot group; do
    case $op in
    +) eval "g$slot=\$group"; [ "$slot" -gt "$last" ] && last=$slot ;;
    -) unset "g$slot" ;;
    esac
done
while [ "$last" -ge 0 ]; do
    eval "group=\${g$last-}"
    [ -n "$group" ] && kill -s KILL -- "-$group"
    last=$((last - 1))
done
"#;

/// How long a pipe may stay full before its guardian counts as dead. (A pipe is full after about 4,000 unread lines.)
const READ_PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How long a killed guardian may take to die. If it takes longer, its pipe is leaked and not closed (invariant 3).
const DEATH_PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A guardian that lived for less than this died quickly. The value is above [`READ_PATIENCE`], so that the death of a
/// guardian that never reads counts as quick too.
const QUICK_DEATH: Duration = Duration::from_secs(5);

/// The program that runs the script.
const SHELL: &str = "/bin/sh";

/// After this many quick deaths in a row no further guardian is started.
const MAX_QUICK_DEATHS: u32 = 5;

/// The running guardian's process id for [`guardian_id`]; 0 if there is none.
static GUARDIAN_ID: AtomicU32 = AtomicU32::new(0);

/// Returns the process id of the current process's guardian, or `None` before the first spawn and if no guardian could
/// be started.
pub fn guardian_id() -> Option<u32> {
    Some(GUARDIAN_ID.load(Ordering::Relaxed)).filter(|&id| id != 0)
}

/// The number of an entry in the guardian's list. It is reused after its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuardianSlot(pub(crate) u32);

/// The content of a slot.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Free,
    /// Given to a spawn that is in progress.
    Reserved,
    Group(Pid),
}

/// The list of living process groups, and the guardian process, which has a copy. Owned by the spawner thread.
pub(crate) struct Guardian {
    /// The entries by slot number. The length is the largest number of process groups that ever lived at the same time.
    entries: Vec<Entry>,
    running: Option<GuardianProcess>,
    quick_deaths: u32,
    /// `true` if there is no shell, or if the guardian died quickly too often. No further guardian is started.
    given_up: bool,
    /// `true` if the warning that there is no guardian was logged.
    warned: bool,
}

struct GuardianProcess {
    process: process::Child,
    pidfd: OwnedFd,
    /// The write end of the pipe: non-blocking, close-on-exec.
    pipe: OwnedFd,
    started: Instant,
}

impl Guardian {
    pub(crate) fn new() -> Guardian {
        Guardian { entries: Vec::new(), running: None, quick_deaths: 0, given_up: false, warned: false }
    }

    /// Starts a guardian if none is running.
    pub(crate) fn ensure_running(&mut self) {
        while self.running.is_none() && !self.given_up {
            match GuardianProcess::start() {
                Ok(running) => {
                    GUARDIAN_ID.store(running.process.id(), Ordering::Relaxed);
                    self.running = Some(running);
                    self.send_whole_list();
                }
                Err(error) => {
                    self.given_up = error.kind() == io::ErrorKind::NotFound;
                    return self.warn_once(&error);
                }
            }
        }
    }

    fn warn_once(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.warned, true) {
            let error = error.to_string();
            log(move || {
                tracing::warn!(
                    %error,
                    "no guardian process ({error}): if this program is killed with kill -9, its child processes die, but processes that \
                     those started may survive; look for them with ps"
                );
            });
        }
    }

    /// Returns the guardian's pidfd, which is readable when the guardian has died.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.pidfd.as_fd())
    }

    /// Returns `true` if the process is the guardian itself, or the leader of a listed process group.
    pub(crate) fn is_listed(&self, pid: Pid) -> bool {
        let guardian = self.running.as_ref().map(|running| Pid::from_child(&running.process));
        guardian == Some(pid)
            || self.entries.iter().any(|entry| matches!(entry, Entry::Group(group) if *group == pid))
    }

    /// Returns a copy of the write end of the guardian's pipe, to which a new child process writes its own line. Without a
    /// copy, only this process writes the line.
    pub(crate) fn pipe(&self) -> Option<OwnedFd> {
        self.running.as_ref().and_then(|running| running.pipe.try_clone().ok())
    }

    /// Reaps a guardian that died, and starts another unless too many died quickly in a row.
    pub(crate) fn replace_dead(&mut self) {
        if let Some(running) = self.running.take() {
            let lived = running.started.elapsed();
            running.reap();
            GUARDIAN_ID.store(0, Ordering::Relaxed);
            self.quick_deaths = if lived < QUICK_DEATH { self.quick_deaths + 1 } else { 0 };
            if self.quick_deaths >= MAX_QUICK_DEATHS {
                self.given_up = true;
                self.warn_once(&io::Error::other("it died right after its start, several times in a row"));
            }
        }
        self.ensure_running();
    }

    /// Returns a slot for a spawn that is about to happen. The caller must confirm or release it.
    pub(crate) fn reserve(&mut self) -> GuardianSlot {
        let free = self.entries.iter().position(|entry| matches!(entry, Entry::Free));
        let index = free.unwrap_or_else(|| {
            self.entries.push(Entry::Free);
            self.entries.len() - 1
        });
        self.entries[index] = Entry::Reserved;
        GuardianSlot(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Lists `group` in `slot`, after the spawn succeeded.
    pub(crate) fn confirm(&mut self, slot: GuardianSlot, group: Pid) {
        self.entries[slot.0 as usize] = Entry::Group(group);
        self.send(&listing(slot, group));
    }

    /// Unlists the process group in `slot`: the spawn failed, or the leader is about to be reaped (invariant 2).
    pub(crate) fn release(&mut self, slot: GuardianSlot) {
        self.entries[slot.0 as usize] = Entry::Free;
        self.send(&format!("- {}\n", slot.0));
    }

    fn send_whole_list(&mut self) {
        let lines = self.entries.iter().enumerate().filter_map(|(index, entry)| match entry {
            Entry::Group(group) => Some(listing(GuardianSlot(u32::try_from(index).ok()?), *group)),
            Entry::Free | Entry::Reserved => None,
        });
        for line in lines.collect::<Vec<_>>() {
            // After a failed write the next guardian gets the whole list, so stop here.
            if !self.send(&line) {
                return;
            }
        }
    }

    /// Writes one line. If the guardian cannot be written to, replaces it and returns `false`.
    fn send(&mut self, line: &str) -> bool {
        let Some(running) = &mut self.running else { return true };
        if running.write(line).is_ok() {
            return true;
        }
        // Kill it first: the pipe of a living guardian must not be closed (invariant 3).
        let _already_dead = running.process.kill();
        self.replace_dead();
        false
    }
}

/// Returns the line that lists `group`.
fn listing(slot: GuardianSlot, group: Pid) -> String {
    format!("+ {} {}\n", slot.0, group.as_raw_nonzero())
}

impl GuardianProcess {
    fn start() -> io::Result<GuardianProcess> {
        let (read, pipe) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // The read end stays blocking: the shell would take EAGAIN for the end of the file.
        rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        let mut command = process::Command::new(SHELL);
        command
            .args(["-c", SCRIPT, "liveoak-guardian", &process::id().to_string()])
            .env_clear()
            .env("PATH", "/bin:/usr/bin")
            .current_dir("/");
        command.stdin(read).stdout(Stdio::null()).stderr(Stdio::null());
        os::detach_guardian(&mut command);
        let mut process = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run {SHELL}, with /dev/null as its output: {error}"))
        })?;
        let pid = Pid::from_child(&process);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(GuardianProcess { process, pidfd, pipe, started: Instant::now() }),
            Err(error) => {
                process.kill()?;
                process.wait()?;
                Err(error.into())
            }
        }
    }

    /// Writes one line. Lines are far shorter than `PIPE_BUF`, so each is written whole or not at all (`pipe(7)`).
    fn write(&mut self, line: &str) -> io::Result<()> {
        loop {
            match rustix::io::write(&self.pipe, line.as_bytes()) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let mut wait = [PollFd::new(&self.pipe, PollFlags::OUT)];
                    match poll(&mut wait, Some(&READ_PATIENCE)) {
                        Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                        // A signal is not a reason to replace the guardian.
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reaps a guardian that is dead or was sent `SIGKILL`.
    fn reap(mut self) {
        let mut wait = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let mut died = || loop {
            match poll(&mut wait, Some(&DEATH_PATIENCE)) {
                Err(rustix::io::Errno::INTR) => {}
                polled => return matches!(polled, Ok(1)),
            }
        };
        if died() {
            let _status = self.process.wait();
        } else {
            // Invariant 3: an open pipe is a small leak, a closed one would kill every process group.
            std::mem::forget(self.pipe);
        }
    }
}
