//! How many descriptors this program may have, and how many its children.
//!
//! Each running program needs a handful of descriptors here, and the usual soft limit of 1024 is for programs that use
//! `select(2)`. Such programs may be among the children, so what this program raises for itself is not for them: they
//! get the soft limit that this program was started with.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

/// The limit before it was raised; unset if it never was.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises this program's soft limit of open files (`RLIMIT_NOFILE`) as far as it may. Programs that are started later
/// get the limit as it was. For a program of which supervising is the main job; does nothing the second time, or
/// when the system refuses.
pub fn raise_file_limit() {
    BEFORE.get_or_init(|| {
        let before = getrlimit(Resource::Nofile);
        let _refused =
            setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
        before
    });
}

/// What a child has to be given back.
pub(crate) fn limit_of_children() -> Option<Rlimit> {
    BEFORE.get().cloned()
}
