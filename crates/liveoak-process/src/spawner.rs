//! The one thread that forks and reaps.
//!
//! `PR_SET_PDEATHSIG` is about the *thread* that forked, whatever its man page calls "parent" (`prctl(2)`, "the parent
//! is the thread that created this process"). A child forked on an executor's worker would die when that worker ends.
//! So everything is forked on one thread, `liveoak-spawn`, started by the first spawn and never ending: it outlives
//! every runtime, and a panic in it is caught. It also keeps the guardian, and reaps leaders, since the order
//! "unlist, then reap" must hold.
//!
//! A fork blocks this thread until the child's exec, and the looking for the file may block it on a slow disk; neither
//! touches an executor.

use crate::command::{CommandLine, OutputMode, Stdin};
use crate::files::limit_of_children;
use crate::guardian::{Guardian, Slot};
use crate::leader::{Body, Leader, peek};
use crate::os::{ChildSetup, Exec};
use crate::resolve::{Located, c_string, explain, locate};
use crate::signal::Signal;
use crate::spawn_error::SpawnError;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// The thread's name, as `top -H` shows it.
const THREAD_NAME: &str = "liveoak-spawn";

/// Pause after a failure of `poll(2)` itself (no memory), so that the thread does not spin.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// What the thread is asked to do.
pub(crate) enum Job {
    /// Fork and execute.
    Spawn { command: Arc<CommandLine>, reply: oneshot::Sender<Result<Spawned, SpawnError>> },
    /// Reap a leader that is dead or was sent `SIGKILL`, once it is dead, and kill what is left of its group.
    Reap { body: Body, done: Option<oneshot::Sender<()>> },
}

/// A group that has just been started.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) leader: Leader,
    /// The read ends of what is captured.
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// The way to the thread.
#[derive(Debug)]
pub(crate) struct Spawner {
    /// Bounded by the living processes and the spawns awaited: each hands in one job at a time.
    jobs: Mutex<Vec<Job>>,
    /// Readable when there are jobs.
    wake: OwnedFd,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Job::Spawn { command, .. } => write!(f, "Spawn({command})"),
            Job::Reap { body, .. } => write!(f, "Reap({body:?})"),
        }
    }
}

/// This program's spawner thread, once started.
static SPAWNER: Mutex<Option<Arc<Spawner>>> = Mutex::new(None);

impl Spawner {
    /// The program's one spawner, started if need be.
    pub(crate) fn get() -> Result<Arc<Spawner>, SpawnError> {
        let mut known = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spawner) = &*known {
            return Ok(spawner.clone());
        }
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| SpawnError::ResourceLimit { source: error.into() })?;
        let spawner = Arc::new(Spawner { jobs: Mutex::default(), wake });
        let thread = Thread { spawner: spawner.clone(), guardian: Guardian::new(), reaping: Vec::new() };
        std::thread::Builder::new()
            .name(THREAD_NAME.into())
            .spawn(move || thread.run())
            .map_err(|source| SpawnError::ResourceLimit { source })?;
        *known = Some(spawner.clone());
        Ok(spawner)
    }

    /// Hands in a job. Never waits for it.
    pub(crate) fn submit(&self, job: Job) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job);
        // It can only fail when the counter is full, and then the thread is awake anyway.
        let _full = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn take_jobs(&self) -> Vec<Job> {
        let mut count = [0; 8];
        let _empty = rustix::io::read(&self.wake, &mut count);
        std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A leader waiting for its death, and who wants to hear of its reaping.
type Dying = (Body, Option<oneshot::Sender<()>>);

/// The state of the thread.
struct Thread {
    spawner: Arc<Spawner>,
    guardian: Guardian,
    /// Bounded by the living processes.
    reaping: Vec<Dying>,
}

impl Thread {
    /// Never returns: the end of this thread would be the death of every child.
    fn run(mut self) {
        loop {
            let round = AssertUnwindSafe(|| self.round());
            if catch_unwind(round).is_err() {
                tracing::error!("a defect in liveoak: the spawner thread panicked, and goes on");
            }
        }
    }

    fn round(&mut self) {
        if self.wait() {
            self.guardian.died();
        }
        for job in self.spawner.take_jobs() {
            match job {
                Job::Spawn { command, reply } if reply.is_closed() => apart(|| drop((command, reply))),
                Job::Spawn { command, reply } => {
                    // A receiver that is gone by now gets the group back into our hands, and dropping it kills it.
                    tell(reply, self.spawn(&command));
                }
                Job::Reap { body, done } => self.reaping.push((body, done)),
            }
        }
        let (dead, dying) = std::mem::take(&mut self.reaping)
            .into_iter()
            .partition::<Vec<Dying>, _>(|(body, _)| peek(body.pidfd.as_fd()).is_some());
        self.reaping = dying;
        dead.into_iter().for_each(|(body, done)| self.reap(body, done));
    }

    /// Until there is a job, a leader has died, or the guardian has: `true` for the last.
    fn wait(&self) -> bool {
        let mut all = vec![PollFd::new(&self.spawner.wake, PollFlags::IN)];
        all.extend(self.reaping.iter().map(|(body, _)| PollFd::new(&*body.pidfd, PollFlags::IN)));
        let leaders_end = all.len();
        let death = self.guardian.death();
        all.extend(death.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut all, None) {
            Ok(_) => all.get(leaders_end).is_some_and(|guardian| !guardian.revents().is_empty()),
            Err(rustix::io::Errno::INTR) => false,
            Err(_) => {
                std::thread::sleep(POLL_PAUSE);
                false
            }
        }
    }

    /// The last steps of a group whose leader is dead: kill who is left, unlist the group, free the number.
    fn reap(&mut self, body: Body, done: Option<oneshot::Sender<()>>) {
        let _nobody_left = body.signal(Signal::KILL);
        self.guardian.release(body.slot);
        body.reap();
        if let Some(done) = done {
            tell(done, ());
        }
    }

    fn spawn(&mut self, command: &CommandLine) -> Result<Spawned, SpawnError> {
        let located = locate(command)?;
        let exec = image(command, &located)?;
        self.guardian.ensure();
        let slot = self.guardian.reserve();
        let spawned = self.fork(command, &located, exec, slot);
        if spawned.is_err() {
            self.guardian.release(slot);
        }
        spawned
    }

    fn fork(
        &mut self,
        command: &CommandLine,
        located: &Located,
        exec: Exec,
        slot: Slot,
    ) -> Result<Spawned, SpawnError> {
        let mut builder = process::Command::new(&located.program);
        if let Some(cwd) = &located.cwd {
            builder.current_dir(cwd);
        }
        builder.process_group(0).stdin(match command.stdin {
            Stdin::Null => Stdio::null(),
            Stdin::Inherit => Stdio::inherit(),
        });
        builder.stdout(stdio(command.stdout)).stderr(stdio(command.stderr));
        let guardian = self.guardian.lines().map(|pipe| (pipe, slot.number()));
        let files = limit_of_children();
        ChildSetup { exec, parent: getpid(), guardian, files }.install(&mut builder);

        let mut child = builder.spawn().map_err(|source| explain(located, source))?;
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => {
                self.guardian.confirm(slot, pid);
                let body = Body { pid, pidfd: Arc::new(pidfd), slot };
                let leader = Leader::new(body, self.spawner.clone());
                let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
                Ok(Spawned { leader, stdout: stdout.map(Into::into), stderr: stderr.map(Into::into) })
            }
            Err(error) => {
                // Not reaped yet, so the number is the child's and its group's.
                let _gone = crate::os::signal_group_by_number(pid, Signal::KILL);
                let _status = child.wait();
                Err(explain(located, error.into()))
            }
        }
    }
}

/// Answers. What nobody hears is dropped.
fn tell<T>(who: oneshot::Sender<T>, what: T) {
    apart(|| drop(who.send(what)));
}

/// Does what runs a waker, which is not ours: if it panics, nobody else's job is lost.
fn apart(job: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("the waker of somebody who waits for a program panicked");
    }
}

fn stdio(mode: OutputMode) -> Stdio {
    match mode {
        OutputMode::Capture => Stdio::piped(),
        OutputMode::Inherit => Stdio::inherit(),
        OutputMode::Null => Stdio::null(),
    }
}

/// Everything the child passes to `execve(2)`.
fn image(command: &CommandLine, located: &Located) -> Result<Exec, SpawnError> {
    let words = std::iter::once(&command.program).chain(&command.args);
    let argv = words.map(|word| c_string(word)).collect::<Result<Vec<CString>, _>>()?;
    let env = command.environment().into_iter().map(|(name, value)| {
        let mut variable = OsString::with_capacity(name.len() + 1 + value.len());
        variable.push(name);
        variable.push("=");
        variable.push(value);
        c_string(&variable)
    });
    let env = env.collect::<Result<Vec<CString>, _>>()?;
    Ok(Exec::new(c_string(located.program.as_os_str())?, argv, env))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll, Wake, Waker};

    struct Bomb;

    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("the waker's own fault, meant by the test");
        }
    }

    /// Somebody who waits, and whose waker panics.
    fn armed<T>(mut answer: oneshot::Receiver<T>) -> oneshot::Receiver<T> {
        let waker = Waker::from(Arc::new(Bomb));
        let first = Future::poll(Pin::new(&mut answer), &mut Context::from_waker(&waker));
        assert!(matches!(first, Poll::Pending), "nobody has answered yet");
        answer
    }

    #[test]
    fn a_waker_that_panics_costs_nobody_his_program_or_the_reaping_of_it() {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let spawner = Arc::new(Spawner { jobs: Mutex::default(), wake });
        let mut thread = Thread { spawner: spawner.clone(), guardian: Guardian::new(), reaping: Vec::new() };
        let submit = || {
            let (reply, answer) = oneshot::channel();
            let command = Arc::new(CommandLine::argv(["sleep", "1000"]));
            spawner.submit(Job::Spawn { command, reply });
            answer
        };
        let answers = [armed(submit()), submit(), armed(submit()), submit()];
        thread.round();
        let leaders = answers.map(|mut answer| answer.try_recv().expect("an answer").unwrap().leader);
        for body in leaders.iter().filter_map(Leader::body) {
            body.signal(Signal::KILL).unwrap();
            while peek(body.pidfd.as_fd()).is_none() {
                std::thread::yield_now();
            }
        }
        let [a, b, c, d] = leaders.map(Leader::reap);
        let heard = [armed(a), b, armed(c), d];
        thread.round();
        assert!(heard.map(|mut heard| heard.try_recv().is_ok()).iter().all(|&heard| heard));
    }
}
