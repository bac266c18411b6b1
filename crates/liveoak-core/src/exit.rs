//! The exit: how an attempt ended, as a value.
//!
//! `Exit` has more variants than a `Result`, because each needs a different reaction.

use crate::failure::Failure;
use crate::text::bounded_text;
use crate::{Name, Path, Survivors};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How an attempt ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Exit {
    /// The body returned success. There is nothing to do.
    Completed,
    /// The body reported that it is not needed here. The attempt is over; the child counts as started.
    Ignored,
    /// The child ended because it was asked to stop, before it had a result.
    Stopped,
    /// A supervisor ended as declared: its significant children had ended (see [`AutoShutdown`](crate::AutoShutdown)).
    AutoShutdown,
    /// The body returned an error. Read its text, which has its sources too.
    Failed(Arc<Failure>),
    /// The factory, the body, a hook or a destructor panicked. This is a bug: read the message and the location.
    Panicked(Arc<Panic>),
    /// A process ended with an exit code that does not count as success.
    Code(i32),
    /// A signal ended a process. Liveoak sent the signal to stop the process, or it came from elsewhere.
    Signal {
        /// The signal's number.
        signal: i32,
        /// `true` if the kernel wrote a core file.
        core_dumped: bool,
    },
    /// The child was not ready before its start deadline.
    StartTimeout(Duration),
    /// The attempt was ready for longer than it may run ([`ChildSpec::run_within`](crate::ChildSpec::run_within)), so it
    /// was stopped.
    RunTimeout(Duration),
    /// The child gave no heartbeat for longer than it promised. It is stuck: find out what it was doing.
    HeartbeatTimeout(Duration),
    /// A check of the child failed as often in a row as it may. The child was stopped because of it.
    Unhealthy(Arc<Unhealthy>),
    /// The child was killed: it did not stop before its stop deadline, or the tree was killed, or its runtime shut
    /// down.
    Killed,
    /// The child did not end although it was killed (it is a thread, or code that never yields). It may still run.
    Abandoned,
    /// The same for a program: processes of it are still alive, because the system refused to kill them or because they
    /// hang in the kernel. The child does not start again while one of them lives.
    StillRuns(Arc<Survivors>),
    /// A supervisor failed while it was starting, because the start of a child failed.
    StartFailed(Arc<StartFailure>),
    /// A supervisor gave up: a restart exceeded a limit.
    GaveUp(Arc<LimitExceeded>),
    /// A supervisor ended as declared because its significant children had ended, and one of them had failed. This is
    /// a failure. Because it is also the declared end, only a permanent supervisor is restarted after it.
    AutoShutdownFailed(Arc<AutoShutdownFailure>),
    /// The child asked for its own restart. This is not a failure: the child starts again without a delay, and the
    /// restart counts against no limit, up to ten such restarts within a minute
    /// ([`Limit::OF_RESTART_REQUESTS`](crate::Limit::OF_RESTART_REQUESTS)).
    RestartRequested(Arc<RestartRequest>),
}

/// The classes of exits that the table restart × exit tells apart.
pub(crate) enum ExitClass {
    /// The attempt ended with success, by a stop, or by auto shutdown.
    Ended,
    /// The child is not needed here.
    Ignored,
    /// A failure after which a transient child is restarted.
    Failure,
    /// The child asked for its own restart.
    RestartRequest,
    /// An auto shutdown that was a failure. After it, only a permanent supervisor is restarted.
    FailedEnd,
}

impl Exit {
    /// Returns the exit for an error that a body returned. Renders the text of the error and its sources once.
    ///
    /// The exit also holds the error itself until the attempt has ended. After that, it holds the error only if the
    /// child keeps its errors ([`ChildSpec::keep_error`](crate::ChildSpec::keep_error)).
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::new(Failure::new(error, true)))
    }

    /// Returns the exit for an error that every later attempt will meet again, unless files or the configuration are
    /// changed. A missing program is an example. In a first start, such a failure fails the supervisor even if it
    /// [retries](crate::FirstStart::Retry). Later, it is an ordinary failure.
    pub fn failed_not_retryable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::new(Failure::new(error, false)))
    }

    /// Returns the exit of a child that asks for its own restart. At most [`MAX_REASON_BYTES`] bytes of `reason` are kept.
    pub fn restart_requested(reason: impl Into<String>) -> Self {
        let reason = bounded_text(&reason.into(), MAX_REASON_BYTES);
        Self::RestartRequested(Arc::new(RestartRequest { reason }))
    }

    /// Returns `true` if the child asked for its own restart.
    pub(crate) const fn is_restart_request(&self) -> bool {
        matches!(self, Self::RestartRequested(_))
    }

    /// Returns `false` for a failure that every later attempt will meet again, and for a supervisor that did not start
    /// because of one.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let mut exit = self;
        // A supervisor that failed to start is as retryable as the failed start below it.
        while let Self::StartFailed(failure) = exit {
            exit = &failure.exit;
        }
        !matches!(exit, Self::Failed(failure) if !failure.is_retryable())
    }

    /// Returns `true` if the exit is a failure. A program that dies from its stop signal has failed too.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self.class(), ExitClass::Failure | ExitClass::FailedEnd)
    }

    /// Returns `true` if the attempt completed its work. An attempt that ended only because it was asked to stop has
    /// neither failed nor succeeded.
    pub(crate) const fn is_success(&self) -> bool {
        matches!(self, Self::Completed | Self::Ignored | Self::AutoShutdown)
    }

    /// Returns the class of the exit. The class decides what follows the exit.
    pub(crate) const fn class(&self) -> ExitClass {
        match self {
            Self::Completed | Self::Stopped | Self::AutoShutdown => ExitClass::Ended,
            Self::Ignored => ExitClass::Ignored,
            Self::Failed(_) | Self::Panicked(_) | Self::Code(_) | Self::Signal { .. } => ExitClass::Failure,
            Self::StartTimeout(_) | Self::RunTimeout(_) | Self::HeartbeatTimeout(_) | Self::Unhealthy(_) => {
                ExitClass::Failure
            }
            Self::Killed | Self::Abandoned | Self::StillRuns(_) => ExitClass::Failure,
            Self::StartFailed(_) | Self::GaveUp(_) => ExitClass::Failure,
            Self::AutoShutdownFailed(_) => ExitClass::FailedEnd,
            Self::RestartRequested(_) => ExitClass::RestartRequest,
        }
    }

    /// Returns the kind of exit as one word, stable for logs and scripts.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Ignored => "ignored",
            Self::Stopped => "stopped",
            Self::AutoShutdown => "auto-shutdown",
            Self::Failed(_) => "failed",
            Self::Panicked(_) => "panicked",
            Self::Code(_) => "code",
            Self::Signal { .. } => "signal",
            Self::StartTimeout(_) => "start-timeout",
            Self::RunTimeout(_) => "run-timeout",
            Self::HeartbeatTimeout(_) => "heartbeat-timeout",
            Self::Unhealthy(_) => "unhealthy",
            Self::Killed => "killed",
            Self::Abandoned | Self::StillRuns(_) => "abandoned",
            Self::StartFailed(_) => "start-failed",
            Self::GaveUp(_) => "gave-up",
            Self::AutoShutdownFailed(_) => "auto-shutdown-failed",
            Self::RestartRequested(_) => "restart-requested",
        }
    }
}

/// What stands before the text of a failure.
pub(crate) const FAILED: &str = "failed: ";

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Ignored => f.write_str("not needed here"),
            Self::Stopped => f.write_str("stopped as asked"),
            Self::AutoShutdown => f.write_str("ended because its significant children had ended"),
            Self::Failed(failure) => {
                f.write_str(FAILED)?;
                f.write_str(failure.text())
            }
            Self::Panicked(panic) => panic.fmt(f),
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal { signal, core_dumped } => {
                match signal_name(*signal) {
                    Some(name) => write!(f, "ended by {name}")?,
                    None => write!(f, "ended by signal {signal}")?,
                }
                if *core_dumped { f.write_str(", core dumped") } else { Ok(()) }
            }
            Self::StartTimeout(within) => write!(f, "not ready within {within:?}"),
            Self::RunTimeout(within) => write!(f, "ran longer than {within:?}"),
            Self::HeartbeatTimeout(within) => write!(f, "no heartbeat for {within:?}"),
            Self::Unhealthy(unhealthy) => unhealthy.fmt(f),
            Self::Killed => f.write_str("killed"),
            Self::Abandoned => f.write_str("abandoned: it could not be ended and may still run"),
            Self::StillRuns(survivors) => write!(f, "abandoned: {survivors}"),
            Self::StartFailed(failure) => failure.fmt(f),
            Self::GaveUp(gave_up) => gave_up.fmt(f),
            Self::AutoShutdownFailed(failure) => failure.fmt(f),
            Self::RestartRequested(request) => request.fmt(f),
        }
    }
}

/// Returns the name of a signal whose number is the same on all common Linux machines (signal(7)).
const fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// The most bytes that are kept of a reason: of a [`RestartRequest`], of a health, or of the answer of a check. A longer
/// reason is cut, and ends with `…`.
pub const MAX_REASON_BYTES: usize = 1024;

/// A child's request for its own restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartRequest {
    /// The reason that the child gave.
    pub reason: String,
}

impl fmt::Display for RestartRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "asked for its restart: {}", self.reason)
    }
}

/// The most bytes of a panic's message that are kept. A longer one is cut, and ends with `…`.
pub const MAX_PANIC_BYTES: usize = 4096;

/// The most bytes of a panic's backtrace that are kept. A longer one is cut, and ends with `…`.
pub const MAX_BACKTRACE_BYTES: usize = 65_536;

/// What is known of a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// The panic's message, at most 4 KiB of it.
    pub message: String,
    /// `file:line:column`, when known.
    pub location: Option<String>,
    /// The backtrace, when backtraces are enabled, at most 64 KiB of it.
    pub backtrace: Option<String>,
    /// The part that panicked, if it was not the body itself: `factory`, `init`, `run`, `stop hook`, `destructor`,
    /// `subtask`, `dedicated runtime`; or `supervision`, if the tree itself has failed by a panic of Liveoak.
    pub during: Option<&'static str>,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("panicked")?;
        if let Some(during) = self.during {
            write!(f, " in its {during}")?;
        }
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The check that failed, and its last answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhealthy {
    /// The name of the check.
    pub check: Name,
    /// The answer of the last try, or that there was none in time.
    pub reason: Arc<str>,
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unhealthy: the check {} failed: {}", self.check, self.reason)
    }
}

/// The failed start of a child. Because of it, the supervisor that was starting has failed.
#[derive(Clone, Debug)]
pub struct StartFailure {
    /// The child that could not start.
    pub path: Path,
    /// The exit of its attempt.
    pub exit: Exit,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed to start: {}", self.path, self.exit)
    }
}

impl Error for StartFailure {}

/// The failure of a significant child whose end ended its supervisor.
#[derive(Clone, Debug)]
pub struct AutoShutdownFailure {
    /// The significant child that failed.
    pub path: Path,
    /// The exit of its last attempt.
    pub exit: Exit,
}

impl fmt::Display for AutoShutdownFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended because its significant child {} had ended: {}", self.path, self.exit)
    }
}

impl Error for AutoShutdownFailure {}

/// A limit that was exceeded, and the child that exceeded it.
#[derive(Clone, Debug)]
pub struct LimitExceeded {
    /// The child whose restart was one too many.
    pub path: Path,
    /// The child's name.
    pub child: Name,
    /// The exit of its last attempt.
    pub exit: Exit,
    /// The number of restarts within `period`, including the one that was not allowed; or the number of failures in a
    /// row, if `in_a_row` is set.
    pub count: u32,
    /// The number of restarts that the limit allows.
    pub allowed: u32,
    /// The period of the limit.
    pub period: Duration,
    /// `true` if it was the limit of the child alone, `false` if it was the intensity of its supervisor.
    pub own_limit: bool,
    /// The time after which the child makes a trial attempt, if it is quarantined.
    pub retry_after: Option<Duration>,
    /// `true` if the failures in a row exceeded the limit, `false` if the restarts within `period` did. Failures in a
    /// row count only against the limit of a child.
    pub in_a_row: bool,
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.own_limit { "its own limit" } else { "the limit of its supervisor" };
        write!(f, "gave up on {}: {} ", self.path, self.count)?;
        if self.in_a_row {
            f.write_str("failures in a row")?;
        } else {
            write!(f, "restarts within {:?}", self.period)?;
        }
        write!(f, " are more than {whose}, {}; its last exit: {}", self.allowed, self.exit)
    }
}

impl Error for LimitExceeded {}
