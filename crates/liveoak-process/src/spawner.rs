//! The spawner thread, `liveoak-spawn`: starts and reaps all child processes.
//!
//! `PR_SET_PDEATHSIG` refers to the *thread* that forked (`prctl(2)`: "the parent is the thread that created this
//! process"). A child process forked on a thread of an executor would die when that thread ends. So all child processes
//! are forked on threads that never end ([`Forkers`]). The spawner thread never ends either: it outlives every runtime,
//! and a panic in it is caught. It owns the guardian and reaps all leaders, because a process group must leave the
//! guardian's list before its leader is reaped.
//!
//! The thread runs nothing that can hang. The program file was looked up before, on another thread. A fork can still
//! hang, if the file system stops answering after the look-up, but only on its own thread. Panics of wakers are caught.

use crate::command::{CommandLine, OutputMode, Stdin};
use crate::exit_watch::peek;
use crate::file_limit::limit_of_children;
use crate::forker::Forkers;
use crate::guardian::{Guardian, GuardianSlot};
use crate::jobs::{Forked, Job, JobQueue, Leader, ProcessGroup, Reap, Refused, Spawned, WhenGone};
use crate::log::{catch, log};
use crate::members;
use crate::orphans;
use crate::os::{self, ChildSetup};
use crate::resolve::Prepared;
use crate::signal::Signal;
use crate::spawn_error::SpawnError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, getpid, pidfd_open, waitid};
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

/// The pause before the members of a group are looked up again when there is no descriptor left to watch them.
const UNWATCHED_PAUSE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

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
    check_kernel()?;
    let queue = Arc::new(JobQueue::new().map_err(limit)?);
    os::keep_exit_statuses();
    let thread = SpawnerThread::new(queue.clone(), Forkers::start().map_err(limit)?);
    std::thread::Builder::new().name("liveoak-spawn".into()).spawn(move || thread.run()).map_err(limit)?;
    *known = Some(queue.clone());
    Ok(queue)
}

/// Checks that the kernel can report the end of a process through a pidfd. Without this check, a running program would
/// count as ended, or its end would never be seen.
fn check_kernel() -> Result<(), SpawnError> {
    let missing = |call: &'static str| {
        move |error: Errno| match error {
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => SpawnError::ResourceLimit { source: error.into() },
            _ => SpawnError::MissingSystemCall { call, source: error.into() },
        }
    };
    let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(missing("pidfd_open(2)"))?;
    match waitid(WaitId::PidFd(own.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        // The current process is not its own child process.
        Ok(_) | Err(Errno::CHILD) => Ok(()),
        Err(error) => Err(missing("waitid(2) with P_PIDFD")(error)),
    }
}

/// The state of the thread.
struct SpawnerThread {
    queue: Arc<JobQueue>,
    forkers: Forkers,
    /// The number of forks that were submitted and not yet answered.
    forking: usize,
    guardian: Guardian,
    /// Bounded by the living processes.
    pending: Vec<Reap>,
    /// The dead leaders of groups of which another member is alive. Bounded by the living processes.
    lingering: Vec<Lingering>,
}

/// A dead leader whose group has living members: they have not ended yet, or the system refuses to kill them.
struct Lingering {
    reap: Reap,
    /// Readable when one of the members dies. Empty if there was no descriptor left.
    members: Vec<OwnedFd>,
}

impl Lingering {
    /// Returns `true` if a member has died, or if the members are not watched.
    fn has_changed(&self) -> bool {
        let mut members: Vec<_> =
            self.members.iter().map(|member| PollFd::new(member, PollFlags::IN)).collect();
        members.is_empty() || poll(&mut members, Some(&AT_ONCE)).is_ok_and(|ready| ready > 0)
    }
}

impl SpawnerThread {
    fn new(queue: Arc<JobQueue>, forkers: Forkers) -> SpawnerThread {
        let (pending, lingering) = (Vec::new(), Vec::new());
        SpawnerThread { queue, forkers, forking: 0, guardian: Guardian::new(), pending, lingering }
    }

    /// Never returns.
    fn run(mut self) {
        if orphans::is_enabled() {
            self.queue.wake_at_child_exits();
        }
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
                Job::Spawn { command, prepared, when_gone, reply } if reply.is_closed() => {
                    catch_waker_panic(|| drop((command, prepared, when_gone, reply)));
                }
                Job::Spawn { command, prepared, when_gone, reply } => {
                    self.spawn(command, *prepared, when_gone, reply);
                }
                Job::Forked { slot, result, when_gone, reply } => {
                    self.forked(slot, result, when_gone, reply);
                }
                Job::Reap(reap) => self.pending.push(reap),
            }
        }
        let (dead, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<Vec<Reap>, _>(|reap| peek(reap.leader.pidfd.as_fd()).is_some());
        self.pending = pending;
        let (changed, lingering) = std::mem::take(&mut self.lingering)
            .into_iter()
            .partition::<Vec<Lingering>, _>(Lingering::has_changed);
        self.lingering = lingering;
        for reap in dead.into_iter().chain(changed.into_iter().map(|lingering| lingering.reap)) {
            self.reap(reap);
        }
        // The process of a fork that is not answered yet is not listed, so it could be taken for an orphan.
        if orphans::is_enabled() && self.forking == 0 {
            // Each leader is listed until it is reaped.
            orphans::reap(|pid| self.guardian.is_listed(pid));
        }
    }

    /// Waits until there is a job, a pending leader has died, or the guardian has died. Returns `true` for the
    /// guardian.
    fn wait(&self) -> bool {
        let wake = self.queue.wake_fd();
        let mut all = vec![PollFd::new(&wake, PollFlags::IN)];
        all.extend(self.pending.iter().map(|reap| PollFd::new(&*reap.leader.pidfd, PollFlags::IN)));
        let members = self.lingering.iter().flat_map(|lingering| &lingering.members);
        all.extend(members.map(|member| PollFd::new(member, PollFlags::IN)));
        let leaders_end = all.len();
        let guardian = self.guardian.pidfd();
        all.extend(guardian.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let unwatched = self.lingering.iter().any(|lingering| lingering.members.is_empty());
        let stalled = self.forkers.go_on().and_then(|left| Timespec::try_from(left).ok());
        let timeout = [unwatched.then_some(UNWATCHED_PAUSE), stalled].into_iter().flatten();
        let timeout = timeout.min_by_key(|time| (time.tv_sec, time.tv_nsec));
        match poll(&mut all, timeout.as_ref()) {
            Ok(_) => all.get(leaders_end).is_some_and(|guardian| !guardian.revents().is_empty()),
            Err(Errno::INTR) => false,
            Err(_) => {
                std::thread::sleep(POLL_PAUSE);
                false
            }
        }
    }

    /// Cleans up after a dead leader: kills the rest of its process group, and waits until no member is alive. Then unlists
    /// the group, and only then reaps the leader, which frees the group's number.
    fn reap(&mut self, reap: Reap) {
        let _no_member_left = reap.leader.signal(Signal::KILL);
        // An owner that waits for the reaping has already waited for the end of all members.
        if reap.done.is_none() {
            let group = reap.leader.pid;
            // Without /proc the members are unknown, but SIGKILL was sent to all of them.
            let living = members::living(group).unwrap_or_default();
            if !living.is_empty() {
                let members = members::pidfds(&living, group);
                return self.lingering.push(Lingering { reap, members });
            }
        }
        let Reap { leader, when_gone, done } = reap;
        self.guardian.release(leader.slot);
        leader.reap();
        catch_waker_panic(|| drop(when_gone));
        if let Some(done) = done {
            send(done, ());
        }
    }

    /// Lets a thread fork a program that was looked up.
    fn spawn(&mut self, command: Arc<CommandLine>, prepared: Prepared, when_gone: WhenGone, reply: Reply) {
        self.guardian.ensure_running();
        let (slot, guardian) = (self.guardian.reserve(), self.guardian.pipe());
        let queue = self.queue.clone();
        self.forking += 1;
        self.forkers.submit(Box::new(move || {
            let located = prepared.located.clone();
            let forked = catch_unwind(AssertUnwindSafe(|| fork(&command, prepared, guardian, slot)));
            let panicked = |_| {
                Err(Refused { located, source: io::Error::other("the fork panicked (a bug in liveoak)") })
            };
            let result = forked.unwrap_or_else(panicked);
            queue.submit(Job::Forked { slot, result, when_gone, reply });
        }));
    }

    /// Answers a start whose fork is over, and updates the guardian's list.
    fn forked(
        &mut self,
        slot: GuardianSlot,
        result: Result<Forked, Refused>,
        when_gone: WhenGone,
        reply: Reply,
    ) {
        self.forking -= 1;
        let spawned = match result {
            Ok(Forked { pid, pidfd, stdin, stdout, stderr }) => {
                self.guardian.confirm(slot, pid);
                let leader = Leader { pid, pidfd: Arc::new(pidfd), slot };
                let group = ProcessGroup::new(leader, when_gone, self.queue.clone());
                Ok(Spawned { group, stdin, stdout, stderr })
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
        Stdin::Open => Stdio::piped(),
        Stdin::Inherit => Stdio::inherit(),
    });
    let merged = match set_output(command, &mut builder) {
        Ok(merged) => merged,
        Err(source) => return Err(Refused { located, source }),
    };
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
            let stdin = child.stdin.take().map(Into::into);
            let stdout = merged.or_else(|| child.stdout.take().map(Into::into));
            Ok(Forked { pid, pidfd, stdin, stdout, stderr: child.stderr.take().map(Into::into) })
        }
        Err(error) => {
            // The child process was not reaped yet, so the number still belongs to its process group.
            let _already_dead = os::signal_group_by_number(pid, Signal::KILL);
            let _status = child.wait();
            Err(Refused { located, source: error.into() })
        }
    }
}

/// Sends an answer. If there is no receiver any more, the answer is dropped.
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

/// Sets where the outputs of a program go. If it has one captured pipe for both, returns the end to read from.
///
/// # Errors
/// When the system has no descriptor left.
fn set_output(command: &CommandLine, builder: &mut process::Command) -> io::Result<Option<OwnedFd>> {
    if !command.merge_output {
        builder.stdout(stdio(command.stdout)).stderr(stdio(command.stderr));
        return Ok(None);
    }
    match command.stdout {
        OutputMode::Capture => {
            let (reader, writer) = io::pipe()?;
            builder.stdout(writer.try_clone()?).stderr(writer);
            Ok(Some(reader.into()))
        }
        OutputMode::Inherit => {
            builder.stdout(Stdio::inherit()).stderr(io::stdout().as_fd().try_clone_to_owned()?);
            Ok(None)
        }
        OutputMode::Null => {
            builder.stdout(Stdio::null()).stderr(Stdio::null());
            Ok(None)
        }
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
    use crate::environment::Environment;
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
            let prepared = Box::new(prepare(&command, Environment::of_program(&command)).await.unwrap());
            queue.submit(Job::Spawn { command, prepared, when_gone: WhenGone::NOTHING, reply });
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
