//! What an append promises.

use crate::support::{DURABLE, LONG, TempDir, all, append, at, event, ids, open, open_with};
use liveoak_journal::{AppendError, Durability, LogLimits, MIN_BYTES, Record, RecordFilter, RecordKind};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn records_are_read_back_as_they_were_appended() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    let records = [
        Record::event(1, at(1), "exited").path("/shop/web").attempt(3).body("{\"code\":\n1}"),
        Record::command(1, at(2), "restart")
            .path("/shop/web")
            .body("{\"by\":\"ann\",\"because\":\"tab\\there\"}"),
        Record::checkpoint(1, at(3), "[1,2]"),
        Record::loss(7, at(4), 6),
        Record::event(8, at(5), "kind\twith\ttabs").path("/path\nwith lines\0"),
        Record::event(9, at(6), ""),
    ];
    journal.append(&records, DURABLE).unwrap();
    let read: Vec<Record> = all(&dir.tree()).into_iter().map(|entry| entry.record).collect();
    assert_eq!(read, records);
}

#[test]
fn records_that_were_appended_soon_are_there_when_the_journal_is_closed() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    for n in 1..=100 {
        journal.append(&[event(n)], Durability::Soon).unwrap();
    }
    assert!(journal.close(LONG));
    assert_eq!(ids(all(&dir.tree())), (1..=100).map(|n| (1, n)).collect::<Vec<_>>());
}

#[test]
fn a_dropped_journal_writes_what_was_appended() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    journal.append(&[event(1), event(2)], Durability::Soon).unwrap();
    drop(journal);
    assert_eq!(ids(all(&dir.tree())), [(1, 1), (1, 2)]);
}

#[test]
fn a_durable_append_returns_after_everything_that_was_appended_before_it() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    journal.append(&[event(1), event(2)], Durability::Soon).unwrap();
    journal.append(&[Record::command(2, at(9), "stop")], DURABLE).unwrap();
    assert_eq!(all(&dir.tree()).len(), 3);
}

#[test]
fn appends_of_many_threads_keep_the_order_of_each_thread() {
    let dir = TempDir::new();
    let journal = Arc::new(open(&dir.tree()));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                for n in 0..50 {
                    let record = Record::command(n, at(n), format!("verb-{thread}"));
                    journal.append(&[record], DURABLE).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for thread in 0..8 {
        let filter = RecordFilter::new().kind(format!("verb-{thread}"));
        let numbers: Vec<u64> =
            journal.reader().entries(filter).unwrap().map(|entry| entry.record.n).collect();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    }
}

#[test]
fn each_opening_begins_a_run_with_a_larger_number() {
    let dir = TempDir::new();
    for run in 1..=4 {
        let journal = open(&dir.tree());
        assert_eq!(journal.run(), run);
        // A run without records counts too.
        if run != 2 {
            append(&journal, [1]);
        }
    }
    assert_eq!(ids(all(&dir.tree())), [(1, 1), (3, 1), (4, 1)]);
}

#[test]
fn runs_go_on_when_the_file_that_counts_them_is_gone_or_damaged() {
    let dir = TempDir::new();
    for run in 1..=3 {
        append(&open(&dir.tree()), [run]);
    }
    for content in ["", "run", "run x", "run -5\n", "run 99999999999999999999999\n", "\u{0}\u{0}"] {
        std::fs::write(dir.tree().join("lock"), content).unwrap();
        let journal = open(&dir.tree());
        let last = all(&dir.tree()).last().unwrap().run;
        assert_eq!(journal.run(), last + 1, "{content:?}");
        append(&journal, [last + 1]);
    }
    std::fs::remove_file(dir.tree().join("lock")).unwrap();
    assert_eq!(open(&dir.tree()).run(), 10);
}

#[test]
fn a_record_that_is_too_long_is_refused_and_counted_as_lost() {
    let dir = TempDir::new();
    let limits = LogLimits { bytes: MIN_BYTES, ..LogLimits::default() };
    let journal = open_with(&dir.tree(), limits);
    let long = "x".repeat(MIN_BYTES as usize / 2);
    let result = journal.append(&[event(1), event(2).body(long.clone())], DURABLE);
    assert!(matches!(result, Err(AppendError::TooLong { .. })), "{result:?}");
    // A checkpoint repeats what is known: it is not counted.
    let result = journal.append(&[Record::checkpoint(2, at(3), long)], DURABLE);
    assert!(matches!(result, Err(AppendError::TooLong { .. })), "{result:?}");
    append(&journal, [3]);
    let records: Vec<RecordKind> = all(&dir.tree()).iter().map(|entry| entry.record.record).collect();
    assert_eq!(records, [RecordKind::Loss { count: 2 }, RecordKind::Event]);
    assert_eq!(journal.status().lost, 2);
    assert!(!journal.is_checkpoint_due() || journal.status().lost > 0);
}

#[test]
fn a_loss_is_recorded_although_nothing_is_appended_after_it() {
    let dir = TempDir::new();
    let limits = LogLimits { bytes: MIN_BYTES, ..LogLimits::default() };
    let journal = open_with(&dir.tree(), limits);
    let long = event(5).body("x".repeat(MIN_BYTES as usize));
    journal.append(&[long], Durability::Soon).unwrap_err();
    assert!(journal.close(LONG));
    let entries = all(&dir.tree());
    assert_eq!(entries[0].record.record, RecordKind::Loss { count: 1 });
    assert_eq!(entries[0].record.n, 5);
}

#[test]
fn a_checkpoint_is_due_at_the_beginning_of_a_run_after_a_loss_and_after_many_records() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    assert!(journal.is_checkpoint_due());
    append(&journal, [1]);
    journal.append(&[Record::checkpoint(1, at(1), "{}")], DURABLE).unwrap();
    assert!(!journal.is_checkpoint_due());
    journal.append(&[Record::loss(3, at(2), 2)], DURABLE).unwrap();
    assert!(journal.is_checkpoint_due());
    journal.append(&[Record::checkpoint(3, at(3), "{}")], DURABLE).unwrap();
    assert!(!journal.is_checkpoint_due());
    let body = format!("\"{}\"", "x".repeat(1000));
    for n in 4..600 {
        journal.append(&[event(n).body(body.clone())], Durability::Soon).unwrap();
    }
    assert!(journal.is_checkpoint_due());
    // A large checkpoint is not repeated before four times its own size has been appended.
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    journal.append(&[Record::checkpoint(600, at(600), large)], DURABLE).unwrap();
    for n in 600..1600 {
        journal.append(&[event(n).body(body.clone())], Durability::Soon).unwrap();
    }
    assert!(!journal.is_checkpoint_due());
}

#[test]
fn a_flush_makes_records_readable_and_the_callback_reports_them() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    let (sender, receiver) = std::sync::mpsc::channel();
    journal.on_written(move || sender.send(()).unwrap_or_default());
    journal.append(&[event(1)], Durability::Soon).unwrap();
    journal.flush(LONG).unwrap();
    assert_eq!(ids(journal.reader().entries(RecordFilter::new()).unwrap()), [(1, 1)]);
    receiver.recv_timeout(LONG).unwrap();
}

#[test]
fn an_append_without_time_for_the_disk_is_late_and_still_written() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    let result = journal.append(&[event(1)], Durability::Durable { within: Duration::ZERO });
    assert!(matches!(result, Ok(()) | Err(AppendError::Late)), "{result:?}");
    journal.flush(LONG).unwrap();
    assert_eq!(ids(all(&dir.tree())), [(1, 1)]);
}
