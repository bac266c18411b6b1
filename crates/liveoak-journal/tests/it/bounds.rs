//! History is bounded by size and age at every moment.

use crate::support::{DURABLE, TempDir, all, append, event, files, ids, open_with};
use liveoak_journal::{Durability, LogLimits, MIN_BYTES, Record, RecordFilter};
use std::time::{Duration, SystemTime};

const SMALL: LogLimits = LogLimits { bytes: MIN_BYTES, age: Duration::from_secs(30 * 24 * 3600) };

#[test]
fn the_files_never_exceed_their_bound_and_the_oldest_records_go_first() {
    let dir = TempDir::new();
    let journal = open_with(&dir.tree(), SMALL);
    for n in 1..=3000 {
        let body = format!("\"{}\"", "x".repeat((n * 37 % 400) as usize));
        journal.append(&[event(n).body(body)], DURABLE).unwrap();
        let size: u64 = files(&dir.tree(), "journal").iter().map(|(_, size)| size).sum();
        assert!(size <= MIN_BYTES, "{size} bytes after event {n}");
        assert_eq!(journal.status().bytes, size);
    }
    let kept = ids(all(&dir.tree()));
    let first = journal.reader().first_kept().unwrap().unwrap();
    assert_eq!(kept, (first.n..=3000).map(|n| (1, n)).collect::<Vec<_>>());
    // At least three quarters of the bound are used.
    let size: u64 = files(&dir.tree(), "journal").iter().map(|(_, size)| size).sum();
    assert!(size >= MIN_BYTES * 3 / 4, "{size}");
}

#[test]
fn a_record_of_the_largest_size_breaks_no_bound() {
    let dir = TempDir::new();
    let journal = open_with(&dir.tree(), SMALL);
    let body = "x".repeat(MIN_BYTES as usize / 2 - 200);
    for n in 1..=20 {
        journal.append(&[Record::checkpoint(n, SystemTime::now(), body.clone())], DURABLE).unwrap();
        let size: u64 = files(&dir.tree(), "journal").iter().map(|(_, size)| size).sum();
        assert!(size <= MIN_BYTES, "{size} bytes after {n}");
    }
    assert_eq!(all(&dir.tree()).last().map(|entry| entry.record.n), Some(20));
}

#[test]
fn a_smaller_bound_is_kept_from_the_next_record_on() {
    let dir = TempDir::new();
    let large = LogLimits { bytes: 16 * MIN_BYTES, ..SMALL };
    let journal = open_with(&dir.tree(), large);
    let body = format!("\"{}\"", "x".repeat(1000));
    for n in 1..=800 {
        journal.append(&[event(n).body(body.clone())], Durability::Soon).unwrap();
    }
    drop(journal);
    let journal = open_with(&dir.tree(), SMALL);
    append(&journal, [1]);
    let size: u64 = files(&dir.tree(), "journal").iter().map(|(_, size)| size).sum();
    assert!(size <= MIN_BYTES, "{size}");
    assert_eq!(ids(all(&dir.tree())).last(), Some(&(2, 1)));
}

#[test]
fn records_that_are_too_old_are_removed_when_the_journal_is_opened() {
    let dir = TempDir::new();
    let day = Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    let journal = open_with(&dir.tree(), SMALL);
    for (n, age) in [(1, 50), (2, 33), (3, 31), (4, 28), (5, 1), (6, 0)] {
        journal.append(&[Record::event(n, now - day * age, "started")], DURABLE).unwrap();
    }
    drop(journal);
    // A segment is complete after a sixteenth of the time, so each of the old records has a file of its own.
    let journal = open_with(&dir.tree(), SMALL);
    append(&journal, []);
    journal.flush(Duration::from_secs(60)).unwrap();
    let kept: Vec<u64> = ids(all(&dir.tree())).into_iter().map(|(_, n)| n).collect();
    assert_eq!(kept, [4, 5, 6]);
}

#[test]
fn a_clock_that_was_set_back_removes_nothing() {
    let dir = TempDir::new();
    let later = SystemTime::now() + Duration::from_secs(400 * 24 * 3600);
    let journal = open_with(&dir.tree(), SMALL);
    journal.append(&[Record::event(1, later, "started"), Record::event(2, later, "ready")], DURABLE).unwrap();
    drop(journal);
    let journal = open_with(&dir.tree(), SMALL);
    append(&journal, [1]);
    assert_eq!(ids(all(&dir.tree())), [(1, 1), (1, 2), (2, 1)]);
    let since = RecordFilter::new().since(later);
    assert_eq!(ids(journal.reader().entries(since).unwrap()), [(1, 1), (1, 2)]);
}

#[test]
fn many_runs_share_files_and_the_number_of_files_is_bounded() {
    let dir = TempDir::new();
    for run in 1..=40 {
        append(&open_with(&dir.tree(), LogLimits::default()), [run]);
    }
    assert_eq!(files(&dir.tree(), "journal").len(), 1);
    // Each run leaves an unfinished record behind, so the next one begins a new file.
    for run in 41..=320 {
        append(&open_with(&dir.tree(), LogLimits::default()), [run]);
        let (path, _) = files(&dir.tree(), "journal").pop().unwrap();
        let mut content = std::fs::read(&path).unwrap();
        content.extend(b"0123abcd 00000");
        std::fs::write(&path, content).unwrap();
    }
    append(&open_with(&dir.tree(), LogLimits::default()), [321]);
    assert!(files(&dir.tree(), "journal").len() <= 257);
    assert_eq!(ids(all(&dir.tree())).last(), Some(&(321, 321)));
}
