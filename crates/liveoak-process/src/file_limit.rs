//! The limit of open files, for the current process and for its child processes.
//!
//! Each child process needs a few descriptors in the current process. The usual soft limit of 1024 exists for programs
//! that use `select(2)`. Child processes may use `select(2)` too, so they get the soft limit with which the current
//! process was started.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

/// The limit before it was raised; unset if it never was.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the current process's soft limit of open files (`RLIMIT_NOFILE`) to its hard limit, for a program that runs many
/// child processes. They still get the old soft limit. A refusal by the system is ignored. Do not call it in a program
/// that uses `select(2)` itself.
pub fn raise_file_limit() {
    BEFORE.get_or_init(|| {
        let before = getrlimit(Resource::Nofile);
        let _refused =
            setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
        before
    });
}

/// Returns the limit that child processes must get, or `None` if it was not raised.
pub(crate) fn limit_of_children() -> Option<Rlimit> {
    BEFORE.get().cloned()
}
