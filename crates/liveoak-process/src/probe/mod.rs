//! When is a program ready? A [`Probe`] is the question; [`Armed`] asks it for one attempt.
//!
//! Arm the probe *before* the spawn and feed it the output ([`Armed::observe`]), so that a log line written in the first
//! millisecond counts. Then wait ([`Armed::wait_until_ready`]) for as long as the start may take: the caller has the
//! deadline, and drops the future. Why it is not ready yet can be asked at any moment ([`Armed::latest_failure`]).
//!
//! When not to use it: for health. A probe stops asking once it was answered.

mod armed;
mod error;
mod http;
mod target;

pub use armed::Armed;
pub use error::{ProbeError, ProbeFailure};

use crate::command::CommandLine;
use http::Url;
use regex_lite::Regex;
use std::path::{Path, PathBuf};
use std::time::Duration;
use target::TcpTarget;

/// How long a check that said no is left alone before the next.
const DEFAULT_EVERY: Duration = Duration::from_millis(100);

/// How long one check may take.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// A question that a program answers once it is ready. Plain data: [`arm`](Probe::arm) it for each attempt.
#[derive(Clone, Debug)]
pub struct Probe {
    kind: Kind,
    every: Duration,
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum Kind {
    Delay(Duration),
    Log(Regex),
    Tcp(TcpTarget),
    Unix(PathBuf),
    File(PathBuf),
    Command(Box<CommandLine>),
    Http(Url),
}

impl Probe {
    fn new(kind: Kind) -> Probe {
        Probe { kind, every: DEFAULT_EVERY, timeout: DEFAULT_TIMEOUT }
    }

    /// Ready when this much time has passed since the probe was armed. For programs that give no sign.
    pub fn delay(time: Duration) -> Probe {
        Probe::new(Kind::Delay(time))
    }

    /// Ready when a line of the output, standard or error, matches this regular expression (anywhere in the line; the
    /// syntax is that of the crate `regex-lite`). The pieces of an overlong line are matched one by one.
    ///
    /// # Errors
    /// When `pattern` is no regular expression.
    pub fn log(pattern: &str) -> Result<Probe, ProbeError> {
        let compiled = Regex::new(pattern);
        let refused = |source| ProbeError::Pattern { pattern: pattern.to_owned(), source };
        Ok(Probe::new(Kind::Log(compiled.map_err(refused)?)))
    }

    /// Ready when a TCP connection can be made to `host:port`. Without a host (`:7000`) it is this machine, by IPv4 or
    /// IPv6. An IPv6 address stands in brackets. Names are looked up with each check.
    ///
    /// # Errors
    /// When `address` is not of that form.
    pub fn tcp(address: &str) -> Result<Probe, ProbeError> {
        Ok(Probe::new(Kind::Tcp(TcpTarget::parse(address)?)))
    }

    /// Ready when a connection can be made to the unix socket at this path.
    pub fn unix(path: impl Into<PathBuf>) -> Probe {
        Probe::new(Kind::Unix(path.into()))
    }

    /// Ready when there is something at this path.
    pub fn file(path: impl Into<PathBuf>) -> Probe {
        Probe::new(Kind::File(path.into()))
    }

    /// Ready when this command succeeds. It runs in a process group of its own and is killed, all of it, when the
    /// check's time is up. Its output is thrown away.
    pub fn command(command: CommandLine) -> Probe {
        use crate::command::OutputMode::Null;
        Probe::new(Kind::Command(Box::new(command.stdout(Null).stderr(Null))))
    }

    /// Ready when a `GET` of this `http://host:port/path` is answered with a status from 200 to 399. Redirections are
    /// not followed.
    ///
    /// # Errors
    /// When `url` is not of that form. There is no `https`.
    pub fn http(url: &str) -> Result<Probe, ProbeError> {
        Ok(Probe::new(Kind::Http(Url::parse(url)?)))
    }

    /// How long to wait after a check that failed: 100 ms unless set. No effect on a delay or a log probe, which need no
    /// retries.
    pub fn every(mut self, every: Duration) -> Probe {
        self.every = every;
        self
    }

    /// How long one check may take: 1 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Probe {
        self.timeout = timeout;
        self
    }

    /// Makes relative paths start at `dir`: that of a socket or file, and the directory of a command that has none.
    pub fn relative_to(mut self, dir: &Path) -> Probe {
        match &mut self.kind {
            Kind::Unix(path) | Kind::File(path) => *path = dir.join(&*path),
            Kind::Command(command) => {
                command.cwd = Some(command.cwd.as_ref().map_or_else(|| dir.to_owned(), |cwd| dir.join(cwd)));
            }
            Kind::Delay(_) | Kind::Log(_) | Kind::Tcp(_) | Kind::Http(_) => {}
        }
        self
    }

    /// Whether somebody else than the program can answer it, by holding its port or having left its file behind.
    pub(crate) fn can_be_answered_by_others(&self) -> bool {
        match self.kind {
            Kind::Tcp(_) | Kind::Unix(_) | Kind::File(_) | Kind::Http(_) => true,
            // A command is asked only when there is something to ask about: it may do more than look.
            Kind::Delay(_) | Kind::Log(_) | Kind::Command(_) => false,
        }
    }

    /// A fresh probe for one attempt: its clock starts now, and it has seen no line yet.
    pub fn arm(&self) -> Armed {
        Armed::new(self.clone())
    }
}

impl std::fmt::Display for Probe {
    /// What it waits for, to follow "waiting for".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Delay(time) => write!(f, "{time:?} to pass"),
            Kind::Log(pattern) => write!(f, "a line that matches /{pattern}/"),
            Kind::Tcp(target) => write!(f, "a connection to {target}"),
            Kind::Unix(path) => write!(f, "a connection to {}", path.display()),
            Kind::File(path) => write!(f, "{} to exist", path.display()),
            Kind::Command(command) => write!(f, "`{command}` to succeed"),
            Kind::Http(url) => write!(f, "a good answer from {url}"),
        }
    }
}
