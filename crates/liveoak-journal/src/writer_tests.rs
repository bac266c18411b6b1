//! Disks that are full, slow, broken or bounded: history is lost and counted, and no caller waits.

use crate::disk::{Disk, SystemDisk};
use crate::{
    AppendError, Durability, Folder, Journal, JournalReader, LineStream, LogLimits, LogNotice, MIN_BYTES,
    OutputEntry, OutputFilter, OutputLog, Record, RecordFilter, RecordKind,
};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

const LONG: Duration = Duration::from_secs(60);
const DURABLE: Durability = Durability::Durable { within: LONG };
const NO_SPACE: i32 = 28;
const READ_ONLY: i32 = 30;
const IO_ERROR: i32 = 5;

/// What a disk refuses.
#[derive(Debug)]
struct Faults {
    /// The bytes that can still be written.
    room: u64,
    create: Option<i32>,
    sync: Option<i32>,
    remove: Option<i32>,
    max_file_size: u64,
    /// Writes wait.
    is_blocked: bool,
    panics: bool,
}

/// A disk that refuses what its test says.
#[derive(Clone)]
struct FaultyDisk(Arc<(Mutex<Faults>, Condvar)>);

impl FaultyDisk {
    fn new() -> FaultyDisk {
        let (room, max_file_size) = (u64::MAX, u64::MAX);
        let faults = Faults {
            room,
            create: None,
            sync: None,
            remove: None,
            max_file_size,
            is_blocked: false,
            panics: false,
        };
        FaultyDisk(Arc::new((Mutex::new(faults), Condvar::new())))
    }

    fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn answer(code: Option<i32>) -> io::Result<()> {
        code.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }
}

impl Disk for FaultyDisk {
    fn create(&self, dir: &OwnedFd, name: &str) -> io::Result<File> {
        FaultyDisk::answer(self.0.0.lock().unwrap().create)?;
        SystemDisk.create(dir, name)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut faults = self.0.1.wait_while(self.0.0.lock().unwrap(), |faults| faults.is_blocked).unwrap();
        if faults.panics {
            drop(faults);
            panic!("the disk of this test panics");
        }
        assert!(offset + bytes.len() as u64 <= faults.max_file_size, "the system would kill this process");
        let count = faults.room.min(bytes.len() as u64);
        if count == 0 {
            return FaultyDisk::answer(Some(NO_SPACE)).map(|()| 0);
        }
        faults.room -= if faults.room == u64::MAX { 0 } else { count };
        SystemDisk.write_at(file, &bytes[..count as usize], offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        FaultyDisk::answer(self.0.0.lock().unwrap().sync)?;
        SystemDisk.sync(file)
    }

    fn sync_dir(&self, dir: &OwnedFd) -> io::Result<()> {
        SystemDisk.sync_dir(dir)
    }

    fn remove(&self, dir: &OwnedFd, name: &str) -> io::Result<()> {
        FaultyDisk::answer(self.0.0.lock().unwrap().remove)?;
        SystemDisk.remove(dir, name)
    }

    fn max_file_size(&self) -> u64 {
        self.0.0.lock().unwrap().max_file_size
    }
}

/// A journal and an output log on a faulty disk, in a folder that is removed at the end.
struct Bench {
    path: PathBuf,
    disk: FaultyDisk,
    folder: Folder,
}

impl Bench {
    fn new() -> Bench {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let path = parent.join(format!("liveoak-journal-disk-{}-{next}", std::process::id()));
        let folder = Folder::open(&path).unwrap();
        Bench { path, disk: FaultyDisk::new(), folder }
    }

    fn journal(&self, bytes: u64) -> Journal {
        let limits = LogLimits { bytes, ..LogLimits::default() };
        Journal::open_on(&self.folder, limits, Box::new(self.disk.clone())).unwrap()
    }

    fn output(&self) -> OutputLog {
        OutputLog::open_on(&self.folder, LogLimits::default(), Box::new(self.disk.clone())).unwrap()
    }

    fn kinds(&self) -> Vec<(RecordKind, u64)> {
        let reader = JournalReader::open(&self.path).unwrap();
        let entries = reader.entries(RecordFilter::new()).unwrap();
        entries.map(|entry| (entry.record.record, entry.record.n)).collect()
    }

    fn size(&self) -> u64 {
        let entries = std::fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap());
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".log"));
        ours.map(|entry| entry.metadata().unwrap().len()).sum()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn event(n: u64) -> Record {
    Record::event(n, SystemTime::now(), "started").path("/shop/web").body("{}")
}

fn events(range: impl IntoIterator<Item = u64>) -> Vec<(RecordKind, u64)> {
    range.into_iter().map(|n| (RecordKind::Event, n)).collect()
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_nothing_that_fits_into_memory() {
    for room in 0..190 {
        let bench = Bench::new();
        let journal = bench.journal(MIN_BYTES);
        journal.append(&[event(1)], DURABLE).unwrap();
        // The write is torn after each number of bytes.
        bench.disk.set(|faults| faults.room = room);
        journal.append(&[event(2), event(3)], Durability::Soon).unwrap();
        let refused = journal.append(&[event(4)], DURABLE);
        assert!(matches!(refused, Err(AppendError::Failed { .. })), "{refused:?}");
        assert!(journal.status().failing.is_some());
        bench.disk.set(|faults| faults.room = u64::MAX);
        journal.append(&[event(5)], DURABLE).unwrap();
        assert_eq!(bench.kinds(), events(1..=5), "room {room}");
        assert_eq!((journal.status().failing, journal.status().lost), (None, 0));
        let notices = journal.take_notices();
        assert!(
            matches!(notices[..], [LogNotice::Failing { .. }, LogNotice::Recovered { lost: 0 }]),
            "{notices:?}"
        );
    }
}

#[test]
fn a_full_disk_loses_records_that_are_counted_exactly_and_the_tree_goes_on() {
    let bench = Bench::new();
    let journal = bench.journal(64 * 1024 * 1024);
    journal.append(&[event(1)], DURABLE).unwrap();
    bench.disk.set(|faults| faults.room = 1000);
    let body = format!("\"{}\"", "x".repeat(10_000));
    let refused = (2..=4000).filter(|n| {
        journal.append(&[event(*n).body(body.clone())], Durability::Soon) == Err(AppendError::Full)
    });
    let refused = refused.count() as u64;
    assert!(refused > 1000, "{refused}");
    assert!(journal.is_checkpoint_due());
    bench.disk.set(|faults| faults.room = u64::MAX);
    journal.flush(LONG).unwrap();
    journal.append(&[event(4001)], DURABLE).unwrap();
    assert_eq!(journal.status().lost, refused);
    let kinds = bench.kinds();
    let lost: u64 =
        kinds.iter().map(|(kind, _)| if let RecordKind::Loss { count } = kind { *count } else { 0 }).sum();
    let written = kinds.iter().filter(|(kind, _)| *kind == RecordKind::Event).count() as u64;
    assert_eq!((lost, written + lost), (refused, 4001));
}

#[test]
fn an_append_whose_sync_fails_is_not_acknowledged_and_later_ones_use_a_new_file() {
    let bench = Bench::new();
    let journal = bench.journal(MIN_BYTES);
    journal.append(&[event(1)], DURABLE).unwrap();
    bench.disk.set(|faults| faults.sync = Some(IO_ERROR));
    let refused = journal.append(&[event(2)], DURABLE);
    assert!(matches!(refused, Err(AppendError::Failed { .. })), "{refused:?}");
    bench.disk.set(|faults| faults.sync = None);
    let files = || std::fs::read_dir(&bench.path).unwrap().count();
    let before = files();
    journal.append(&[event(3)], DURABLE).unwrap();
    assert_eq!(files(), before + 1);
    assert_eq!(bench.kinds(), events(1..=3));
}

#[test]
fn a_bound_is_not_broken_when_old_files_cannot_be_removed() {
    let bench = Bench::new();
    let journal = bench.journal(MIN_BYTES);
    bench.disk.set(|faults| faults.remove = Some(READ_ONLY));
    let body = format!("\"{}\"", "x".repeat(1000));
    let results: Vec<_> =
        (1..=100).map(|n| journal.append(&[event(n).body(body.clone())], DURABLE)).collect();
    assert!(results[99].is_err());
    assert!(bench.size() <= MIN_BYTES, "{}", bench.size());
    bench.disk.set(|faults| faults.remove = None);
    journal.append(&[event(101)], DURABLE).unwrap();
    assert!(bench.size() <= MIN_BYTES);
    assert_eq!(bench.kinds().last(), Some(&(RecordKind::Event, 101)));
    assert_eq!(journal.status().lost, 0);
}

#[test]
fn a_read_only_disk_refuses_commands_and_nothing_waits() {
    let bench = Bench::new();
    bench.disk.set(|faults| faults.create = Some(READ_ONLY));
    let journal = bench.journal(MIN_BYTES);
    journal.append(&[event(1)], Durability::Soon).unwrap();
    let Err(AppendError::Failed { message }) = journal.append(&[event(2)], DURABLE) else { panic!() };
    assert!(message.contains("Read-only"), "{message}");
    assert!(journal.close(LONG));
    assert_eq!(bench.size(), 0);
}

#[test]
fn a_limit_on_the_size_of_files_makes_smaller_files_and_never_kills_the_process() {
    let bench = Bench::new();
    bench.disk.set(|faults| faults.max_file_size = 2000);
    let journal = bench.journal(MIN_BYTES);
    for n in 1..=50 {
        journal.append(&[event(n)], DURABLE).unwrap();
    }
    let refused = journal.append(&[event(51).body("x".repeat(3000))], DURABLE);
    assert!(
        matches!(&refused, Err(AppendError::Failed { message }) if message.contains("ulimit")),
        "{refused:?}"
    );
    journal.append(&[event(52)], DURABLE).unwrap();
    assert!(journal.close(LONG));
    let mut wanted = events(1..=50);
    wanted.extend([(RecordKind::Loss { count: 1 }, 51), (RecordKind::Event, 52)]);
    assert_eq!(bench.kinds(), wanted);
    // A limit of nothing at all.
    let journal = bench.journal(MIN_BYTES);
    bench.disk.set(|faults| faults.max_file_size = 0);
    journal.append(&[event(1)], Durability::Soon).unwrap();
    assert!(journal.close(LONG));
}

#[test]
fn a_disk_that_hangs_blocks_no_line_and_each_lost_line_is_counted() {
    let bench = Bench::new();
    let log = bench.output();
    bench.disk.set(|faults| faults.is_blocked = true);
    let line = "x".repeat(1000);
    for _ in 0..30_000 {
        log.add(SystemTime::now(), "/shop/web", 1, LineStream::Stdout, line.as_bytes());
    }
    let lost = log.status().lost;
    assert!(lost > 5000, "{lost}");
    assert_eq!(log.flush(Duration::ZERO), Err(AppendError::Late));
    bench.disk.set(|faults| faults.is_blocked = false);
    log.flush(LONG).unwrap();
    let last = log.add(SystemTime::now(), "/shop/web", 1, LineStream::Stdout, b"last");
    log.flush(LONG).unwrap();
    let (mut lines, mut counted) = (0, 0);
    for entry in log.reader().lines(OutputFilter::new()).unwrap() {
        match entry {
            OutputEntry::Line(_) => lines += 1,
            OutputEntry::Lost { count, .. } => counted += count,
        }
    }
    assert_eq!((counted, lines + counted, last), (lost, 30_001, 30_001));
}

#[test]
fn closing_a_log_on_a_disk_that_hangs_ends_in_time() {
    let bench = Bench::new();
    let journal = bench.journal(MIN_BYTES);
    bench.disk.set(|faults| faults.is_blocked = true);
    journal.append(&[event(1)], Durability::Soon).unwrap();
    assert!(!journal.close(Duration::from_millis(10)));
    bench.disk.set(|faults| faults.is_blocked = false);
}

#[test]
fn a_panic_of_the_writer_answers_all_calls_and_frees_the_folder() {
    let bench = Bench::new();
    let journal = bench.journal(MIN_BYTES);
    bench.disk.set(|faults| faults.panics = true);
    assert_eq!(journal.append(&[event(1)], DURABLE), Err(AppendError::Closed));
    assert_eq!(journal.append(&[event(2)], DURABLE), Err(AppendError::Closed));
    assert!(journal.close(LONG));
}

#[test]
fn one_sync_serves_all_appends_that_wait_for_it() {
    let bench = Bench::new();
    let journal = Arc::new(bench.journal(MIN_BYTES));
    bench.disk.set(|faults| faults.is_blocked = true);
    let threads: Vec<_> = (1..=20)
        .map(|n| {
            let journal = journal.clone();
            std::thread::spawn(move || journal.append(&[event(n)], DURABLE))
        })
        .collect();
    bench.disk.set(|faults| faults.is_blocked = false);
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(bench.kinds().len(), 20);
}
