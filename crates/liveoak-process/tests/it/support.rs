//! Helpers of all tests: a time limit for every wait, a directory for files, a record of output, and [`WatchedProcess`]
//! for processes that are not children of the test.

use liveoak_process::{CommandLine, OutputLine, Process, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The limit of every wait. Everything that a test waits for takes milliseconds.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(20);

/// The time between two polls of something that sends no event.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Awaits a future, at most for [`TIME_LIMIT`].
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(TIME_LIMIT, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened for {TIME_LIMIT:?} at {caller}"),
        }
    }
}

/// Polls `look` until it returns a value, at most for [`TIME_LIMIT`].
#[track_caller]
pub(crate) fn look_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Some(seen) => return seen,
            None if start.elapsed() > TIME_LIMIT => panic!("no {what} after {TIME_LIMIT:?}"),
            None => std::thread::sleep(POLL_INTERVAL),
        }
    }
}

/// A directory that is removed at the end of the test.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("liveoak-process-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file with these permissions. Returns its path.
    pub(crate) fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A line of output as the sink received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) stream: Stream,
    pub(crate) text: String,
    pub(crate) continued: bool,
}

/// The output of a process, line by line.
pub(crate) struct OutputRecord(UnboundedReceiver<Line>);

impl OutputRecord {
    /// Returns a record and the sink that fills it.
    pub(crate) fn new() -> (OutputRecord, impl FnMut(OutputLine<'_>) + Send + 'static) {
        let (sender, receiver) = unbounded_channel();
        let sink = move |line: OutputLine<'_>| {
            let OutputLine { stream, text, continued, .. } = line;
            let _ = sender.send(Line { stream, text: text.to_owned(), continued });
        };
        (OutputRecord(receiver), sink)
    }

    /// Waits for the next line.
    pub(crate) async fn line(&mut self) -> String {
        within(self.0.recv()).await.expect("the output ended").text
    }

    /// Waits for the next line, which is a number.
    pub(crate) async fn number(&mut self) -> u32 {
        let line = self.line().await;
        line.trim().parse().unwrap_or_else(|_| panic!("{line:?} is not a number"))
    }

    /// Waits for the end of the output. Returns the remaining lines.
    pub(crate) async fn rest(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(line) = within(self.0.recv()).await {
            lines.push(line);
        }
        lines
    }
}

/// Starts a command line, which must not fail.
pub(crate) async fn start(command: &CommandLine) -> (Process, OutputRecord) {
    let (record, sink) = OutputRecord::new();
    let process = within(Process::spawn(command, sink)).await;
    (process.unwrap_or_else(|error| panic!("failed to {error}")), record)
}

/// Starts a shell line, which must not fail.
pub(crate) async fn shell(line: &str) -> (Process, OutputRecord) {
    start(&CommandLine::shell(line)).await
}

/// A process that is not our child, but was started by a process that we started. It is killed when this is dropped.
pub(crate) struct WatchedProcess {
    pub(crate) pid: u32,
    pidfd: OwnedFd,
}

impl WatchedProcess {
    /// Watches a process that is alive now.
    pub(crate) fn new(pid: u32) -> WatchedProcess {
        let number = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let pidfd = pidfd_open(number, PidfdFlags::empty())
            .unwrap_or_else(|error| panic!("no process {pid}: {error}"));
        WatchedProcess { pid, pidfd }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    fn ends_within(&self, time: Duration) -> bool {
        let time =
            Timespec { tv_sec: time.as_secs().try_into().unwrap(), tv_nsec: time.subsec_nanos().into() };
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&time)).unwrap() == 1
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ends(&self) {
        assert!(self.ends_within(TIME_LIMIT), "process {} still lives", self.pid);
    }

    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

impl Drop for WatchedProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the state letter of a process: `R`, `S`, `T`, `Z` and so on. Returns `None` once it was reaped.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}
