//! Every default and every bound of `liveoak.toml`, in one place.
//!
//! A value that a file leaves out is filled in from here and nowhere else, so that `docs/liveoak-toml.md`, the JSON
//! Schema and the reader can be compared with one list.

use std::time::Duration;

/// The file that is read when none is named.
pub(crate) const FILE: &str = "liveoak.toml";
/// The name of a tree whose folder has no usable name (for example `/`).
pub(crate) const NAME: &str = "liveoak";

/// How long the stop of the whole tree may take.
pub(crate) const TREE_STOP: Duration = Duration::from_secs(30);
/// How long one program may take to end after its stop signal.
pub(crate) const CHILD_STOP: Duration = Duration::from_secs(5);
/// How long a start may wait for readiness.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(30);
/// The first wait of the backoff.
pub(crate) const BACKOFF_FROM: Duration = Duration::from_millis(100);
/// The longest wait of the backoff.
pub(crate) const BACKOFF_TO: Duration = Duration::from_secs(30);
/// How long an attempt must have run for the backoff to begin anew.
pub(crate) const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(10);
/// The exit code that is no failure.
pub(crate) const SUCCESS: u8 = 0;

/// The largest file that is read: a tree at [`MAX_CHILDREN`] with 100 bytes each.
pub(crate) const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// How deep supervisors may nest; the reader recurses once per level.
pub(crate) const MAX_DEPTH: usize = 16;
/// How many children a file may declare, supervisors and every replica counted.
pub(crate) const MAX_CHILDREN: u64 = 10_000;
/// How many `after` edges a file may declare, each counted once for every pair of replicas that it joins: ten for each
/// of [`MAX_CHILDREN`]. Bounds what the edges of large replica sets can multiply to.
pub(crate) const MAX_EDGES: u64 = 100_000;
/// How many replicas one child may have.
pub(crate) const MAX_REPLICAS: u64 = 1024;
/// The longest name of a child, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 64;
/// The most restarts a limit may allow; above it, `"unlimited"` is what is meant.
pub(crate) const MAX_RESTARTS: u64 = 65_536;
/// The longest time that may be written: ten years. Longer ones are slips, and would overflow a clock.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// How many errors are printed for people; the rest are counted.
pub(crate) const MAX_SHOWN: usize = 50;
/// How many errors are kept at all (and given by `--json`); the rest are counted.
pub(crate) const MAX_KEPT: usize = 1000;
