//! The bounds of the server. Each keeps a slow or hostile client from holding what others need.

use std::time::Duration;

/// The most connections over the unix socket, and over TCP, at the same time. A further one closes the one that has been idle
/// longest. The two are counted apart: strangers who reach the TCP address take no place of the owner.
pub(crate) const MAX_CONNECTIONS: usize = 512;

/// How many further connections are taken while all are in use, only to be told so.
pub(crate) const MAX_EXCESS: usize = 32;

/// How long the head of a request may take, and how long a connection may be idle between two requests.
pub(crate) const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// How long the body of a request may take.
pub(crate) const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The most bytes of the body of a request.
pub(crate) const MAX_BODY: usize = 256 * 1024;

/// How many bytes of a body that is too large are read and dropped, before the connection is closed.
pub(crate) const MAX_DROPPED: usize = 8 * 1024 * 1024;

/// The most bytes of the head of a request.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// The most `**` in a pattern: each makes a match slower.
pub(crate) const MAX_ANY_NAMES: usize = 16;

/// The most patterns of one command that may match several children: each is tried on each child.
pub(crate) const MAX_PATTERNS: usize = 100;

/// How many requests may come at once, and how many a second then.
pub(crate) const REQUESTS: u32 = 2000;

/// How long a command waits for the runtime of the tree, before it is refused as blocked.
pub(crate) const RUNTIME_WITHIN: Duration = Duration::from_secs(1);

/// The most events that are kept in memory.
pub(crate) const KEPT_EVENTS: usize = 16_384;

/// The most bytes of text in the events that are kept in memory.
pub(crate) const KEPT_EVENT_BYTES: usize = 8 * 1024 * 1024;

/// The most lines of output that are kept in memory.
pub(crate) const KEPT_LINES: usize = 65_536;

/// The most bytes of output that are kept in memory.
pub(crate) const KEPT_LINE_BYTES: usize = 8 * 1024 * 1024;

/// How many entries a stream takes from a ring at once.
pub(crate) const BATCH: usize = 256;

/// After how long a stream without events sends a comment, so that both ends notice a dead connection.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long the server goes on after the end of the tree, so that answers and streams reach their readers.
pub(crate) const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// The most series of one metric. Children beyond are counted together, as the path `other`.
pub(crate) const MAX_SERIES: usize = 2000;
