//! A running process group: its signals, its end, its output.
//!
//! For a program under supervision use [`ProcessChild`](crate::ProcessChild), which is built on this type.

use crate::command::{Ask, CommandLine, Stdin};
use crate::environment::Environment;
use crate::exit_watch::{ExitWatch, Status};
use crate::jobs::{Job, Leader, ProcessGroup, Refused, Spawned, WhenGone};
use crate::log::catch;
use crate::members;
use crate::os::watch_readable;
use crate::output::{Backpressure, OutputEnd, OutputLine, OutputReader};
use crate::resolve::{Prepared, explained, prepare};
use crate::signal::Signal;
use crate::spawn_error::SpawnError;
use crate::spawner;
use crate::suspension::Suspension;
use liveoak_runtime::Survivors;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A started program: a process group of its leader and of all processes that the leader started and that did not leave
/// the group. If the current process dies, the process group is killed as well (see the [crate documentation](crate)).
///
/// A drop of this value sends `SIGKILL` to the whole process group and returns immediately; the spawner thread reaps the
/// leader. A leader that has exited shows as a zombie (`Z`) until [`finish`](Process::finish) returns or the value is
/// dropped, so that the kernel does not give its number to another process.
///
/// The output is read in the Tokio runtime in which the process was started; everything else works on any runtime.
#[derive(Debug)]
pub struct Process {
    /// `None` after the leader was reaped.
    group: Option<ProcessGroup>,
    pid: Pid,
    exit: Arc<ExitWatch>,
    /// Set when the exit was first seen, because the kernel cannot be asked after the leader was reaped.
    status: Option<Status>,
    /// `true` if the process group was once seen without a living member. No process can join it after that.
    all_ended: bool,
    /// `true` if [`finish`](Process::finish) had to kill.
    forced: bool,
    stop_signal: Signal,
    ask: Ask,
    /// The write end of an input that [stays open](crate::Stdin::Open).
    _stdin: Option<OwnedFd>,
    /// The task that reads the output; `None` after its end.
    reader: Option<JoinHandle<OutputEnd>>,
    output_end: Option<OutputEnd>,
}

/// How [`Process::finish`] ended a process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Finished {
    /// How the leader ended.
    pub status: Status,
    /// `true` if a process of the group was still alive at the end of the grace period and had to be killed.
    pub forced: bool,
}

impl Process {
    /// Starts `command` as the leader of a new process group and passes its captured output to `sink`, line by line.
    ///
    /// A task on the current runtime reads the output and calls `sink`, which must not block. To discard the output, pass
    /// `|_| {}`.
    ///
    /// In the new process all signals are unblocked and have their default action, even those that the current process
    /// ignores (as under `nohup`). Only the three standard descriptors are inherited (before Linux 5.11 also those
    /// without close-on-exec), and the kernel kills the process when the current process dies. It has no controlling
    /// terminal, so a program that asks the terminal for a password fails with its own message, and is not stopped by
    /// the kernel. The variables are those of the current process, without those that hold only for the current
    /// process: `OLDPWD`, `LISTEN_FDS`, `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `NODE_CHANNEL_FD` with the variables that
    /// belong to them, `SERVER_STARTER_PORT`, `EINHORN_FDS`, and in `MAKEFLAGS` a jobserver with descriptors. `PWD` is the folder of the new process.
    ///
    /// # Errors
    /// Returns a [`SpawnError`] if no process was started.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime, and on a runtime without timers.
    ///
    /// # Cancel safety
    /// If the future is dropped, the program is either not started, or killed.
    pub async fn spawn(
        command: &CommandLine,
        sink: impl FnMut(OutputLine<'_>) + Send + 'static,
    ) -> Result<Process, SpawnError> {
        let command = Arc::new(command.clone());
        let prepared = Self::prepare(&command, Environment::of_program(&command)).await?;
        Self::spawn_prepared(command, prepared, WhenGone::NOTHING, sink).await
    }

    /// Does the first part of [`spawn`](Process::spawn), without copying the command line: looks up the program. Nothing is
    /// started yet.
    pub(crate) async fn prepare(
        command: &Arc<CommandLine>,
        environment: Environment,
    ) -> Result<Prepared, SpawnError> {
        if !runtime_has_io()? {
            return Err(SpawnError::NoIo);
        }
        if command.stdin == Stdin::Inherit && !Stdin::can_be_inherited() {
            return Err(SpawnError::NotInForeground);
        }
        prepare(command, environment).await
    }

    /// Does the second part of [`spawn`](Process::spawn). Drops `when_gone` when no process of the group is left.
    pub(crate) async fn spawn_prepared(
        command: Arc<CommandLine>,
        prepared: Prepared,
        when_gone: WhenGone,
        sink: impl FnMut(OutputLine<'_>) + Send + 'static,
    ) -> Result<Process, SpawnError> {
        Self::spawn_with_backpressure(command, prepared, when_gone, None, sink).await
    }

    /// Does the same, with `backpressure` on the reading of the output.
    pub(crate) async fn spawn_with_backpressure(
        command: Arc<CommandLine>,
        prepared: Prepared,
        when_gone: WhenGone,
        backpressure: Option<Backpressure>,
        sink: impl FnMut(OutputLine<'_>) + Send + 'static,
    ) -> Result<Process, SpawnError> {
        let queue = spawner::queue()?;
        let prepared = Box::new(prepared);
        let (reply, answer) = oneshot::channel();
        queue.submit(Job::Spawn { command: Arc::clone(&command), prepared, when_gone, reply });
        let Spawned { group, stdin, stdout, stderr } = match answer.await {
            Ok(Ok(spawned)) => spawned,
            Ok(Err(Refused { located, source })) => return Err(explained(&command, located, source).await),
            // Only a panic on the spawner thread drops the reply.
            Err(_) => {
                let source = io::Error::other("the thread that starts processes panicked (a bug in liveoak)");
                return Err(SpawnError::Os { path: command.program.clone().into(), source });
            }
        };
        let leader = group.leader().expect("a process group that was just started has an unreaped leader");
        let (pid, pidfd) = (leader.pid, leader.pidfd.clone());
        let limit = |source| SpawnError::ResourceLimit { source };
        let exit = Arc::new(ExitWatch::new(pidfd).map_err(limit)?);
        // A sink that panics loses only the line. If the reading ended, the closed pipe would end the program.
        let mut sink = sink;
        let sink = move |line: OutputLine<'_>| {
            let _panicked = catch(|| sink(line));
        };
        let reader = OutputReader::new(stdout, stderr, exit.clone(), backpressure, sink).map_err(limit)?;
        Ok(Process {
            group: Some(group),
            pid,
            exit,
            status: None,
            all_ended: false,
            forced: false,
            stop_signal: command.stop_signal,
            ask: command.ask,
            _stdin: stdin,
            reader: Some(tokio::spawn(reader.run())),
            output_end: None,
        })
    }

    /// Returns the leader's process id, which is also the number of the process group.
    ///
    /// For display and logs only: after the process was finished the number may belong to another process.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Returns how the leader ended, or `None` while it runs. Other processes of the group may still run.
    pub fn try_exited(&mut self) -> Option<Status> {
        if self.status.is_none() {
            self.status = self.exit.peek();
        }
        self.status
    }

    /// Waits until the leader has ended and returns how. Other processes of the group may still run; see
    /// [`group_alive`](Process::group_alive) and [`finish`](Process::finish).
    ///
    /// # Cancel safety
    /// Cancel safe. Later calls return the same status.
    pub async fn exited(&mut self) -> Status {
        loop {
            if let Some(status) = self.try_exited() {
                return status;
            }
            if self.exit.ended().await.is_err() && self.watch_on_this_runtime().is_err() {
                // This runtime shuts down as well, and drops this future.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Watches whether the leader is suspended. Returns `None` after [`finish`](Process::finish).
    pub(crate) fn suspension(&self) -> Option<Suspension> {
        self.leader().map(|leader| Suspension::watch(leader.pidfd.clone()))
    }

    fn leader(&self) -> Option<&Leader> {
        self.group.as_ref().and_then(ProcessGroup::leader)
    }

    /// Moves the watch on the leader to the current runtime, after the runtime that had it was shut down.
    fn watch_on_this_runtime(&mut self) -> io::Result<()> {
        let pidfd = self.leader().map(|leader| leader.pidfd.clone()).ok_or(io::ErrorKind::NotFound)?;
        self.exit = Arc::new(ExitWatch::new(pidfd)?);
        Ok(())
    }

    /// Sends `signal` to every process of the group.
    ///
    /// # Errors
    /// Returns [`SignalError::Ended`] if no process is left (a dead leader that was not reaped still counts as one), and
    /// always after [`finish`](Process::finish).
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        let leader = self.leader().ok_or(SignalError::Ended)?;
        leader.signal(signal).map_err(|source| SignalError::new(signal, source))
    }

    /// Asks the process group to stop: sends the stop signal of the command line, then `SIGCONT`, because a suspended
    /// process handles the stop signal only after it was resumed.
    ///
    /// With [`Ask::Leader`] only the leader gets the stop signal while it is alive. `SIGCONT` goes to the whole group.
    ///
    /// # Errors
    /// Returns the same errors as [`signal`](Process::signal).
    pub fn stop(&self) -> Result<(), SignalError> {
        let signal = self.stop_signal;
        match self.leader() {
            Some(leader) if self.asks_leader_alone() => {
                leader.signal_alone(signal).map_err(|source| SignalError::new(signal, source))?;
            }
            _ => self.signal(signal)?,
        }
        self.signal(Signal::CONT)
    }

    /// Returns `true` if only the leader gets the stop signal now.
    fn asks_leader_alone(&self) -> bool {
        self.ask == Ask::Leader && self.exit.peek().is_none()
    }

    /// Asks the process group to stop, and waits until none of its processes is alive. If only the leader was asked, asks
    /// the remaining processes when the leader has ended. Cancel safe; a later call asks again.
    ///
    /// Calls `refused` if the stop signal was not sent.
    pub(crate) async fn stop_and_wait(&mut self, mut refused: impl FnMut(&Process, SignalError)) {
        loop {
            let leader_alone = self.asks_leader_alone();
            if let Err(error) = self.stop() {
                refused(self, error);
            }
            if !leader_alone {
                return self.group_ended().await;
            }
            self.exited().await;
        }
    }

    /// Returns the living processes of the group that the current process may not signal, with the system's words.
    /// Returns `None` if there are none, or if `/proc` cannot be read.
    pub(crate) fn unkillable(&self) -> Option<Survivors> {
        let refused = members::unkillable(self.pid).ok()?;
        if refused.is_empty() {
            return None;
        }
        let text: Vec<String> = refused.iter().map(ToString::to_string).collect();
        let pids = refused.iter().map(|refused| refused.pid.as_raw_nonzero().get().unsigned_abs()).collect();
        Some(Survivors { pids, refused: Some(text.join("; ")) })
    }

    /// Sends `SIGKILL` to the whole process group, which also ends suspended processes. Returns before they are dead.
    ///
    /// # Errors
    /// Returns the same errors as [`signal`](Process::signal).
    pub fn kill(&self) -> Result<(), SignalError> {
        self.signal(Signal::KILL)
    }

    /// Returns `true` if any process of the group, the leader or another, is alive. A zombie is not alive.
    ///
    /// After the leader's exit the answer comes from `/proc` and costs some microseconds per process of the machine. If
    /// `/proc` cannot be read, the answer is `true` until the process is finished. After a [lost](Status::Lost) status
    /// the group's number may belong to other processes, and the answer is `false`.
    pub fn group_alive(&self) -> bool {
        self.try_group_alive().unwrap_or(true)
    }

    /// Returns the same as [`group_alive`](Process::group_alive), but `None` if `/proc` cannot be read.
    pub(crate) fn try_group_alive(&self) -> Option<bool> {
        match self.exit.peek() {
            _ if self.all_ended || self.group.is_none() => Some(false),
            None => Some(true),
            Some(Status::Lost) => Some(false),
            Some(_) => members::living(self.pid).ok().map(|members| !members.is_empty()),
        }
    }

    /// Waits until no process of the group is alive.
    ///
    /// While there is no file descriptor left to read `/proc`, this waits for one; without `/proc` it waits forever.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn group_ended(&mut self) {
        let lost = self.exited().await == Status::Lost;
        let may_live = !lost && !self.all_ended && self.group.is_some();
        if may_live && members::wait_until_empty(self.pid).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.all_ended = !lost;
    }

    /// Ends the whole process group and reaps its leader.
    ///
    /// If a process of the group is alive, `finish` [asks the group to stop](Process::stop) (the leader first, with
    /// [`Ask::Leader`]), waits up to `grace`,
    /// [kills](Process::kill) the remaining processes, and waits for their end. Otherwise it only reaps the leader.
    ///
    /// The wait after the kill has no deadline, and a process that hangs in the kernel (state `D`) may not end. Use a
    /// timeout, and call `finish` again if it fires.
    ///
    /// If `/proc` cannot be read, the group is asked and killed as if some of its processes had survived the leader, but
    /// after the kill `finish` waits only for the end of the leader.
    ///
    /// # Cancel safety
    /// Cancel safe. A call after a cancelled call asks again and waits for the grace period again. A call after a completed
    /// call returns the same value immediately.
    pub async fn finish(&mut self, grace: Duration) -> Finished {
        // If /proc cannot be read, treat the group as alive and kill it: otherwise it could run on.
        if self.group_alive() && tokio::time::timeout(grace, self.stop_and_wait(|_, _| {})).await.is_err() {
            self.forced |= self.try_group_alive() == Some(true);
            let _already_ended = self.kill();
            if self.exited().await != Status::Lost {
                // Without /proc the members cannot be seen, but SIGKILL was sent to all of them. The reap sends it
                // again.
                let _unknown = members::wait_until_empty_or_unreadable(self.pid).await;
            }
        }
        let status = self.exited().await;
        if let Some(group) = self.group.take() {
            let _reaped = group.reap().await;
        }
        Finished { status, forced: self.forced }
    }

    /// Waits until all output was passed to the sink.
    ///
    /// Usually this is soon after the leader's exit. If other processes hold the pipe open, reading ends
    /// [`OUTPUT_GRACE`](crate::OUTPUT_GRACE) after the exit.
    ///
    /// # Cancel safety
    /// Cancel safe. Later calls return the same value.
    pub async fn output_end(&mut self) -> OutputEnd {
        if let Some(reader) = &mut self.reader {
            self.output_end = Some(reader.await.unwrap_or(OutputEnd::Broken));
            self.reader = None;
        }
        self.output_end.unwrap_or(OutputEnd::Broken)
    }
}

/// Returns `true` if the current runtime can watch descriptors. Tokio reports this only by a panic, which is caught
/// here.
fn runtime_has_io() -> Result<bool, SpawnError> {
    let limit = |source| SpawnError::ResourceLimit { source };
    let probe = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| limit(error.into()))?;
    let mut watched = Ok(());
    let known = catch(|| watched = watch_readable(Arc::new(probe)).map(drop));
    watched.map_err(limit).map(|()| known)
}

impl SignalError {
    fn new(signal: Signal, source: io::Error) -> SignalError {
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::SRCH) => SignalError::Ended,
            Some(Errno::PERM) => SignalError::NotPermitted { signal },
            _ => SignalError::Os { signal, source },
        }
    }
}

/// The reason why a signal was not delivered to any process.
#[derive(Debug)]
pub enum SignalError {
    /// No process of the group is left. The group's number may belong to other processes by now.
    Ended,
    /// All processes of the group run as another user.
    NotPermitted {
        /// The signal that was not sent.
        signal: Signal,
    },
    /// The system call failed for another reason.
    Os {
        /// The signal that was not sent.
        signal: Signal,
        /// The error of the system call.
        source: io::Error,
    },
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalError::Ended => f.write_str("signal the process group: it had already ended"),
            SignalError::NotPermitted { signal } => {
                write!(f, "send {signal}: the processes belong to another user")
            }
            SignalError::Os { signal, .. } => write!(f, "send {signal}"),
        }
    }
}

impl std::error::Error for SignalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SignalError::Os { source, .. } => Some(source),
            SignalError::Ended | SignalError::NotPermitted { .. } => None,
        }
    }
}
