//! Folders of their own for tests, and short ways to write and read.

use liveoak_journal::{
    Durability, Folder, Journal, JournalEntry, JournalReader, LogLimits, Record, RecordFilter, RecordKind,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Long enough for every disk.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Waits for the disk.
pub(crate) const DURABLE: Durability = Durability::Durable { within: LONG };

/// A folder that is removed at the end of the test.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        // Most tests are about what is in the files, and a disk in memory does not make them wait.
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let path = parent.join(format!("liveoak-journal-{}-{next}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    /// Returns the path of the folder of a tree, which does not exist yet.
    pub(crate) fn tree(&self) -> PathBuf {
        self.0.join("trees").join("shop")
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens the journal of a tree with these bounds.
pub(crate) fn open_with(tree: &Path, limits: LogLimits) -> Journal {
    Journal::open(&Folder::open(tree).unwrap(), limits).unwrap()
}

pub(crate) fn open(tree: &Path) -> Journal {
    open_with(tree, LogLimits::default())
}

/// Returns a time on the clock of the tests: seconds after a fixed moment of last week.
pub(crate) fn at(seconds: u64) -> SystemTime {
    let week = 7 * 24 * 3600;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    UNIX_EPOCH + Duration::from_secs((now / week - 1) * week + seconds)
}

/// Returns event `n` at second `n`.
pub(crate) fn event(n: u64) -> Record {
    Record::event(n, at(n), "started")
        .path(format!("/shop/child-{}", n % 3))
        .attempt(n)
        .body(format!("{{\"n\":{n}}}"))
}

/// Appends events, and waits until they are on disk.
pub(crate) fn append(journal: &Journal, events: impl IntoIterator<Item = u64>) {
    let records: Vec<Record> = events.into_iter().map(event).collect();
    journal.append(&records, DURABLE).unwrap();
}

pub(crate) fn all(tree: &Path) -> Vec<JournalEntry> {
    JournalReader::open(tree).unwrap().entries(RecordFilter::new()).unwrap().collect()
}

/// Returns run and number of all events.
pub(crate) fn ids(entries: impl IntoIterator<Item = JournalEntry>) -> Vec<(u64, u64)> {
    let events = entries.into_iter().filter(|entry| entry.record.record == RecordKind::Event);
    events.map(|entry| (entry.run, entry.record.n)).collect()
}

/// Returns the files of the journal, oldest first, with their sizes.
pub(crate) fn files(tree: &Path, kind: &str) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(tree).unwrap().map(|entry| entry.unwrap());
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(kind));
    let mut files: Vec<_> = ours.map(|entry| (entry.path(), entry.metadata().unwrap().len())).collect();
    files.sort();
    files
}
