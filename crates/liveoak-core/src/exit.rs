//! How an attempt ended, as a value.
//!
//! Richer than `Result`: each variant is something an operator acts on differently.

use crate::{Name, Path};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How an attempt ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Exit {
    /// The body returned success. Nothing to do.
    Completed,
    /// `init` said that this child is not needed here. It counts as started and is absent.
    Ignored,
    /// The child ended because it was asked to before it had anything of its own to say.
    Stopped,
    /// A supervisor ended as wanted: its significant children had ended (see [`AutoShutdown`](crate::AutoShutdown)).
    AutoShutdown,
    /// The body returned an error. Read the chain.
    Failed(Arc<Failure>),
    /// The factory, the body, a hook or a destructor panicked. A bug: read the message and the location.
    Panicked(Arc<Panic>),
    /// A process ended with an exit code that does not count as success.
    Code(i32),
    /// A process was ended by a signal that nobody here sent, or as a part of its stop.
    Signal {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel wrote a core file.
        core_dumped: bool,
    },
    /// The child was not ready within the time it had for its start.
    StartTimeout(Duration),
    /// The child gave no heartbeat for longer than it promised. It is stuck; look at what it was doing.
    HeartbeatTimeout(Duration),
    /// The child was ended by force: it did not stop within its time, or something outside cancelled it.
    Killed,
    /// The child could not be ended, not even by force (a thread, or code that never yields). It may still
    /// run; nothing waits for it any more.
    Abandoned,
    /// A supervisor's first start failed because this child's did.
    StartFailed(Arc<StartFailure>),
    /// A supervisor gave up: a child failed more often than its limit allows.
    GaveUp(Arc<LimitExceeded>),
}

impl Exit {
    /// An exit from any error.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::new(Failure(error.into())))
    }

    /// Whether the attempt failed, in the sense of law 5. What was wanted is no failure.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::Completed | Self::Ignored | Self::Stopped | Self::AutoShutdown => false,
            Self::Failed(_)
            | Self::Panicked(_)
            | Self::Code(_)
            | Self::Signal { .. }
            | Self::StartTimeout(_)
            | Self::HeartbeatTimeout(_)
            | Self::Killed
            | Self::Abandoned
            | Self::StartFailed(_)
            | Self::GaveUp(_) => true,
        }
    }

    /// One word for the kind of exit, stable for logs and scripts.
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
            Self::HeartbeatTimeout(_) => "heartbeat-timeout",
            Self::Killed => "killed",
            Self::Abandoned => "abandoned",
            Self::StartFailed(_) => "start-failed",
            Self::GaveUp(_) => "gave-up",
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Ignored => f.write_str("not needed here"),
            Self::Stopped => f.write_str("stopped as asked"),
            Self::AutoShutdown => f.write_str("ended because its significant children had ended"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
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
            Self::HeartbeatTimeout(within) => write!(f, "no heartbeat for {within:?}"),
            Self::Killed => f.write_str("killed"),
            Self::Abandoned => f.write_str("abandoned: it could not be ended and may still run"),
            Self::StartFailed(failure) => failure.fmt(f),
            Self::GaveUp(gave_up) => gave_up.fmt(f),
        }
    }
}

/// The names of signals that are the same on all common Linux machines (signal(7)).
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

/// The error a body returned, with its chain of sources.
pub struct Failure(Box<dyn Error + Send + Sync>);

impl Failure {
    /// The error itself, for downcasting.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What is known of a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// The panic's message.
    pub message: String,
    /// `file:line:column`, when known.
    pub location: Option<String>,
    /// The backtrace, when backtraces are enabled.
    pub backtrace: Option<String>,
    /// Where it happened, when not in the body itself: `factory`, `init`, `stop hook`, `destructor`, `subtask`.
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

/// Which child made a first start fail, and how.
#[derive(Clone, Debug)]
pub struct StartFailure {
    /// The child that could not start.
    pub path: Path,
    /// How its attempt ended.
    pub exit: Exit,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed to start: {}", self.path, self.exit)
    }
}

impl Error for StartFailure {}

/// Why a supervisor gave up.
#[derive(Clone, Debug)]
pub struct LimitExceeded {
    /// The child whose failure was one too many.
    pub path: Path,
    /// The child's name.
    pub child: Name,
    /// How its last attempt ended.
    pub exit: Exit,
    /// Restarts that would have been needed within `period`, this one included.
    pub count: u32,
    /// How many were allowed.
    pub allowed: u32,
    /// The window.
    pub period: Duration,
    /// Whether the limit was the child's own; else it was its supervisor's for all its children.
    pub own_limit: bool,
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.own_limit { "its own limit" } else { "the limit of its supervisor" };
        write!(
            f,
            "gave up on {}: {} restarts within {:?} are more than {whose}, {}; its last exit: {}",
            self.path, self.count, self.period, self.allowed, self.exit
        )
    }
}

impl Error for LimitExceeded {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_its_whole_chain_and_nothing_twice() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("no such port")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let inner = "x".parse::<u16>().expect_err("not a number");
        let exit = Exit::failed(Outer(inner));
        assert_eq!(exit.to_string(), "failed: no such port: invalid digit found in string");
        assert!(exit.is_failure());
    }
}
