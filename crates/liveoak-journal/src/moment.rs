//! The state of the tree at a moment: the last checkpoint before it, and the events from there to the moment.
//!
//! Events are numbered without gaps. So the state is exact if no number is missing between the checkpoint and the moment,
//! and the next event after the moment has the next number.

use crate::journal::KIND;
use crate::query::{JournalEntry, JournalReader};
use crate::record::{RecordKind, RecordView};
use crate::segment::Stamp;
use crate::store::millis;
use crate::walk::{Listing, Walk};
use std::io;
use std::time::SystemTime;

/// The state of a tree at a moment.
#[derive(Debug)]
pub struct TreeMoment {
    /// The run that the moment belongs to.
    pub run: u64,
    /// The number of the last event up to the moment.
    pub n: u64,
    /// The time of that event, or of the checkpoint if it is later.
    pub at: SystemTime,
    /// The last checkpoint up to the moment. Without one, the state cannot be known: the journal begins later.
    pub checkpoint: Option<JournalEntry>,
    /// No event is missing between the checkpoint and the moment.
    pub is_exact: bool,
    /// The events after the checkpoint up to the moment.
    pub events: MomentEvents,
}

/// The events that lead from a checkpoint to a moment.
#[derive(Debug)]
pub struct MomentEvents {
    walk: Walk,
    run: u64,
    /// The number of the last event that was returned, or of the checkpoint.
    after: u64,
    until: u64,
}

impl Iterator for MomentEvents {
    type Item = JournalEntry;

    fn next(&mut self) -> Option<JournalEntry> {
        while self.after < self.until {
            let stamp = self.walk.advance()?;
            // The events before the checkpoint, and what was written twice.
            if stamp.letter != 'E' || stamp.run != self.run || stamp.n <= self.after || stamp.n > self.until {
                continue;
            }
            let Some(view) = RecordView::read(self.walk.payload()) else { continue };
            self.after = stamp.n;
            return Some(JournalEntry { run: self.run, record: view.to_record() });
        }
        None
    }
}

/// The last event or checkpoint up to a moment.
#[derive(Clone, Copy, Debug)]
struct Cut {
    run: u64,
    n: u64,
    at: u64,
}

/// What follows a cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    /// Nothing that was written.
    Nothing,
    /// The event with the next number, or another run.
    Event,
    /// A loss, damage, or an event with a later number.
    Gap,
}

impl JournalReader {
    /// Returns the state of the tree at a moment: after the last event that has this time or an earlier one. If the clock was
    /// set back, the last event in the order of the journal counts.
    ///
    /// Returns `None` if the journal has nothing from that time or before. A moment after the end of a run is answered with
    /// the end of that run.
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed.
    pub fn at(&self, time: SystemTime) -> io::Result<Option<TreeMoment>> {
        let listing = Listing::new(self.dir(), KIND)?;
        let Some((segment, cut)) = last_cut(&listing, millis(time)) else { return Ok(None) };
        let Some((first, checkpoint)) = last_checkpoint(&listing, segment, cut) else {
            let events = MomentEvents { walk: listing.walk(0..0), run: cut.run, after: 0, until: 0 };
            return Ok(Some(moment(cut, None, false, events)));
        };
        // Events after the checkpoint may stand before it: they were appended while the tree was copied.
        let walk = || listing.walk(first.saturating_sub(1)..listing.segments.len());
        let after = checkpoint.record.n;
        let events = || MomentEvents { walk: walk(), run: cut.run, after, until: cut.n };
        let has_all = events().count() as u64 == cut.n - after;
        let is_exact = has_all && next_after(walk(), cut) != Next::Gap;
        Ok(Some(moment(cut, Some(checkpoint), is_exact, events())))
    }
}

fn moment(cut: Cut, checkpoint: Option<JournalEntry>, is_exact: bool, events: MomentEvents) -> TreeMoment {
    TreeMoment { run: cut.run, n: cut.n, at: crate::store::moment(cut.at), checkpoint, is_exact, events }
}

/// Returns the last cut at this time or before, and the index of its segment.
///
/// That is the last event of this time, or a checkpoint that stands behind it and is not older.
fn last_cut(listing: &Listing, time: u64) -> Option<(usize, Cut)> {
    let later = |one: Option<(usize, Cut)>, other: (usize, Cut)| match one {
        Some(one) if (one.1.run, one.1.n) > (other.1.run, other.1.n) => Some(one),
        _ => Some(other),
    };
    // The latest checkpoint in the segments behind.
    let mut checkpoint: Option<(usize, Cut)> = None;
    for (segment, (_, summary)) in listing.segments.iter().enumerate().rev() {
        if summary.is_some_and(|summary| summary.earliest > time) {
            continue;
        }
        let mut walk = listing.walk(segment..segment + 1);
        let (mut event, mut behind) = (None, None);
        while let Some(Stamp { letter, run, n, at }) = walk.advance() {
            let cut = (segment, Cut { run, n, at });
            match letter {
                _ if at > time => {}
                'E' => (event, behind) = (Some(cut), None),
                'S' => behind = later(behind, cut),
                _ => {}
            }
        }
        checkpoint = match (checkpoint, behind) {
            (Some(checkpoint), behind) => later(behind, checkpoint),
            (None, behind) => behind,
        };
        if let Some(event) = event {
            return checkpoint.map_or(Some(event), |checkpoint| later(Some(event), checkpoint));
        }
    }
    checkpoint
}

/// Returns the last checkpoint that is not after the cut, and the index of its segment.
fn last_checkpoint(listing: &Listing, segment: usize, cut: Cut) -> Option<(usize, JournalEntry)> {
    // A checkpoint that belongs before the cut may stand a little behind it.
    for at in (0..listing.segments.len().min(segment + 2)).rev() {
        let mut walk = listing.walk(at..at + 1);
        let mut found: Option<JournalEntry> = None;
        while let Some(Stamp { letter, run, n, .. }) = walk.advance() {
            if letter == 'S' && run == cut.run && n <= cut.n {
                let view = RecordView::read(walk.payload());
                let is_later = found.as_ref().is_none_or(|found| n >= found.record.n);
                if let Some(view) = view.filter(|view| is_later && view.record == RecordKind::Checkpoint) {
                    found = Some(JournalEntry { run, record: view.to_record() });
                }
            }
        }
        if let Some(found) = found {
            return Some((at, found));
        }
    }
    None
}

/// Returns what follows a cut.
fn next_after(mut walk: Walk, cut: Cut) -> Next {
    // Damage before the cut would be a missing number.
    let mut damage_before = 0;
    while let Some(Stamp { letter, run, n, .. }) = walk.advance() {
        let is_damaged = walk.damage().places > damage_before;
        if (run, n) <= (cut.run, cut.n) {
            damage_before = walk.damage().places;
        } else if run != cut.run {
            return if is_damaged { Next::Gap } else { Next::Event };
        } else if letter == 'E' {
            return if n == cut.n + 1 { Next::Event } else { Next::Gap };
        } else if letter == 'L' {
            return Next::Gap;
        }
    }
    if walk.damage().places > damage_before { Next::Gap } else { Next::Nothing }
}
