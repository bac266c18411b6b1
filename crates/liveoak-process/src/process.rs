//! A running program: its process group, its end, its output.

use crate::command::CommandLine;
use crate::exit::ExitWatch;
use crate::group;
use crate::leader::Leader;
use crate::output::{OutputEnd, OutputLine, Reader};
use crate::signal::Signal;
use crate::spawn_error::SpawnError;
use crate::spawner::{Job, Spawned, Spawner};
use crate::status::Status;
use rustix::io::Errno;
use rustix::process::Pid;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A program that was started: the leader of a process group of its own, and whoever it started that stayed in it.
///
/// Dropping it sends `SIGKILL` to the whole group and returns at once; the leader is reaped by Liveoak's own thread.
/// If this program dies, however, the group is killed too: see the crate's page.
///
/// Until [`finish`](Process::finish) returned, or the value is dropped, the leader is not reaped: an exited program shows as a
/// zombie (`Z`), which is what keeps its number from being given to another.
///
/// It belongs to the Tokio runtime in which it was started. On another runtime it can be signalled, finished and
/// waited for, but the output is no longer read once the first runtime is gone.
#[derive(Debug)]
pub struct Process {
    /// `None` once reaped.
    leader: Option<Leader>,
    pid: Pid,
    exit: Arc<ExitWatch>,
    /// Known once seen, because it can not be asked for after the reaping.
    status: Option<Status>,
    /// Whether the group was once seen without a living member. Nobody can be forked into it after that.
    gone: bool,
    /// Whether [`finish`](Process::finish) had to kill.
    forced: bool,
    stop_signal: Signal,
    /// The task that reads the output; `None` once its end is known.
    reader: Option<JoinHandle<OutputEnd>>,
    output_end: Option<OutputEnd>,
}

/// How [`Process::finish`] ended a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Finished {
    /// How the leader ended.
    pub status: Status,
    /// Whether somebody in the group was seen alive when the grace was over, and so had to be killed.
    pub forced: bool,
}

impl Process {
    /// Starts `command` as the leader of a new process group and hands its captured output to `sink`, line by line.
    ///
    /// `sink` is called from a task of the current runtime that reads until the output's end, so that the program is
    /// never blocked by a full pipe. It must not block. A `sink` for nothing is `|_| {}`.
    ///
    /// In the new process all signals are unblocked and have their default meaning, nothing but the three standard
    /// descriptors is inherited, and it is killed when this program dies.
    ///
    /// # Errors
    /// When nothing was started; [`SpawnError`] has the cases.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    /// When the future is dropped, the program was either not started or is killed.
    pub async fn spawn(
        command: &CommandLine,
        sink: impl FnMut(OutputLine<'_>) + Send + 'static,
    ) -> Result<Process, SpawnError> {
        Self::spawn_shared(Arc::new(command.clone()), sink).await
    }

    /// Does what [`spawn`](Process::spawn) does without copying the command line.
    pub(crate) async fn spawn_shared(
        command: Arc<CommandLine>,
        sink: impl FnMut(OutputLine<'_>) + Send + 'static,
    ) -> Result<Process, SpawnError> {
        let spawner = Spawner::get()?;
        let (reply, answer) = oneshot::channel();
        spawner.submit(Job::Spawn { command: Arc::clone(&command), reply });
        let Spawned { leader, stdout, stderr } = match answer.await {
            Ok(spawned) => spawned?,
            // Only a panic on the spawner thread drops the reply.
            Err(_) => {
                let source = io::Error::other("the spawner thread failed");
                return Err(SpawnError::Os { path: command.program.clone().into(), source });
            }
        };
        let body = leader.body().expect("a leader that was just made is not reaped");
        let (pid, pidfd) = (body.pid, body.pidfd.clone());
        let limit = |source| SpawnError::ResourceLimit { source };
        let exit = Arc::new(ExitWatch::new(pidfd).map_err(limit)?);
        let reader = Reader::new(stdout, stderr, exit.clone(), sink).map_err(limit)?;
        Ok(Process {
            leader: Some(leader),
            pid,
            exit,
            status: None,
            gone: false,
            forced: false,
            stop_signal: command.stop_signal,
            reader: Some(tokio::spawn(reader.run())),
            output_end: None,
        })
    }

    /// The leader's process id, which is also the number of its group. For people and logs: once the process was
    /// finished the number may belong to another, so send nothing to it.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How the leader ended, or `None` while it runs. Says nothing about the rest of the group.
    pub fn try_exited(&mut self) -> Option<Status> {
        if self.status.is_none() {
            self.status = self.exit.peek();
        }
        self.status
    }

    /// Waits until the leader has ended, and says how. Others of the group may live on:
    /// [`group_alive`](Process::group_alive), [`finish`](Process::finish).
    ///
    /// # Cancel safety
    /// Cancel safe, and repeatable: the answer stays the same.
    pub async fn exited(&mut self) -> Status {
        loop {
            if let Some(status) = self.try_exited() {
                return status;
            }
            if self.exit.ended().await.is_err() && self.watch_here().is_err() {
                // Neither the old runtime nor this one can tell: it shuts down, and this future with it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The runtime that watched the leader is gone: let the current one do it.
    fn watch_here(&mut self) -> io::Result<()> {
        let body = self.leader.as_ref().and_then(Leader::body);
        let pidfd = body.map(|body| body.pidfd.clone()).ok_or(io::ErrorKind::NotFound)?;
        self.exit = Arc::new(ExitWatch::new(pidfd)?);
        Ok(())
    }

    /// Sends `signal` to every process of the group.
    ///
    /// # Errors
    /// [`SignalError::Gone`] once the process was [finished](Process::finish); a dead leader alone is no error.
    /// [`SignalError::NotPermitted`] when no member may be signalled, because it runs as another user.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        let body = self.leader.as_ref().and_then(Leader::body).ok_or(SignalError::Gone)?;
        body.signal(signal).map_err(|source| match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::SRCH) => SignalError::Gone,
            Some(Errno::PERM) => SignalError::NotPermitted { signal },
            _ => SignalError::Os { signal, source },
        })
    }

    /// Asks the whole group to stop: sends the command's stop signal, then `SIGCONT`, without which a stopped process
    /// would not hear of it.
    ///
    /// # Errors
    /// As [`signal`](Process::signal).
    pub fn stop(&self) -> Result<(), SignalError> {
        self.signal(self.stop_signal)?;
        self.signal(Signal::CONT)
    }

    /// Kills the whole group with `SIGKILL`, stopped processes as well. Returns before they are dead.
    ///
    /// # Errors
    /// As [`signal`](Process::signal).
    pub fn kill(&self) -> Result<(), SignalError> {
        self.signal(Signal::KILL)
    }

    /// Whether any process of the group is alive, the leader or another. Dead ones that nobody has reaped do not count.
    ///
    /// While the leader runs this costs nothing. After that it looks through `/proc`, some microseconds per process of
    /// the machine; without `/proc`, or a file descriptor to look with, the answer is yes until the process is
    /// finished. After a [lost](Status::Lost) status the group's number is not ours to look for, and the answer is no.
    pub fn group_alive(&self) -> bool {
        self.group_seen_alive().unwrap_or(true)
    }

    /// As [`group_alive`](Process::group_alive), but `None` when nobody can know: there is no `/proc`, or no file
    /// descriptor to look with.
    pub(crate) fn group_seen_alive(&self) -> Option<bool> {
        let look = || group::living(self.pid).ok().map(|members| !members.is_empty());
        self.group_alive_unseen().or_else(look)
    }

    /// Whether the group is alive, as far as that is known without looking.
    fn group_alive_unseen(&self) -> Option<bool> {
        match self.exit.peek() {
            _ if self.gone || self.leader.is_none() => Some(false),
            None => Some(true),
            Some(Status::Lost) => Some(false),
            Some(_) => None,
        }
    }

    /// Waits until no process of the group is alive.
    ///
    /// Without `/proc` there is no knowing; then this waits for ever, and the caller's deadline decides. While there is
    /// no file descriptor to look with it waits for one as well, even if the group is gone already.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn group_gone(&mut self) {
        let lost = self.exited().await == Status::Lost;
        if !lost && !self.gone && self.leader.is_some() && group::gone(self.pid).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.gone = !lost;
    }

    /// Ends the whole group and reaps its leader: [asks](Process::stop) whoever is alive to stop, waits up to `grace`,
    /// [kills](Process::kill) who is left, and waits for their end.
    ///
    /// A group of which nobody is alive any more is just reaped. After the kill there is no further deadline: only a
    /// process that hangs in the kernel (state `D`) can make this wait, so bound it from outside if that matters; the
    /// dropped future leaves a process that can be finished again.
    ///
    /// While there is no `/proc`, or no file descriptor to look with, nobody knows whether a dead leader's group lives
    /// on. It is then asked and killed like one that does, but after the kill only the leader's end is waited for.
    ///
    /// # Cancel safety
    /// Cancel safe: called again, it asks again and waits the grace again. Once it has returned, it returns the same
    /// at once.
    pub async fn finish(&mut self, grace: Duration) -> Finished {
        // Without a descriptor to look with it is killed as well: to wait for one would leave it alive.
        if self.group_alive() {
            let _gone_meanwhile = self.stop();
            if tokio::time::timeout(grace, self.group_gone()).await.is_err() {
                self.forced |= self.group_seen_alive() == Some(true);
                let _gone_meanwhile = self.kill();
                if self.exited().await != Status::Lost {
                    // Whoever can not be seen has the signal, and gets another one at the reaping.
                    let _unknown = group::seen_gone(self.pid).await;
                }
            }
        }
        let status = self.exited().await;
        if let Some(leader) = self.leader.take() {
            let _reaped = leader.reap().await;
        }
        Finished { status, forced: self.forced }
    }

    /// Waits until all output was handed to the sink: soon after the leader's exit, and at most
    /// [`OUTPUT_GRACE`](crate::OUTPUT_GRACE) after it even if others hold the pipe open.
    ///
    /// # Cancel safety
    /// Cancel safe, and repeatable.
    pub async fn output_end(&mut self) -> OutputEnd {
        if let Some(reader) = &mut self.reader {
            self.output_end = Some(reader.await.unwrap_or(OutputEnd::Broken));
            self.reader = None;
        }
        self.output_end.unwrap_or(OutputEnd::Broken)
    }
}

/// Why a signal reached nobody.
#[derive(Debug)]
pub enum SignalError {
    /// Nobody is left, and the number may belong to another by now.
    Gone,
    /// Every process of the group runs as another user.
    NotPermitted {
        /// What was to be sent.
        signal: Signal,
    },
    /// Anything else.
    Os {
        /// What was to be sent.
        signal: Signal,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalError::Gone => f.write_str("signal a process group that is gone"),
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
            SignalError::Gone | SignalError::NotPermitted { .. } => None,
        }
    }
}
