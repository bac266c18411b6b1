//! The files of a log: their names, their first frame, and reading one of them.
//!
//! A log is a series of segment files, `KIND-vFORMAT-NUMBER-SALT.log`. Segments are only appended to, and the oldest ones are
//! removed. The first frame of a segment sums up the segment before it, so that a reader can skip it. All of this only
//! saves time: each record also stands for itself.

use crate::files::{self, Unusable};
use crate::frame::{self, Step};
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// The format that this version writes and reads.
pub(crate) const FORMAT: u32 = 1;
/// How many bytes are read at first: enough for the first frame.
const FIRST_CHUNK: usize = 1024;
/// How many bytes are read at a time later.
const CHUNK: usize = 128 * 1024;
/// The letter of the first frame.
const HEADER: &str = "H";

/// What every record begins with: `LETTER run n at`, separated by tabs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stamp {
    /// The kind of the record.
    pub(crate) letter: char,
    /// The run that wrote the record.
    pub(crate) run: u64,
    /// The number of the record in its run.
    pub(crate) n: u64,
    /// The time of the record, in milliseconds since 1970.
    pub(crate) at: u64,
}

impl Stamp {
    /// Returns the stamp as the beginning of a payload.
    pub(crate) fn text(self) -> String {
        format!("{}\t{}\t{}\t{}\t", self.letter, self.run, self.n, self.at)
    }

    /// Reads the stamp of a payload, and returns it with the rest.
    pub(crate) fn read(payload: &[u8]) -> Option<(Stamp, &[u8])> {
        let (letter, rest) = field(payload)?;
        let mut letters = letter.chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else { return None };
        let (run, rest) = number(rest)?;
        let (n, rest) = number(rest)?;
        let (at, rest) = number(rest)?;
        Some((Stamp { letter, run, n, at }, rest))
    }
}

/// Returns the text before the next tab, and the bytes behind the tab.
pub(crate) fn field(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let at = bytes.iter().position(|byte| *byte == b'\t')?;
    Some((std::str::from_utf8(&bytes[..at]).ok()?, &bytes[at + 1..]))
}

/// Returns the number before the next tab, and the bytes behind the tab.
pub(crate) fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (text, rest) = field(bytes)?;
    Some((text.parse().ok()?, rest))
}

/// What the records of a segment have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// The earliest time.
    pub(crate) earliest: u64,
    /// The latest time. Clocks can be set back, so it need not be that of the last record.
    pub(crate) latest: u64,
    /// The largest run, and the largest number in it.
    pub(crate) last: (u64, u64),
}

impl Summary {
    /// Adds a record to a summary.
    pub(crate) fn add(summary: &mut Option<Summary>, stamp: Stamp) {
        let id = (stamp.run, stamp.n);
        *summary = Some(match *summary {
            None => Summary { earliest: stamp.at, latest: stamp.at, last: id },
            Some(known) => Summary {
                earliest: known.earliest.min(stamp.at),
                latest: known.latest.max(stamp.at),
                last: known.last.max(id),
            },
        });
    }
}

/// The name of a segment.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct SegmentName {
    /// The number of the segment. Later segments have larger numbers.
    pub(crate) number: u64,
    /// The number that all checksums of this file begin with.
    pub(crate) salt: u32,
    /// The format of the file.
    pub(crate) format: u32,
    /// The name of the file.
    pub(crate) file: String,
}

impl SegmentName {
    pub(crate) fn new(kind: &str, number: u64, salt: u32) -> SegmentName {
        let file = format!("{kind}-v{FORMAT}-{number:010}-{salt:08x}.log");
        SegmentName { number, salt, format: FORMAT, file }
    }

    fn parse(kind: &str, file: &str) -> Option<SegmentName> {
        let rest = file.strip_prefix(kind)?.strip_prefix("-v")?.strip_suffix(".log")?;
        let mut parts = rest.splitn(3, '-');
        let format = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok().filter(|number| *number < u64::MAX)?;
        let salt = u32::from_str_radix(parts.next()?, 16);
        // Only the salt of this format is known to be a number.
        let salt = if format == FORMAT { salt.ok()? } else { salt.unwrap_or_default() };
        Some(SegmentName { number, salt, format, file: file.to_owned() })
    }

    /// Returns `true` if this version can read the file.
    pub(crate) fn is_readable(&self) -> bool {
        self.format == FORMAT
    }
}

/// Returns the segments of a log, oldest first, and names of this form that are no plain files.
pub(crate) fn list(dir: &OwnedFd, kind: &str) -> io::Result<(Vec<SegmentName>, Vec<SegmentName>)> {
    let (mut segments, mut others) = (Vec::new(), Vec::new());
    for (file, plain) in files::names(dir)? {
        if let Some(name) = SegmentName::parse(kind, &file) {
            if plain { segments.push(name) } else { others.push(name) }
        }
    }
    segments.sort();
    Ok((segments, others))
}

/// Returns the payload of the first frame of a segment.
pub(crate) fn header(now: u64, before: Option<(u64, Summary)>) -> String {
    let known = before.map(|(number, summary)| {
        let Summary { earliest, latest, last: (run, n) } = summary;
        format!("{number}\t{earliest}\t{latest}\t{run}\t{n}\t")
    });
    format!("{HEADER}\t{FORMAT}\t{now}\t{}", known.unwrap_or_default())
}

/// Reads the summary of the segment before, and that segment's number, from a first frame.
fn read_header(payload: &[u8]) -> Option<(u64, Summary)> {
    let (letter, rest) = field(payload)?;
    let (_, rest) = number(rest).filter(|_| letter == HEADER)?;
    let (_, rest) = number(rest)?;
    let (before, rest) = number(rest)?;
    let (earliest, rest) = number(rest)?;
    let (latest, rest) = number(rest)?;
    let (run, rest) = number(rest)?;
    let (n, _) = number(rest)?;
    Some((before, Summary { earliest, latest, last: (run, n) }))
}

/// Returns a summary for each of these segments, if it is known. The last one is never known.
pub(crate) fn summaries(dir: &OwnedFd, segments: &[SegmentName]) -> Vec<Option<Summary>> {
    let mut summaries: Vec<Option<Summary>> = segments.iter().map(|_| None).collect();
    for (pair, summary) in segments.windows(2).zip(&mut summaries) {
        let [before, name] = pair else { continue };
        let Ok(mut reader) = SegmentReader::open(dir, name) else { continue };
        if matches!(reader.advance(), Ok(Scan::Frame)) {
            *summary =
                read_header(reader.payload()).filter(|(number, _)| *number == before.number).map(|(_, s)| s);
        }
    }
    summaries
}

/// What a whole segment contains.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Content {
    /// What the records have in common, if there are any.
    pub(crate) summary: Option<Summary>,
    /// The offset behind the last record.
    pub(crate) end: u64,
    /// The bytes that are no records, up to the end of the file.
    pub(crate) damage: u64,
    /// There is no damage, and the last record has its line break, so that another one can follow.
    pub(crate) is_whole: bool,
}

/// Reads a whole segment.
pub(crate) fn content(dir: &OwnedFd, name: &SegmentName) -> io::Result<Content> {
    let mut reader = SegmentReader::open(dir, name)?;
    let mut content = Content::default();
    loop {
        match reader.advance()? {
            Scan::Frame => {
                if let Some((stamp, _)) = Stamp::read(reader.payload()) {
                    Summary::add(&mut content.summary, stamp);
                }
                content.end = reader.offset();
            }
            Scan::Damage(bytes) => content.damage += bytes,
            Scan::End { unfinished } => {
                content.damage += unfinished;
                content.is_whole = content.damage == 0 && reader.ends_in_line_break();
                return Ok(content);
            }
        }
    }
}

/// Returns the last run that the newest readable segments name, or 0.
pub(crate) fn last_run(dir: &OwnedFd, kind: &str) -> u64 {
    let segments = list(dir, kind).map(|(segments, _)| segments).unwrap_or_default();
    let readable = segments.iter().rev().filter(|name| name.is_readable());
    let summaries = readable.filter_map(|name| content(dir, name).ok()?.summary);
    summaries.map(|summary| summary.last.0).next().unwrap_or(0)
}

/// What a reader has met.
#[derive(Debug, PartialEq)]
pub(crate) enum Scan {
    /// A frame; its payload is [`SegmentReader::payload`].
    Frame,
    /// This many bytes that are no frame.
    Damage(u64),
    /// The end of the file, after this many bytes of an unfinished frame. Reading may continue later from here.
    End { unfinished: u64 },
}

/// Reads the frames of a segment, piece by piece.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: File,
    salt: u32,
    /// The first `filled` bytes are a piece of the file.
    buffer: Vec<u8>,
    filled: usize,
    /// How much of the piece is read.
    used: usize,
    /// The offset in the file of the first byte that is not read.
    offset: u64,
    /// The file has no bytes behind the buffer.
    at_end: bool,
    /// Where the last payload stands in the buffer.
    payload: std::ops::Range<usize>,
}

impl SegmentReader {
    pub(crate) fn open(dir: &OwnedFd, name: &SegmentName) -> Result<SegmentReader, Unusable> {
        Ok(SegmentReader::new(files::open_file(dir, &name.file, OFlags::RDONLY)?, name.salt))
    }

    pub(crate) fn new(file: File, salt: u32) -> SegmentReader {
        SegmentReader {
            file,
            salt,
            buffer: Vec::new(),
            filled: 0,
            used: 0,
            offset: 0,
            at_end: false,
            payload: 0..0,
        }
    }

    /// Reads up to the next frame, damage, or the end.
    pub(crate) fn advance(&mut self) -> io::Result<Scan> {
        loop {
            match frame::next(&self.buffer[self.used..self.filled], self.salt, self.offset, self.at_end) {
                Step::Frame { payload, size } => {
                    let head = frame::OVERHEAD - 1;
                    self.payload = self.used + head..self.used + head + payload.len();
                    self.consume(size);
                    return Ok(Scan::Frame);
                }
                Step::Damage { size } => {
                    self.consume(size);
                    return Ok(Scan::Damage(size as u64));
                }
                Step::Blank => self.consume(1),
                Step::Unfinished if self.at_end => {
                    let unfinished = (self.filled - self.used) as u64;
                    // The writer may change these bytes, so they are read again.
                    self.filled = self.used;
                    self.at_end = false;
                    return Ok(Scan::End { unfinished });
                }
                Step::Unfinished => self.fill()?,
            }
        }
    }

    fn consume(&mut self, size: usize) {
        self.used += size;
        self.offset += size as u64;
    }

    /// Reads the next piece of the file into the buffer.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        let length = self.buffer.len();
        let wanted = match length {
            0 => FIRST_CHUNK,
            // One large frame must not leave a large buffer behind.
            _ if self.filled == 0 && length > 4 * CHUNK => CHUNK,
            _ if 2 * self.filled > length => 2 * length,
            _ => length.max(CHUNK),
        };
        if wanted != length {
            let mut buffer = vec![0; wanted.max(self.filled)];
            buffer[..self.filled].copy_from_slice(&self.buffer[..self.filled]);
            self.buffer = buffer;
        }
        let read = loop {
            match self.file.read_at(&mut self.buffer[self.filled..], self.offset + self.filled as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read?;
        self.filled += read;
        self.at_end = read == 0;
        Ok(())
    }

    /// Returns the payload of the last frame.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.buffer[self.payload.clone()]
    }

    /// Returns `true` if a line break stands before the end of what was read.
    fn ends_in_line_break(&self) -> bool {
        let mut last = [0];
        let before = self.offset.checked_sub(1);
        before.is_some_and(|at| self.file.read_exact_at(&mut last, at).is_ok()) && last == [b'\n']
    }

    /// Returns the offset behind what was read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}
