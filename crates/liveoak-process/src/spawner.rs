//! The spawner thread, `liveoak-spawn`: the only thread that decides about forks and reaps.
//!
//! `PR_SET_PDEATHSIG` refers to the *thread* that forked (`prctl(2)`: "the parent is the thread that created this
//! process"). A child process forked on a thread of an executor would die when that thread ends. So all child processes
//! are forked on threads that never end ([`Forkers`]): they outlive every runtime, and a panic in them is caught. The
//! spawner thread owns the guardian and reaps all leaders, because a process group must leave the guardian's list before
//! its leader is reaped.
//!
//! The thread runs nothing that can hang. The program file was looked up before, on another thread. The fork and the exec
//! can hang, on a file system whose server went away after the look-up; then only their own thread hangs. Panics of log
//! lines and wakers are caught.

use crate::command::{CommandLine, OutputMode, Stdin};
use crate::exit_watch::peek;
use crate::file_limit::limit_of_children;
use crate::forker::Forkers;
use crate::guardian::{Guardian, GuardianSlot};
use crate::jobs::{Forked, Job, JobQueue, Leader, ProcessGroup, Reap, Refused, Spawned};
use crate::log::{catch, log};
use crate::os::ChildSetup;
use crate::resolve::Prepared;
use crate::signal::Signal;
use crate::spawn_error::SpawnError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// The pause if `poll(2)` fails, so that the thread does not spin.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// The queue of the current process's spawner thread, once that is started.
static QUEUE: Mutex<Option<Arc<JobQueue>>> = Mutex::new(None);

/// Returns the queue of the current process's spawner thread; the first call starts the thread.
///
/// # Errors
/// When the system has no thread or file descriptor left.
pub(crate) fn queue() -> Result<Arc<JobQueue>, SpawnError> {
    let mut known = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(queue) = &*known {
        return Ok(queue.clone());
    }
    let limit = |source| SpawnError::ResourceLimit { source };
    let queue = Arc::new(JobQueue::new().map_err(limit)?);
    let thread = SpawnerThread::new(queue.clone(), Forkers::start().map_err(limit)?);
    std::thread::Builder::new().name("liveoak-spawn".into()).spawn(move || thread.run()).map_err(limit)?;
    *known = Some(queue.clone());
    Ok(queue)
}

/// The state of the thread.
struct SpawnerThread {
    queue: Arc<JobQueue>,
    forkers: Forkers,
    guardian: Guardian,
    /// Bounded by the living processes.
    pending: Vec<Reap>,
}

impl SpawnerThread {
    fn new(queue: Arc<JobQueue>, forkers: Forkers) -> SpawnerThread {
        SpawnerThread { queue, forkers, guardian: Guardian::new(), pending: Vec::new() }
    }

    /// Never returns: all child processes would die with this thread.
    fn run(mut self) {
        loop {
            let jobs = AssertUnwindSafe(|| self.run_jobs());
            if catch_unwind(jobs).is_err() {
                log(|| {
                    tracing::error!(
                        "a bug in liveoak: the thread that starts processes panicked; it continues with the next job"
                    );
                });
            }
        }
    }

    /// Waits for something to do, and does it.
    fn run_jobs(&mut self) {
        if self.wait() {
            self.guardian.replace_dead();
        }
        for job in self.queue.take() {
            match job {
                Job::Spawn { command, prepared, reply } if reply.is_closed() => {
                    catch_waker_panic(|| drop((command, prepared, reply)));
                }
                Job::Spawn { command, prepared, reply } => self.spawn(command, *prepared, reply),
                Job::Forked { slot, result, reply } => self.forked(slot, result, reply),
                Job::Reap(reap) => self.pending.push(reap),
            }
        }
        let (dead, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<Vec<Reap>, _>(|reap| peek(reap.leader.pidfd.as_fd()).is_some());
        self.pending = pending;
        dead.into_iter().for_each(|reap| self.reap(reap));
    }

    /// Waits until there is a job, a pending leader has died, or the guardian has died. Returns `true` for the
    /// guardian.
    fn wait(&self) -> bool {
        let wake = self.queue.wake_fd();
        let mut all = vec![PollFd::new(&wake, PollFlags::IN)];
        all.extend(self.pending.iter().map(|reap| PollFd::new(&*reap.leader.pidfd, PollFlags::IN)));
        let leaders_end = all.len();
        let guardian = self.guardian.pidfd();
        all.extend(guardian.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = self.forkers.go_on().and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut all, timeout.as_ref()) {
            Ok(_) => all.get(leaders_end).is_some_and(|guardian| !guardian.revents().is_empty()),
            Err(rustix::io::Errno::INTR) => false,
            Err(_) => {
                std::thread::sleep(POLL_PAUSE);
                false
            }
        }
    }

    /// Cleans up after a dead leader: kills the rest of its process group, unlists the group, and only then reaps the
    /// leader, which frees the group's number.
    fn reap(&mut self, Reap { leader, done }: Reap) {
        let _no_member_left = leader.signal(Signal::KILL);
        self.guardian.release(leader.slot);
        leader.reap();
        if let Some(done) = done {
            send(done, ());
        }
    }

    /// Lets a thread fork a program that was looked up.
    fn spawn(&mut self, command: Arc<CommandLine>, prepared: Prepared, reply: Reply) {
        self.guardian.ensure_running();
        let (slot, guardian) = (self.guardian.reserve(), self.guardian.pipe());
        let queue = self.queue.clone();
        self.forkers.submit(Box::new(move || {
            let located = prepared.located.clone();
            let forked = catch_unwind(AssertUnwindSafe(|| fork(&command, prepared, guardian, slot)));
            let panicked = |_| {
                Err(Refused { located, source: io::Error::other("the fork panicked (a bug in liveoak)") })
            };
            queue.submit(Job::Forked { slot, result: forked.unwrap_or_else(panicked), reply });
        }));
    }

    /// Answers a start whose fork is over, and updates the guardian's list.
    fn forked(&mut self, slot: GuardianSlot, result: Result<Forked, Refused>, reply: Reply) {
        let spawned = match result {
            Ok(Forked { pid, pidfd, stdout, stderr }) => {
                self.guardian.confirm(slot, pid);
                let leader = Leader { pid, pidfd: Arc::new(pidfd), slot };
                Ok(Spawned { group: ProcessGroup::new(leader, self.queue.clone()), stdout, stderr })
            }
            Err(refused) => {
                self.guardian.release(slot);
                Err(refused)
            }
        };
        // If the receiver was dropped meanwhile, the reply is dropped here, which kills the process group.
        send(reply, spawned);
    }
}

/// The channel that leads to the future that starts a program.
type Reply = oneshot::Sender<Result<Spawned, Refused>>;

/// Forks, and waits until the new process has executed the program. This may hang.
fn fork(
    command: &CommandLine,
    Prepared { located, exec }: Prepared,
    guardian: Option<OwnedFd>,
    slot: GuardianSlot,
) -> Result<Forked, Refused> {
    let mut builder = process::Command::new(&located.program);
    if let Some(cwd) = &located.cwd {
        builder.current_dir(cwd);
    }
    builder.process_group(0).stdin(match command.stdin {
        Stdin::Null => Stdio::null(),
        Stdin::Inherit => Stdio::inherit(),
    });
    builder.stdout(stdio(command.stdout)).stderr(stdio(command.stderr));
    let pipe = guardian.as_ref().map(|pipe| (pipe.as_raw_fd(), slot.0));
    let open_file_limit = limit_of_children();
    ChildSetup { exec, parent: getpid(), guardian: pipe, open_file_limit }.install(&mut builder);

    let mut child = match builder.spawn() {
        Ok(child) => child,
        Err(source) => return Err(Refused { located, source }),
    };
    let pid = Pid::from_child(&child);
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => {
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            Ok(Forked { pid, pidfd, stdout: stdout.map(Into::into), stderr: stderr.map(Into::into) })
        }
        Err(error) => {
            // The child process was not reaped yet, so the number still belongs to its process group.
            let _already_dead = crate::os::signal_group_by_number(pid, Signal::KILL);
            let _status = child.wait();
            Err(Refused { located, source: error.into() })
        }
    }
}

/// Sends an answer. If the receiver is gone, the answer is dropped.
fn send<T>(reply: oneshot::Sender<T>, answer: T) {
    catch_waker_panic(|| drop(reply.send(answer)));
}

/// Runs `job`, which may call a waker of a user's executor. If that panics, the other jobs of this turn must not be
/// lost.
fn catch_waker_panic(job: impl FnOnce()) {
    if !catch(job) {
        log(|| {
            tracing::error!(
                "the waker of a future that waits for a process panicked; liveoak continues, but look for the panic in the executor of that future"
            );
        });
    }
}

fn stdio(mode: OutputMode) -> Stdio {
    match mode {
        OutputMode::Capture => Stdio::piped(),
        OutputMode::Inherit => Stdio::inherit(),
        OutputMode::Null => Stdio::null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::prepare;
    use std::pin::Pin;
    use std::task::{Context, Poll, Wake, Waker};

    struct PanickingWaker;

    impl Wake for PanickingWaker {
        fn wake(self: Arc<Self>) {
            panic!("a panic in a waker, raised by the test");
        }
    }

    /// Returns the receiver after polling it with a waker that panics.
    fn with_panicking_waker<T>(mut answer: oneshot::Receiver<T>) -> oneshot::Receiver<T> {
        let waker = Waker::from(Arc::new(PanickingWaker));
        let first = Future::poll(Pin::new(&mut answer), &mut Context::from_waker(&waker));
        assert!(matches!(first, Poll::Pending), "there is no answer yet");
        answer
    }

    #[tokio::test]
    async fn a_panicking_waker_loses_neither_a_spawn_nor_a_reaping() {
        let queue = Arc::new(JobQueue::new().unwrap());
        let mut thread = SpawnerThread::new(queue.clone(), Forkers::start().unwrap());
        let submit = async || {
            let (reply, answer) = oneshot::channel();
            let command = Arc::new(CommandLine::argv(["sleep", "1000"]));
            let prepared = Box::new(prepare(&command).await.unwrap());
            queue.submit(Job::Spawn { command, prepared, reply });
            (answer,)
        };
        let answers = [
            with_panicking_waker(submit().await.0),
            submit().await.0,
            with_panicking_waker(submit().await.0),
            submit().await.0,
        ];
        let mut answers = answers.map(|answer| (answer, None));
        while answers.iter().any(|(_, answered)| answered.is_none()) {
            // The first turn hands the forks over; each fork that is over is a further job.
            thread.run_jobs();
            for (answer, answered) in &mut answers {
                *answered = answered.take().or_else(|| answer.try_recv().ok());
            }
        }
        let groups = answers.map(|(_, answered)| answered.expect("an answer").unwrap().group);
        for leader in groups.iter().filter_map(ProcessGroup::leader) {
            leader.signal(Signal::KILL).unwrap();
            while peek(leader.pidfd.as_fd()).is_none() {
                std::thread::yield_now();
            }
        }
        let [a, b, c, d] = groups.map(ProcessGroup::reap);
        let reaped = [with_panicking_waker(a), b, with_panicking_waker(c), d];
        thread.run_jobs();
        assert!(reaped.map(|mut reaped| reaped.try_recv().is_ok()).iter().all(|&reaped| reaped));
    }
}
