//! How much history is kept.

use std::time::Duration;

/// The bytes of a log that are kept by default.
pub const DEFAULT_BYTES: u64 = 64 * 1024 * 1024;
/// How long records are kept by default.
pub const DEFAULT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The smallest bound of a log. A smaller one counts as this.
pub const MIN_BYTES: u64 = 64 * 1024;
/// A log consists of about this many segments. The oldest history is removed by whole segments.
const PARTS: u64 = 16;

/// How much history a log keeps. What is older or does not fit is removed, oldest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogLimits {
    /// The most bytes that the files of the log occupy, at every moment.
    pub bytes: u64,
    /// How long records are kept. History is removed in pieces, so a record can be a sixteenth of this time older.
    pub age: Duration,
}

impl Default for LogLimits {
    fn default() -> LogLimits {
        LogLimits { bytes: DEFAULT_BYTES, age: DEFAULT_AGE }
    }
}

impl LogLimits {
    /// Returns the bound in bytes.
    pub(crate) fn bytes(self) -> u64 {
        self.bytes.max(MIN_BYTES)
    }

    /// Returns the size at which a segment is complete.
    pub(crate) fn segment_bytes(self) -> u64 {
        self.bytes() / PARTS
    }

    /// Returns the age at which a segment is complete.
    pub(crate) fn segment_age(self) -> Duration {
        self.age / PARTS as u32
    }

    /// Returns the longest payload of one record.
    pub(crate) fn record_bytes(self) -> usize {
        (self.bytes() / 2).min(crate::frame::MAX_PAYLOAD as u64) as usize
    }
}
