//! The bounds of the server. Each prevents a slow or hostile client from using up what others need.

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

/// How long a connection without a request so far may still send one after the end of the tree.
pub(crate) const FIRST_REQUEST_WITHIN: Duration = Duration::from_millis(200);

/// How long the answer to a command waits for the disk. A disk that takes longer gets the record later, or never.
pub(crate) const SETTLE_WITHIN: Duration = Duration::from_secs(1);

/// How long the answer to a command, and one with events, waits until the events before it are recorded. In a storm it goes on
/// without the last ones.
pub(crate) const CATCH_UP_WITHIN: Duration = Duration::from_millis(250);

/// After how long a tree is copied again for a checkpoint that could not be appended.
pub(crate) const CHECKPOINT_AGAIN: Duration = Duration::from_secs(1);

/// How long the end of the server waits until the last records are on disk.
pub(crate) const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// How many threads read and wait for the disk at most.
pub(crate) const DISK_THREADS: usize = 16;

/// How many requests read all of the history on disk at the same time; others wait.
pub(crate) const MAX_SCANS: usize = 2;

/// About how many bytes a stream takes from the history on disk at once.
pub(crate) const PAST_BYTES: usize = 64 * 1024;

/// How many records a stream looks at in the history on disk at once.
pub(crate) const PAST_RECORDS: usize = 8192;

/// Up to this many last entries are found from the end of the history; for more, all of it is read.
pub(crate) const FEW_LAST: usize = 1000;

/// How many lines of each attempt are kept for the event of its crash.
pub(crate) const TAIL_LINES: usize = 20;

/// The most bytes of such a line.
pub(crate) const MAX_TAIL_LINE: usize = 1024;

/// The most attempts whose lines are kept. A further one has no lines if it crashes.
pub(crate) const MAX_TAILS: usize = 10_000;

/// How many crashes an answer has unless its caller wants another number.
pub(crate) const LAST_CRASHES: usize = 100;
