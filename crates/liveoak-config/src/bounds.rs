//! The bounds of `liveoak.toml`, and the default names. The defaults of what a child and a supervisor
//! declare are those of `liveoak-core` ([`ChildSpec`](liveoak_core::ChildSpec), [`Backoff`](liveoak_core::Backoff)).

use std::time::Duration;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "liveoak.toml";
/// The name of a tree whose folder has no usable name (for example `/`).
pub(crate) const FALLBACK_NAME: &str = "liveoak";

/// The largest file that is read: a tree at [`MAX_CHILDREN`] with 100 bytes each.
pub(crate) const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// How deep supervisors may be nested. The reader recurses once per level.
pub(crate) const MAX_DEPTH: usize = 16;
/// How many children a file may declare, including supervisors and every replica.
pub(crate) const MAX_CHILDREN: u64 = 10_000;
/// How many `after` edges a file may declare, on average ten per child. One edge between sets of 10 and 20 replicas
/// counts 200.
pub(crate) const MAX_EDGES: u64 = 100_000;
/// How many replicas one child may have.
pub(crate) const MAX_REPLICAS: u64 = 1024;
/// How many modes a file may declare.
pub(crate) const MAX_MODES: usize = 100;
/// How many patterns all modes of a file may have together. Each is compared with each child.
pub(crate) const MAX_PATTERNS: usize = 1000;
/// The longest name of a child, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 64;
/// The longest time that may be written: ten years. Longer values are assumed to be typing errors.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// How many errors are printed for people, and how many warnings about values are kept; the rest are counted.
pub(crate) const MAX_SHOWN: usize = 50;
/// How many errors are kept at all (and given by `--json`); the rest are counted.
pub(crate) const MAX_KEPT: usize = 1000;

/// The longest name of a file, in bytes (`NAME_MAX` of Linux).
pub(crate) const MAX_FILE_NAME: usize = 255;

/// The longest path, in bytes (`PATH_MAX` of Linux without the NUL at its end).
pub(crate) const MAX_PATH: usize = 4095;

/// The longest name of a unix socket, in bytes. A server binds a path of at most this length, and the shortest path is the
/// name alone.
pub(crate) const MAX_SOCKET_NAME: usize = 107;
