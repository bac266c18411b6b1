//! The guardian: one small shell per program that kills the program's process groups when the program is gone.
//!
//! The kernel's parent-death signal reaches the direct child only; what that child started lives on. So the first spawn
//! also starts a `/bin/sh` in a session of its own that reads, from a pipe of which only this program has the other
//! end, which groups are alive. However the program ends, `kill -9` included, the kernel closes that end; the shell
//! reads end-of-file, sends `SIGKILL` to every group still listed, and exits. It costs nothing while it waits. The last
//! word of its command line is the process id of the program it stands for.
//!
//! What it does not do: find processes that left their group (`setsid`), or help when somebody kills the guardian and
//! the program in the same instant, or suspends the guardian (`SIGSTOP`) and then kills the program: then its direct
//! children end, and what they started lives until the guardian goes on.
//!
//! Invariants:
//!
//! 1. A group is listed before its program's first instruction: the child writes the line itself, before its exec.
//!    The parent writes it once more, for the case that the child could not.
//! 2. A group is unlisted before its leader is reaped, because from then on the number may belong to another.
//! 3. The write end of a guardian's pipe is closed only when that guardian is known to be dead. Closing it earlier would
//!    tell it to kill every living group.
//! 4. A guardian that is dead, or does not read for [`READ_PATIENCE`], is replaced, and the new one gets the whole list.

use crate::os;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::{self, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Reads `+ SLOT GROUP` and `- SLOT` until end of file, then kills what is left. A slot is a shell variable, so both
/// lines cost the same with one group or a thousand, and the last loop needs neither a fork nor a file.
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

/// How long a full pipe is waited for before its guardian counts as dead. The pipe holds some 4,000 lines.
const READ_PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How long a killed guardian may take to disappear. If it takes longer, its pipe is leaked rather than closed
/// (invariant 3).
const DEATH_PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A guardian that lived shorter than this did not work. Longer than [`READ_PATIENCE`], so that one that never reads counts.
const QUICK_DEATH: Duration = Duration::from_secs(5);

/// After this many quick deaths in a row no further guardian is started.
const MAX_QUICK_DEATHS: u32 = 5;

/// The running guardian's process id for [`guardian_id`], 0 for none.
static GUARDIAN_ID: AtomicU32 = AtomicU32::new(0);

/// The process id of this program's guardian, the small shell that kills all process groups of this program once the
/// program is gone. `None` before the first spawn, and where no guardian could be started.
pub fn guardian_id() -> Option<u32> {
    Some(GUARDIAN_ID.load(Ordering::Relaxed)).filter(|&id| id != 0)
}

/// A place in the guardian's list, reused after its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// What a slot holds.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Free,
    /// Given to a spawn that is under way.
    Reserved,
    Group(Pid),
}

/// The list of living groups and the process that knows it too. Owned by the spawner thread.
pub(crate) struct Guardian {
    /// By slot number; as long as the most groups that ever lived at once.
    entries: Vec<Entry>,
    running: Option<Running>,
    quick_deaths: u32,
    /// No shell, or one that does not work: nothing further is tried.
    given_up: bool,
    /// Whether the log already says that there is no guardian.
    warned: bool,
}

struct Running {
    process: process::Child,
    pidfd: OwnedFd,
    /// The write end, non-blocking, close-on-exec.
    lines: OwnedFd,
    since: Instant,
}

impl Guardian {
    pub(crate) fn new() -> Guardian {
        Guardian { entries: Vec::new(), running: None, quick_deaths: 0, given_up: false, warned: false }
    }

    /// Starts a guardian if there is none.
    pub(crate) fn ensure(&mut self) {
        while self.running.is_none() && !self.given_up {
            match Running::start() {
                Ok(running) => {
                    GUARDIAN_ID.store(running.process.id(), Ordering::Relaxed);
                    self.running = Some(running);
                    self.list_again();
                }
                Err(error) => {
                    self.given_up = error.kind() == io::ErrorKind::NotFound;
                    return self.warn(&error);
                }
            }
        }
    }

    fn warn(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                %error,
                "no guardian: if this program is killed, its direct child processes die with it, but what those started may live on"
            );
        }
    }

    /// Readable when the guardian has died.
    pub(crate) fn death(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.pidfd.as_fd())
    }

    /// Where a new child announces itself.
    pub(crate) fn lines(&self) -> Option<RawFd> {
        self.running.as_ref().map(|running| running.lines.as_raw_fd())
    }

    /// Collects a guardian that died and starts another.
    pub(crate) fn died(&mut self) {
        if let Some(running) = self.running.take() {
            let lived = running.since.elapsed();
            running.bury();
            GUARDIAN_ID.store(0, Ordering::Relaxed);
            self.quick_deaths = if lived < QUICK_DEATH { self.quick_deaths + 1 } else { 0 };
            if self.quick_deaths >= MAX_QUICK_DEATHS {
                self.given_up = true;
                self.warn(&io::Error::other("it died again and again right after its start"));
            }
        }
        self.ensure();
    }

    /// A slot for a spawn that is about to happen. It must be confirmed or released.
    pub(crate) fn reserve(&mut self) -> Slot {
        let free = self.entries.iter().position(|entry| matches!(entry, Entry::Free));
        let index = free.unwrap_or_else(|| {
            self.entries.push(Entry::Free);
            self.entries.len() - 1
        });
        self.entries[index] = Entry::Reserved;
        Slot(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The spawn succeeded: `group` lives in `slot`.
    pub(crate) fn confirm(&mut self, slot: Slot, group: Pid) {
        self.entries[slot.0 as usize] = Entry::Group(group);
        self.tell(&listing(slot, group));
    }

    /// The spawn failed, or the group is gone and its leader about to be reaped.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.entries[slot.0 as usize] = Entry::Free;
        self.tell(&format!("- {}\n", slot.0));
    }

    fn list_again(&mut self) {
        let lines = self.entries.iter().enumerate().filter_map(|(index, entry)| match entry {
            Entry::Group(group) => Some(listing(Slot(u32::try_from(index).ok()?), *group)),
            Entry::Free | Entry::Reserved => None,
        });
        for line in lines.collect::<Vec<_>>() {
            // A failure replaces the guardian, which lists everything again: this list is then served.
            if !self.tell(&line) {
                return;
            }
        }
    }

    /// Writes one line; replaces a guardian that can not be written to. `false` when it was replaced.
    fn tell(&mut self, line: &str) -> bool {
        let Some(running) = &mut self.running else { return true };
        if running.write(line).is_ok() {
            return true;
        }
        // Killed first, so that `died` finds it dead and may close its pipe.
        let _gone_already = running.process.kill();
        self.died();
        false
    }
}

fn listing(slot: Slot, group: Pid) -> String {
    format!("+ {} {}\n", slot.0, group.as_raw_nonzero())
}

impl Running {
    fn start() -> io::Result<Running> {
        let (read, lines) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // Only this end: the other is an open file of its own, and the shell would take EAGAIN for the end.
        rustix::fs::fcntl_setfl(&lines, OFlags::NONBLOCK)?;
        let mut command = process::Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "liveoak-guardian", &process::id().to_string()])
            .env_clear()
            .env("PATH", "/bin:/usr/bin")
            .current_dir("/");
        command.stdin(read).stdout(Stdio::null()).stderr(Stdio::null());
        os::detach_guardian(&mut command);
        let mut process = command.spawn()?;
        let pid = Pid::from_child(&process);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Running { process, pidfd, lines, since: Instant::now() }),
            Err(error) => {
                process.kill()?;
                process.wait()?;
                Err(error.into())
            }
        }
    }

    /// Lines are far below `PIPE_BUF`, so each is written whole or not at all (`pipe(7)`).
    fn write(&mut self, line: &str) -> io::Result<()> {
        loop {
            match rustix::io::write(&self.lines, line.as_bytes()) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let mut wait = [PollFd::new(&self.lines, PollFlags::OUT)];
                    if poll(&mut wait, Some(&READ_PATIENCE))? == 0 {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reaps a guardian that is dead or was sent `SIGKILL`.
    fn bury(mut self) {
        let mut wait = [PollFd::new(&self.pidfd, PollFlags::IN)];
        if matches!(poll(&mut wait, Some(&DEATH_PATIENCE)), Ok(1)) {
            let _status = self.process.wait();
        } else {
            // Invariant 3: an open pipe is a small leak, a closed one would kill every group.
            std::mem::forget(self.lines);
        }
    }
}
