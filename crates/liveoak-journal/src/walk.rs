//! Reading a log from one segment to the next, also while its writer appends and removes segments.

use crate::files::{OpenDir, Unusable};
use crate::segment::{self, Scan, SegmentName, SegmentReader, Stamp, Summary};
use std::collections::VecDeque;
use std::io;

/// What could not be read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Damage {
    /// How many places are damaged, or end in a record that was never finished.
    pub places: u64,
    /// The bytes at these places.
    pub bytes: u64,
    /// Files that could not be read at all.
    pub files: u64,
}

/// The segments of a log at one moment.
#[derive(Debug)]
pub(crate) struct Listing {
    dir: OpenDir,
    kind: &'static str,
    /// The segments, oldest first, and what is known about their records.
    pub(crate) segments: Vec<(SegmentName, Option<Summary>)>,
}

impl Listing {
    pub(crate) fn new(dir: &OpenDir, kind: &'static str) -> io::Result<Listing> {
        let open = dir.get();
        let (segments, _) = segment::list(&open, kind)?;
        let summaries = segment::summaries(&open, &segments);
        Ok(Listing { dir: dir.clone(), kind, segments: segments.into_iter().zip(summaries).collect() })
    }

    /// Leaves out the segments for which `skip` returns `true`.
    pub(crate) fn skip(&mut self, skip: impl Fn(&Summary) -> bool) {
        self.segments.retain(|(_, summary)| !summary.as_ref().is_some_and(&skip));
    }

    /// Returns the last values that `read` makes from payloads, oldest first: `count` at most, of `most_bytes` bytes.
    pub(crate) fn last<T>(
        &self,
        count: usize,
        most_bytes: usize,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Vec<T> {
        let (mut found, mut bytes) = (VecDeque::new(), 0);
        for at in (0..self.segments.len()).rev() {
            if found.len() >= count || bytes >= most_bytes {
                break;
            }
            let mut walk = self.walk(at..at + 1);
            let (mut of_segment, mut segment_bytes) = (VecDeque::new(), 0);
            while walk.advance().is_some() {
                let size = walk.payload().len();
                let Some(thing) = read(walk.payload()) else { continue };
                of_segment.push_back((thing, size));
                segment_bytes += size;
                while found.len() + of_segment.len() > count
                    || (of_segment.len() > 1 && bytes + segment_bytes > most_bytes)
                {
                    segment_bytes -= of_segment.pop_front().map_or(0, |(_, size)| size);
                }
            }
            bytes += segment_bytes;
            of_segment.into_iter().rev().for_each(|(thing, _)| found.push_front(thing));
        }
        found.into()
    }

    /// Returns a walk over these segments only.
    pub(crate) fn walk(&self, range: std::ops::Range<usize>) -> Walk {
        let names = self.segments.get(range).unwrap_or_default().iter().map(|(name, _)| name.clone());
        Walk { is_bounded: true, ..Walk::over(&self.dir, self.kind, names.collect()) }
    }
}

/// Reads the records of a log in the order in which they were written.
#[derive(Debug)]
pub(crate) struct Walk {
    dir: OpenDir,
    kind: &'static str,
    /// The segments to read next.
    waiting: VecDeque<SegmentName>,
    current: Option<SegmentReader>,
    /// The number of the current or last segment.
    number: Option<u64>,
    /// `true` if the current segment has ended, and a later one existed before its end was read.
    is_complete: bool,
    /// The last bytes were damage too, so they count as one place.
    in_damage: bool,
    /// Segments that were not there at the beginning are left out.
    is_bounded: bool,
    /// The bytes behind the last record, up to the end of the last segment.
    unfinished: u64,
    damage: Damage,
}

impl Walk {
    /// Begins at the oldest segment, without those for which `skip` returns `true`.
    /// The segments are asked about in their order.
    pub(crate) fn new(
        dir: &OpenDir,
        kind: &'static str,
        mut skip: impl FnMut(&Summary) -> bool,
    ) -> io::Result<Walk> {
        let listed = Listing::new(dir, kind)?.segments.into_iter();
        let waiting = listed.filter(|(_, summary)| !summary.as_ref().is_some_and(&mut skip));
        let waiting = waiting.map(|(name, _)| name).collect();
        Ok(Walk::over(dir, kind, waiting))
    }

    /// Reads these segments, and then those that are written later.
    pub(crate) fn over(dir: &OpenDir, kind: &'static str, waiting: VecDeque<SegmentName>) -> Walk {
        let dir = dir.clone();
        let number = waiting.back().map(|name| name.number);
        let damage = Damage::default();
        let (is_complete, in_damage, is_bounded) = (false, false, false);
        let unfinished = 0;
        Walk {
            dir,
            kind,
            waiting,
            current: None,
            number,
            is_complete,
            in_damage,
            is_bounded,
            unfinished,
            damage,
        }
    }

    /// Reads the next record, and returns its stamp. Returns `None` at the end; a later call may find more.
    pub(crate) fn advance(&mut self) -> Option<Stamp> {
        self.unfinished = 0;
        loop {
            let Some(reader) = &mut self.current else {
                if !self.open_next() {
                    return None;
                }
                continue;
            };
            match reader.advance() {
                Ok(Scan::Frame) => {
                    self.in_damage = false;
                    // First frames have no stamp.
                    if let Some((stamp, _)) = Stamp::read(reader.payload()) {
                        return Some(stamp);
                    }
                }
                Ok(Scan::Damage(bytes)) => self.note_damage(bytes),
                Ok(Scan::End { unfinished }) => {
                    if self.waiting.is_empty() && !self.look_for_later() {
                        self.unfinished = unfinished;
                        return None;
                    }
                    // The segment is complete only if a later one existed before its end was read.
                    if std::mem::replace(&mut self.is_complete, true) {
                        if unfinished > 0 {
                            self.note_damage(unfinished);
                        }
                        self.leave();
                    }
                }
                Err(_) => {
                    self.damage.files += 1;
                    self.leave();
                }
            }
        }
    }

    fn leave(&mut self) {
        self.current = None;
        self.is_complete = false;
        self.in_damage = false;
    }

    fn note_damage(&mut self, bytes: u64) {
        self.damage.bytes += bytes;
        self.damage.places += u64::from(!std::mem::replace(&mut self.in_damage, true));
    }

    /// Opens the next segment that can be opened.
    fn open_next(&mut self) -> bool {
        while !self.waiting.is_empty() || self.look_for_later() {
            let Some(name) = self.waiting.pop_front() else { return false };
            self.number = Some(name.number);
            if !name.is_readable() {
                self.damage.files += 1;
                continue;
            }
            match SegmentReader::open(&self.dir.get(), &name) {
                Ok(reader) => {
                    self.current = Some(reader);
                    return true;
                }
                // The writer has removed it since, because newer records needed its room.
                Err(Unusable::System(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => self.damage.files += 1,
            }
        }
        false
    }

    /// Lists the segments that are later than the current one.
    fn look_for_later(&mut self) -> bool {
        if self.is_bounded {
            return false;
        }
        if let Ok((segments, _)) = segment::list(&self.dir.get(), self.kind) {
            self.waiting.extend(segments.into_iter().filter(|name| Some(name.number) > self.number));
        }
        !self.waiting.is_empty()
    }

    /// Returns the payload of the last record.
    pub(crate) fn payload(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], SegmentReader::payload)
    }

    /// Returns what could not be read so far.
    pub(crate) fn damage(&self) -> Damage {
        let places = self.damage.places + u64::from(self.unfinished > 0);
        Damage { places, bytes: self.damage.bytes + self.unfinished, ..self.damage }
    }
}
