//! A part of a log: after a record, and between two times.

use crate::record::RecordId;
use crate::segment::{Stamp, Summary};
use crate::store::millis;
use std::time::SystemTime;

/// A part of a log. Without a bound: all of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range {
    pub(crate) after: Option<RecordId>,
    pub(crate) since: Option<SystemTime>,
    pub(crate) until: Option<SystemTime>,
}

impl Range {
    pub(crate) fn contains(&self, stamp: Stamp) -> bool {
        self.after.is_none_or(|id| (stamp.run, stamp.n) > (id.run, id.n))
            && self.since.is_none_or(|time| stamp.at >= millis(time))
            && self.until.is_none_or(|time| stamp.at <= millis(time))
    }

    /// Returns what decides which segments are left out if all before the first record at or after `begin` is. It is asked
    /// about the segments in their order. A later segment may have earlier times, if the clock was set back.
    pub(crate) fn skips_from(self, begin: SystemTime) -> impl FnMut(&Summary) -> bool {
        let mut is_before = true;
        move |summary| {
            is_before &= summary.latest < millis(begin);
            is_before || self.skips(summary)
        }
    }

    /// Returns `true` if it contains no record of a segment.
    pub(crate) fn skips(&self, summary: &Summary) -> bool {
        self.after.is_some_and(|id| summary.last <= (id.run, id.n))
            || self.since.is_some_and(|time| summary.latest < millis(time))
            || self.until.is_some_and(|time| summary.earliest > millis(time))
    }
}
