//! The bounds of what is kept and sent.

use liveoak_api::convert::MAX_SERIES;
use std::time::Duration;

/// How many spans may come at once, and how many log records. The queue of the SDK has room for twice as many.
pub(crate) const BURST: u32 = 1000;

/// How many spans may come a second then, and how many log records. The SDK empties its queue every five seconds.
pub(crate) const A_SECOND: u32 = 100;

/// The most children whose attempts are known at a time. Further ones have no spans.
pub(crate) const MAX_KNOWN: usize = 10_000;

/// The most bytes of a text in an attribute, such as the message of an error.
pub(crate) const MAX_TEXT: usize = 4096;

/// The most series of one metric with two labels. Further ones are added up by the SDK (`otel.metric.overflow`).
pub(crate) const MAX_LABELLED: usize = 4 * MAX_SERIES;

/// How long the end of a run waits until the last of it is sent. A run waits at most three seconds for its observers.
pub(crate) const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// How often the log says at most that the receiver does not answer, or answers again.
pub(crate) const SAY_EVERY: Duration = Duration::from_secs(60);

/// The most bytes that are read of an answer.
pub(crate) const MAX_ANSWER: u64 = 64 * 1024;
