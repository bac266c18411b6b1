//! The bounds of the server. Each prevents a slow or hostile client from using up what others need.

use std::time::Duration;

/// The most connections over the unix socket, and over TCP, at the same time. Further ones are closed at once. The two are
/// counted separately, so callers over TCP cannot keep the owner from connecting.
pub(crate) const MAX_CONNECTIONS: usize = 512;

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

/// How many requests may come at once, and how many per second after that.
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

/// How long a connection without a request so far may still send one after the end of the tree.
pub(crate) const FIRST_REQUEST_WITHIN: Duration = Duration::from_millis(200);

/// The most series of one metric. Further children are counted together, as the path `other`.
pub(crate) const MAX_SERIES: usize = 2000;
