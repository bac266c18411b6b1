//! Files that were cut, changed, or filled with zeros cost the records at that place, and nothing else.

use crate::support::{DURABLE, TempDir, all, append, event, files, ids, open};
use liveoak_journal::{JournalReader, LogNotice, Record, RecordFilter};
use std::path::Path;
use std::time::SystemTime;

/// Returns the content of a journal with so many events in one file, and its name.
fn sample(count: u64) -> (String, Vec<u8>) {
    let dir = TempDir::new();
    append(&open(&dir.tree()), 1..=count);
    let (path, _) = files(&dir.tree(), "journal").pop().unwrap();
    (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap())
}

/// Makes a folder with this file, and returns the numbers of the events before and after another run.
fn reopened(name: &str, content: &[u8]) -> (Vec<u64>, Vec<u64>, Vec<LogNotice>) {
    let dir = TempDir::new();
    std::fs::create_dir_all(dir.tree()).unwrap();
    std::fs::write(dir.tree().join(name), content).unwrap();
    let numbers = |tree: &Path| ids(all(tree)).into_iter().map(|(_, n)| n).collect::<Vec<_>>();
    let before = numbers(&dir.tree());
    let journal = open(&dir.tree());
    let notices = journal.take_notices();
    journal.append(&[event(1000), event(1001)], DURABLE).unwrap();
    (before, numbers(&dir.tree()), notices)
}

#[test]
fn a_file_that_is_cut_at_any_byte_keeps_all_whole_records_and_takes_no_harm_from_the_next_run() {
    let (name, content) = sample(4);
    let ends: Vec<usize> =
        content.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    for cut in 0..=content.len() {
        let whole = ends.iter().skip(1).filter(|end| **end <= cut).count() as u64;
        let (before, after, notices) = reopened(&name, &content[..cut]);
        let mut wanted: Vec<u64> = (1..=whole).collect();
        assert_eq!(before, wanted, "cut at {cut}");
        wanted.extend([1000, 1001]);
        assert_eq!(after, wanted, "cut at {cut}");
        let is_whole = cut == 0 || ends.iter().any(|end| cut == *end || cut == *end + 1);
        assert_eq!(notices.is_empty(), is_whole, "cut at {cut}: {notices:?}");
    }
}

#[test]
fn a_changed_byte_costs_one_record_and_takes_no_harm_from_the_next_run() {
    let (name, content) = sample(3);
    for at in 0..content.len() {
        for change in [1, 0x80, content[at] ^ b'\n', content[at]] {
            let mut changed = content.clone();
            changed[at] ^= change;
            let (before, after, _) = reopened(&name, &changed);
            assert!(before.len() >= 2, "{change:#x} at {at}: {before:?}");
            let mut wanted = before.clone();
            wanted.extend([1000, 1001]);
            assert_eq!(after, wanted, "{change:#x} at {at}");
        }
    }
}

#[test]
fn zeros_and_garbage_at_the_end_cost_nothing_that_was_written_before() {
    let (name, content) = sample(3);
    for tail in [
        vec![0; 10],
        vec![0; 300_000],
        vec![b'\n'; 9],
        b"\xff".repeat(5000),
        content[..40].to_vec(),
        content.clone(),
    ] {
        let mut changed = content.clone();
        changed.extend(&tail);
        let (before, after, _) = reopened(&name, &changed);
        assert_eq!(before, [1, 2, 3]);
        assert_eq!(after, [1, 2, 3, 1000, 1001]);
    }
}

#[test]
fn a_block_of_zeros_in_the_middle_costs_the_records_in_it() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    let body = format!("\"{}\"", "x".repeat(1000));
    for n in 1..=100 {
        journal.append(&[event(n).body(body.clone())], DURABLE).unwrap();
    }
    drop(journal);
    let (path, _) = files(&dir.tree(), "journal").pop().unwrap();
    let mut content = std::fs::read(&path).unwrap();
    content[40_000..44_096].fill(0);
    std::fs::write(&path, content).unwrap();
    let reader = JournalReader::open(dir.tree()).unwrap();
    let mut entries = reader.entries(RecordFilter::new()).unwrap();
    let found = entries.by_ref().count();
    assert!((93..=96).contains(&found), "{found}");
    assert_eq!(entries.damage().places, 1);
    assert!(entries.damage().bytes >= 4096);
    // Queries that begin before the damage, behind it, or at the end find what is there.
    let since = |n| ids(reader.entries(RecordFilter::new().since(crate::support::at(n))).unwrap()).len();
    assert_eq!((since(1), since(60)), (found, 41));
    assert_eq!(ids(reader.last(RecordFilter::new(), 90).unwrap()).len(), 90);
}

#[test]
fn the_first_file_may_be_missing_and_so_may_any_other() {
    let dir = TempDir::new();
    let limits = liveoak_journal::LogLimits { bytes: liveoak_journal::MIN_BYTES, ..Default::default() };
    let journal = crate::support::open_with(&dir.tree(), limits);
    for n in 1..=150 {
        append(&journal, [n]);
    }
    drop(journal);
    let all_files = files(&dir.tree(), "journal");
    assert!(all_files.len() >= 3);
    std::fs::remove_file(&all_files[0].0).unwrap();
    std::fs::write(&all_files[1].0, "").unwrap();
    let kept = ids(all(&dir.tree()));
    assert_eq!(kept.last(), Some(&(1, 150)));
    let reader = JournalReader::open(dir.tree()).unwrap();
    let last = ids(reader.last(RecordFilter::new(), 3).unwrap());
    assert_eq!(last, [(1, 148), (1, 149), (1, 150)]);
    append(&crate::support::open_with(&dir.tree(), limits), [1]);
}

#[test]
fn a_body_that_contains_a_whole_journal_is_never_read_as_records() {
    let (name, content) = sample(3);
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    let inner = String::from_utf8(content).unwrap();
    journal.append(&[Record::event(1, SystemTime::now(), "output").body(inner)], DURABLE).unwrap();
    append(&journal, [2]);
    drop(journal);
    let (path, _) = files(&dir.tree(), "journal").pop().unwrap();
    let mut content = std::fs::read(&path).unwrap();
    let at = content.windows(6).position(|window| window == b"output").unwrap();
    content[at] = b'O';
    // Even under the name of the file that the inner records come from.
    std::fs::write(&path, &content).unwrap();
    assert_eq!(ids(all(&dir.tree())), [(1, 2)]);
    let (before, _, _) = reopened(&name, &content);
    assert!(before.is_empty(), "{before:?}");
}
