//! One line of output, and its form in a file.

use crate::queue::{Item, Loss};
use crate::record::RecordId;
use crate::segment::{Stamp, number};
use crate::store::{millis, moment};
use std::time::SystemTime;

/// The longest line that is kept. The rest of a longer one is left out.
pub const MAX_LINE_BYTES: usize = 20 * 1024;
/// The longest path that is kept with a line.
const MAX_PATH: usize = 3 * 1024;

/// Where a line was written to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LineStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of a child.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutputLine {
    /// The run, from 1.
    pub run: u64,
    /// The number of the line in its run, from 1.
    pub n: u64,
    /// The time at which the line was added. It is kept in milliseconds.
    pub at: SystemTime,
    /// The path of the child.
    pub path: String,
    /// The attempt that wrote the line.
    pub attempt: u64,
    /// Where it was written to.
    pub stream: LineStream,
    /// The bytes of the line, without its line break.
    pub line: Vec<u8>,
    /// How many bytes were left out at the end, because the line is too long.
    pub left_out: u64,
}

/// A line, or a loss of lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OutputEntry {
    /// A line of a child.
    Line(OutputLine),
    /// Lines that were lost here.
    Lost {
        /// The run, from 1.
        run: u64,
        /// The largest number of a lost line.
        n: u64,
        /// The time of the last lost line.
        at: SystemTime,
        /// How many lines were lost.
        count: u64,
    },
}

impl OutputEntry {
    /// Returns the number of the line, or the largest number of a lost line.
    #[must_use]
    pub fn id(&self) -> RecordId {
        match self {
            OutputEntry::Line(line) => RecordId { run: line.run, n: line.n },
            OutputEntry::Lost { run, n, .. } => RecordId { run: *run, n: *n },
        }
    }
}

/// Returns the longest part of a text that has at most `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Returns a line in the form of a file: `LETTER run n at attempt left-out path-length path line`, with tabs between the
/// numbers.
pub(crate) fn line_item(
    run: u64,
    n: u64,
    at: SystemTime,
    (path, attempt): (&str, u64),
    stream: LineStream,
    line: &[u8],
) -> Item {
    let letter = match stream {
        LineStream::Stdout => 'O',
        LineStream::Stderr => 'R',
    };
    let kept = &line[..line.len().min(MAX_LINE_BYTES)];
    let (path, left_out) = (cut(path, MAX_PATH), line.len() - kept.len());
    let stamp = Stamp { letter, run, n, at: millis(at) };
    let numbers = format!("{attempt}\t{left_out}\t{}\t", path.len());
    let payload = [stamp.text().as_bytes(), numbers.as_bytes(), path.as_bytes(), kept].concat();
    Item { stamp, payload, counts: 1 }
}

/// Returns the record of lost lines: `L run n at count`.
pub(crate) fn loss_item(run: u64, loss: Loss) -> Item {
    let stamp = Stamp { letter: 'L', run, n: loss.n, at: loss.at };
    let payload = format!("{}{}\t", stamp.text(), loss.count).into_bytes();
    Item { stamp, payload, counts: loss.count }
}

/// A line or a loss as it stands in a file, without copies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LineView<'a> {
    Line { stamp: Stamp, stream: LineStream, path: &'a str, attempt: u64, line: &'a [u8], left_out: u64 },
    Lost { stamp: Stamp, count: u64 },
}

impl<'a> LineView<'a> {
    pub(crate) fn read(payload: &'a [u8]) -> Option<LineView<'a>> {
        let (stamp, rest) = Stamp::read(payload)?;
        let stream = match stamp.letter {
            'O' => LineStream::Stdout,
            'R' => LineStream::Stderr,
            'L' => return Some(LineView::Lost { stamp, count: number(rest)?.0 }),
            _ => return None,
        };
        let (attempt, rest) = number(rest)?;
        let (left_out, rest) = number(rest)?;
        let (path, rest) = number(rest)?;
        let (path, line) = rest.split_at_checked(usize::try_from(path).ok()?)?;
        let path = std::str::from_utf8(path).ok()?;
        Some(LineView::Line { stamp, stream, path, attempt, line, left_out })
    }

    pub(crate) fn stamp(&self) -> Stamp {
        match self {
            LineView::Line { stamp, .. } | LineView::Lost { stamp, .. } => *stamp,
        }
    }

    pub(crate) fn to_entry(self) -> OutputEntry {
        match self {
            LineView::Line { stamp: Stamp { run, n, at, .. }, stream, path, attempt, line, left_out } => {
                let (path, line) = (path.to_owned(), line.to_vec());
                OutputEntry::Line(OutputLine {
                    run,
                    n,
                    at: moment(at),
                    path,
                    attempt,
                    stream,
                    line,
                    left_out,
                })
            }
            LineView::Lost { stamp: Stamp { run, n, at, .. }, count } => {
                OutputEntry::Lost { run, n, at: moment(at), count }
            }
        }
    }
}
