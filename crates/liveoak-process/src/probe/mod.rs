//! Probes of programs: for readiness, and for checks. A [`Probe`] describes how a program is checked; a [`ProbeRun`]
//! checks one attempt.
//!
//! Start the run *before* the spawn and show it the output ([`ProbeRun::observe`]), so that a log line written in the
//! first millisecond counts. Then wait ([`ProbeRun::wait_until_ready`]) for as long as the start may take; the caller
//! keeps the deadline. This wait stops after the first success. A check of a running program asks the same kind of probe
//! again and again (`checks.rs`).

mod error;
mod http;
mod linger;
mod log_pattern;
mod run;
mod target;
mod unix;

pub use error::{ProbeError, ProbeFailure};
pub use http::HttpUrl;
pub use log_pattern::LogPattern;
pub use run::ProbeRun;
pub use target::TcpTarget;

use crate::command::CommandLine;
use crate::environment::Environment;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The default time between a failed check and the next one.
const DEFAULT_EVERY: Duration = Duration::from_millis(100);

/// The time after the first failed check of a run. It doubles with each further failed check, up to the time between
/// checks.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The default time limit of one check.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// How to find out that a program is ready. Plain data: [`start`](Probe::start) a run of it for each attempt.
#[derive(Clone, Debug)]
pub struct Probe {
    kind: ProbeKind,
    /// `None` is the default.
    every: Option<Duration>,
    timeout: Option<Duration>,
}

/// Two probes are equal if they ask the same. A default that was written down does not differ from the default.
impl PartialEq for Probe {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.interval() == other.interval()
            && self.time_limit() == other.time_limit()
    }
}

impl Eq for Probe {}

/// The check of a [`Probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Whether this much time has passed since the run was started.
    Delay(Duration),
    /// Whether a line of the output matches.
    Log(LogPattern),
    /// Whether a TCP connection can be made.
    Tcp(TcpTarget),
    /// Whether a connection to the unix socket at this path can be made.
    Unix(PathBuf),
    /// Whether something is at this path.
    File(PathBuf),
    /// Whether this command succeeds.
    Command(Arc<CommandLine>),
    /// Whether a `GET` of this URL is answered with a status from 200 to 399.
    Http(HttpUrl),
}

impl Probe {
    fn new(kind: ProbeKind) -> Probe {
        Probe { kind, every: None, timeout: None }
    }

    /// Creates a probe that succeeds when this much time has passed since the run was started. For programs that give
    /// no sign.
    pub fn delay(time: Duration) -> Probe {
        Probe::new(ProbeKind::Delay(time))
    }

    /// Creates a probe that succeeds when a part of a line of the output, standard or error, matches this regular
    /// expression (in the syntax of the crate `regex-lite`). A line is matched as it was written, and as a terminal shows
    /// it, without colours and other escape sequences.
    ///
    /// # Errors
    /// When `pattern` is not a regular expression.
    pub fn log(pattern: &str) -> Result<Probe, ProbeError> {
        let refused = |source| ProbeError::Pattern { pattern: pattern.to_owned(), source };
        Ok(Probe::new(ProbeKind::Log(LogPattern::parse(pattern).map_err(refused)?)))
    }

    /// Creates a probe that succeeds when a TCP connection can be made to `host:port`. Without a host (`:7000`) it is this
    /// machine, by IPv4 or IPv6, and so is `localhost`. An IPv6 address stands in brackets. Other names are looked up with
    /// each check.
    ///
    /// # Errors
    /// When `address` is not of that form.
    pub fn tcp(address: &str) -> Result<Probe, ProbeError> {
        Ok(Probe::new(ProbeKind::Tcp(TcpTarget::parse(address)?)))
    }

    /// Creates a probe that succeeds when a connection can be made to the unix socket at this path. The path may be longer
    /// than the 107 bytes of a socket's address.
    pub fn unix(path: impl Into<PathBuf>) -> Probe {
        Probe::new(ProbeKind::Unix(path.into()))
    }

    /// Creates a probe that succeeds when a file of any kind is at this path.
    pub fn file(path: impl Into<PathBuf>) -> Probe {
        Probe::new(ProbeKind::File(path.into()))
    }

    /// Creates a probe that succeeds when this command does. The command runs in a process group of its own, which is
    /// killed when the time limit of the check is over. Its output is thrown away.
    ///
    /// The command of a child's probe gets the variables of the child's program (including `PATH` and `LIVEOAK_PATH`).
    /// Variables of the command override them. If the command cannot be run and a later check would not help, the
    /// attempt fails.
    pub fn command(command: CommandLine) -> Probe {
        use crate::command::OutputMode::Null;
        Probe::new(ProbeKind::Command(Arc::new(command.stdout(Null).stderr(Null))))
    }

    /// Creates a probe that succeeds when a `GET` of this `http://host:port/path` is answered with a status from 200 to
    /// 399. Redirections are not followed.
    ///
    /// # Errors
    /// When `url` is not of that form. There is no `https`.
    pub fn http(url: &str) -> Result<Probe, ProbeError> {
        Ok(Probe::new(ProbeKind::Http(HttpUrl::parse(url)?)))
    }

    /// Sets how long to wait after a check that failed: 100 ms unless set. After the first checks of an attempt the wait
    /// is shorter: 10 ms, 20 ms, 40 ms and so on, up to this time. Refused with a delay and a log
    /// probe, which are not tried repeatedly, and for the probe of a check, which says itself how often it is tried.
    pub fn every(mut self, every: Duration) -> Probe {
        self.every = Some(every);
        self
    }

    /// Sets how long one check may take: 1 s unless set. A command that takes longer is killed. Refused with a delay and a
    /// log probe.
    pub fn timeout(mut self, timeout: Duration) -> Probe {
        self.timeout = Some(timeout);
        self
    }

    /// Makes relative paths start at `dir`: that of a socket or file, and the directory of a command that has none.
    pub fn relative_to(mut self, dir: &Path) -> Probe {
        match &mut self.kind {
            ProbeKind::Unix(path) | ProbeKind::File(path) => *path = dir.join(&*path),
            ProbeKind::Command(command) => {
                let cwd = command.cwd.as_ref().map_or_else(|| dir.to_owned(), |cwd| dir.join(cwd));
                Arc::make_mut(command).cwd = Some(cwd);
            }
            ProbeKind::Delay(_) | ProbeKind::Log(_) | ProbeKind::Tcp(_) | ProbeKind::Http(_) => {}
        }
        self
    }

    /// Returns the longest wait after a failed check.
    pub fn interval(&self) -> Duration {
        self.every.unwrap_or(DEFAULT_EVERY)
    }

    /// Returns how long one check may take.
    pub fn time_limit(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }

    /// Returns `true` if the wait after a failed check was set.
    pub(crate) const fn is_every_written(&self) -> bool {
        self.every.is_some()
    }

    /// Returns `true` if the time limit of one check was set.
    pub(crate) const fn is_timeout_written(&self) -> bool {
        self.timeout.is_some()
    }

    /// Returns `true` if the probe repeats its check. A delay and a log probe do not: they wait for one event.
    pub fn is_repeated(&self) -> bool {
        !matches!(self.kind, ProbeKind::Delay(_) | ProbeKind::Log(_))
    }

    /// Returns the wait after `failures` failed checks in a row.
    fn pause_after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(u32::BITS - 1);
        FIRST_PAUSE.saturating_mul(1 << doublings).min(self.interval())
    }

    /// Returns the check of the probe.
    pub fn kind(&self) -> &ProbeKind {
        &self.kind
    }

    /// Returns `true` if something else can answer the probe, for example another server on the port, or an old file.
    pub(crate) fn can_be_answered_by_others(&self) -> bool {
        match self.kind {
            ProbeKind::Tcp(_) | ProbeKind::Unix(_) | ProbeKind::File(_) | ProbeKind::Http(_) => true,
            // A command may have side effects, so it is not run before the program.
            ProbeKind::Delay(_) | ProbeKind::Log(_) | ProbeKind::Command(_) => false,
        }
    }

    /// Starts a run of the probe for one attempt: its clock starts now, and it has seen no line yet.
    pub fn start(&self) -> ProbeRun {
        ProbeRun::new(self.clone(), None)
    }

    /// Starts a run of the probe for an attempt whose program has this environment.
    pub(crate) fn start_in(&self, environment: Environment) -> ProbeRun {
        ProbeRun::new(self.clone(), Some(environment))
    }
}

impl fmt::Display for Probe {
    /// Writes what the probe waits for, to follow "waiting for".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ProbeKind::Delay(time) => write!(f, "{time:?} to pass"),
            ProbeKind::Log(pattern) => write!(f, "a line that matches /{pattern}/"),
            ProbeKind::Tcp(target) => write!(f, "a connection to {target}"),
            ProbeKind::Unix(path) => write!(f, "a connection to {}", path.display()),
            ProbeKind::File(path) => write!(f, "{} to exist", path.display()),
            ProbeKind::Command(command) => write!(f, "`{command}` to succeed"),
            ProbeKind::Http(url) => write!(f, "a good answer from {url}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_checks_grows_up_to_the_interval() {
        let pauses = |every: u64| {
            let probe = Probe::file("x").every(Duration::from_millis(every));
            (1..=7).map(|failures| probe.pause_after(failures).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(100), [10, 20, 40, 80, 100, 100, 100]);
        assert_eq!(pauses(25), [10, 20, 25, 25, 25, 25, 25]);
        assert_eq!(pauses(3), [3; 7]);
        assert_eq!(pauses(2000), [10, 20, 40, 80, 160, 320, 640]);
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(Probe::file("x").every(day).pause_after(u32::MAX), day);
        assert_eq!(Probe::file("x").every(Duration::MAX).pause_after(u32::MAX), FIRST_PAUSE * (1 << 31));
    }
}
