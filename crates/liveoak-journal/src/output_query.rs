//! Reading the output log: from a line or a time on, by path, and the last lines, also those of one attempt.

use crate::error::ReadError;
use crate::files::{self, OpenDir};
use crate::line::{LineView, OutputEntry, OutputLine};
use crate::output::KIND;
use crate::query::{MAX_LAST, MAX_LAST_BYTES, PathFilter};
use crate::range::Range;
use crate::record::RecordId;
use crate::store::millis;
use crate::walk::{Damage, Listing, Walk};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::SystemTime;
use std::{fmt, io};

/// The most attempts of one call of [`OutputReader::last_of`].
pub const MAX_ATTEMPTS: usize = 1_000;

/// Which lines are wanted. Without a condition: all. Losses are wanted too, unless their time or number is not.
#[derive(Default)]
pub struct OutputFilter<'a> {
    range: Range,
    attempt: Option<u64>,
    path: Option<PathFilter<'a>>,
}

impl fmt::Debug for OutputFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("OutputFilter");
        debug.field("range", &self.range).field("attempt", &self.attempt);
        debug.field("has_path", &self.path.is_some()).finish_non_exhaustive()
    }
}

impl<'a> OutputFilter<'a> {
    /// Returns a filter that wants all lines.
    #[must_use]
    pub fn new() -> OutputFilter<'a> {
        OutputFilter::default()
    }

    /// Wants the lines after this one: those with a larger number in its run, and those of later runs.
    #[must_use]
    pub fn after(mut self, id: RecordId) -> OutputFilter<'a> {
        self.range.after = Some(id);
        self
    }

    /// Wants the lines at and after this time.
    #[must_use]
    pub fn since(mut self, time: SystemTime) -> OutputFilter<'a> {
        self.range.since = Some(time);
        self
    }

    /// Wants the lines at and before this time.
    #[must_use]
    pub fn until(mut self, time: SystemTime) -> OutputFilter<'a> {
        self.range.until = Some(time);
        self
    }

    /// Wants the lines of attempts with this number.
    #[must_use]
    pub fn attempt(self, attempt: u64) -> OutputFilter<'a> {
        OutputFilter { attempt: Some(attempt), ..self }
    }

    /// Wants the paths for which `wanted` returns `true`.
    #[must_use]
    pub fn path(self, wanted: impl Fn(&str) -> bool + Send + 'a) -> OutputFilter<'a> {
        OutputFilter { path: Some(Box::new(wanted)), ..self }
    }

    fn wants(&self, view: &LineView<'_>) -> bool {
        let is_wanted = match view {
            LineView::Lost { .. } => true,
            LineView::Line { path, attempt, .. } => {
                self.attempt.is_none_or(|wanted| wanted == *attempt)
                    && self.path.as_ref().is_none_or(|wanted| wanted(path))
            }
        };
        is_wanted && self.range.contains(view.stamp())
    }
}

/// An attempt whose last lines are wanted.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AttemptOutput {
    /// The run, from 1.
    pub run: u64,
    /// The path of the child.
    pub path: String,
    /// The number of the attempt.
    pub attempt: u64,
    /// When the attempt started, if that is known. Older files are not read for it.
    pub started: Option<SystemTime>,
}

/// Reads an output log.
#[derive(Clone, Debug)]
pub struct OutputReader {
    dir: OpenDir,
}

impl OutputReader {
    /// Opens the output log in a folder for reading.
    ///
    /// # Errors
    ///
    /// If there is no such folder, or it cannot be read.
    pub fn open(folder: impl AsRef<Path>) -> Result<OutputReader, ReadError> {
        Ok(OutputReader::at_dir(files::open_to_read(folder.as_ref())?))
    }

    pub(crate) fn at_dir(dir: OpenDir) -> OutputReader {
        OutputReader { dir }
    }

    /// Returns the wanted lines, oldest first.
    ///
    /// After the last line the iterator returns `None`. Later calls return the lines that were written since, so that a
    /// reader can follow the log. A reader never delays the writer.
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed. A file that cannot be read is counted in [`OutputLines::damage`].
    pub fn lines<'a>(&self, filter: OutputFilter<'a>) -> io::Result<OutputLines<'a>> {
        let walk = Walk::new(&self.dir, KIND, |summary| filter.range.skips(summary))?;
        Ok(OutputLines { walk, filter, begin: None })
    }

    /// Returns the wanted lines like [`lines`](Self::lines), from the first line at or after `begin` on: also later ones with
    /// an earlier time, if the clock was set back.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn lines_from<'a>(&self, begin: SystemTime, filter: OutputFilter<'a>) -> io::Result<OutputLines<'a>> {
        let walk = Walk::new(&self.dir, KIND, filter.range.skips_from(begin))?;
        Ok(OutputLines { walk, filter, begin: Some(millis(begin)) })
    }

    /// Returns the last wanted lines, oldest first: `count` at most, at most [`MAX_LAST`], and at most [`MAX_LAST_BYTES`].
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed.
    pub fn last(&self, filter: OutputFilter<'_>, count: usize) -> io::Result<Vec<OutputEntry>> {
        let mut listing = Listing::new(&self.dir, KIND)?;
        listing.skip(|summary| filter.range.skips(summary));
        Ok(listing.last(count.min(MAX_LAST), MAX_LAST_BYTES, |payload| {
            LineView::read(payload).filter(|view| filter.wants(view)).map(LineView::to_entry)
        }))
    }

    /// Returns the last lines of each of these attempts, oldest first: `count` at most of each.
    ///
    /// The log is read once for all attempts, from its end, and only as far back as needed. Attempts beyond the first
    /// [`MAX_ATTEMPTS`] get no lines, and the lines of all attempts have at most [`MAX_LAST_BYTES`].
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed.
    pub fn last_of(&self, attempts: &[AttemptOutput], count: usize) -> io::Result<Vec<Vec<OutputLine>>> {
        let mut found: Vec<VecDeque<OutputLine>> = attempts.iter().map(|_| VecDeque::new()).collect();
        let mut open: HashMap<(u64, &str, u64), usize> = HashMap::new();
        for (at, wanted) in attempts.iter().enumerate().take(MAX_ATTEMPTS) {
            open.insert((wanted.run, &wanted.path, wanted.attempt), at);
        }
        let listing = Listing::new(&self.dir, KIND)?;
        let mut room = MAX_LAST_BYTES;
        for (at, (_, summary)) in listing.segments.iter().enumerate().rev() {
            // This segment and older ones have no lines of later runs, and none of attempts that started after its last line.
            if let Some(summary) = summary {
                open.retain(|(run, ..), at| {
                    let started = attempts[*at].started.map_or(0, millis);
                    *run <= summary.last.0 && started <= summary.latest
                });
            }
            open.retain(|_, at| found[*at].len() < count);
            if open.is_empty() || room == 0 {
                break;
            }
            let mut of_segment: HashMap<usize, VecDeque<OutputLine>> = HashMap::new();
            let mut walk = listing.walk(at..at + 1);
            while walk.advance().is_some() {
                let Some(view) = LineView::read(walk.payload()) else { continue };
                let LineView::Line { stamp, path, attempt, line, .. } = view else { continue };
                let Some(at) = open.get(&(stamp.run, path, attempt)) else { continue };
                let lines = of_segment.entry(*at).or_default();
                if found[*at].len() + lines.len() == count {
                    room += lines.pop_front().map_or(0, |line| line.line.len());
                }
                if let OutputEntry::Line(line) = view.to_entry() {
                    lines.push_back(line);
                }
                room = room.saturating_sub(line.len());
                if room == 0 {
                    break;
                }
            }
            for (at, lines) in of_segment {
                lines.into_iter().rev().for_each(|line| found[at].push_front(line));
            }
        }
        Ok(found.into_iter().map(Vec::from).collect())
    }
}

/// The wanted lines of an output log, oldest first.
#[derive(Debug)]
pub struct OutputLines<'a> {
    walk: Walk,
    filter: OutputFilter<'a>,
    /// The time before which all is left out, until a line at or after it was found.
    begin: Option<u64>,
}

impl OutputLines<'_> {
    /// Returns what could not be read so far.
    #[must_use]
    pub fn damage(&self) -> Damage {
        self.walk.damage()
    }
}

impl Iterator for OutputLines<'_> {
    type Item = OutputEntry;

    fn next(&mut self) -> Option<OutputEntry> {
        loop {
            let stamp = self.walk.advance()?;
            if self.begin.is_some_and(|begin| stamp.at < begin) {
                continue;
            }
            self.begin = None;
            let view = LineView::read(self.walk.payload());
            if let Some(view) = view.filter(|view| self.filter.wants(view)) {
                return Some(view.to_entry());
            }
        }
    }
}
