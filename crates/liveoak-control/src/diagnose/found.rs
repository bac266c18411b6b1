//! What the rules look at, and what they find.

use liveoak_api::FindingKind;
use liveoak_runtime::internal::Span;
use liveoak_runtime::{Attempt, BodyKind, ChildId, ChildView, Event, Path, Snapshot, Time};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// A tree, what has happened in it lately, and what was seen around it.
pub(crate) struct Look<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// The last events, the earliest first.
    pub(crate) events: &'a [&'a Event],
    pub(crate) seen: &'a Observations,
    pub(crate) now: Time,
    by_path: HashMap<&'a str, &'a ChildView>,
}

impl<'a> Look<'a> {
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        events: &'a [&'a Event],
        seen: &'a Observations,
        now: Time,
    ) -> Self {
        let by_path = snapshot.nodes().map(|view| (view.path.as_str(), view)).collect();
        Self { snapshot, events, seen, now, by_path }
    }

    /// Returns the child at a path.
    pub(crate) fn child(&self, path: &str) -> Option<&'a ChildView> {
        self.by_path.get(path).copied()
    }

    /// Returns the events of the last `period`.
    pub(crate) fn last(&self, period: Duration) -> impl Iterator<Item = &'a Event> {
        let begin = self.events.partition_point(|event| self.now.since(event.at) > period);
        self.events[begin..].iter().copied()
    }
}

/// What was seen around a tree.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    /// The memory of programs over time.
    pub(crate) memory: Vec<Memory>,
    /// The file systems on which the tree works.
    pub(crate) disks: Vec<Disk>,
    /// Lines of output that may say why a port is not to be had, the earliest first.
    pub(crate) lines: Vec<Line>,
    /// Who listens, if a line or an exit makes that of interest.
    pub(crate) listeners: Vec<Listener>,
    /// The history that was lost.
    pub(crate) losses: Vec<Loss>,
}

/// The resident memory of the processes of an attempt, at some moments.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) id: ChildId,
    pub(crate) attempt: Attempt,
    pub(crate) samples: Vec<(Time, u64)>,
}

/// A file system.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// The child that works in the folder; the root if it is the tree itself.
    pub(crate) path: Path,
    pub(crate) folder: PathBuf,
    /// The bytes that a program without privileges may still write.
    pub(crate) free: u64,
    pub(crate) size: u64,
    /// The files that can still be made, and all; both 0 if the file system has no bound.
    pub(crate) free_files: u64,
    pub(crate) files: u64,
    /// Since when it is known to be full.
    pub(crate) full_since: Option<Time>,
}

/// A line of output.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) path: Path,
    pub(crate) attempt: Attempt,
    pub(crate) at: Time,
    pub(crate) text: String,
}

/// A port at which a process listens.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) address: std::net::SocketAddr,
    /// `None` if the system does not say so: the process belongs to another user.
    pub(crate) owner: Option<Owner>,
}

/// A process that listens.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    pub(crate) command: String,
    /// The child to which it belongs.
    pub(crate) child: Option<Path>,
}

/// History that was lost.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    /// What was lost: events or lines.
    pub(crate) what: &'static str,
    pub(crate) count: u64,
    /// The next moment of which something is known.
    pub(crate) at: Time,
}

/// Something that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) kind: FindingKind,
    pub(crate) path: Path,
    pub(crate) since: Time,
    pub(crate) evidence: String,
    pub(crate) command: String,
}

/// Returns a length of time for people.
pub(crate) fn span(time: Duration) -> String {
    Span(time).to_string()
}

/// Returns a number and the word that it counts.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// Returns a number of bytes for people.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return count(number, "byte", "bytes");
    }
    let (mut value, mut unit) = (number as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if value < 10.0 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// Returns the beginning of the first line of a text.
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 160;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Returns a command of this program about a child.
pub(crate) fn liveoak(verb: &str, path: &Path, options: &str) -> String {
    let space = if options.is_empty() { "" } else { " " };
    format!("liveoak {verb} {}{space}{options}", quoted(path.as_str()))
}

/// Returns the command that shows most of why a child fails: its output, if it has any.
pub(crate) fn look_at(view: &ChildView) -> String {
    match view.spec.body {
        BodyKind::Program => liveoak("logs", &view.path, "-n 50"),
        _ => liveoak("explain", &view.path, ""),
    }
}

/// Returns a word as a shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
