//! Queries: by number, time, path and kind, forward and the last ones, while a tree writes and when it is gone.

use crate::support::{DURABLE, TempDir, all, append, at, event, ids, open, open_with};
use liveoak_journal::{
    JournalReader, LogLimits, MIN_BYTES, ReadError, Record, RecordFilter, RecordId, RecordKind,
};

/// Returns a folder with three runs of a hundred events each, in many small files.
fn three_runs() -> TempDir {
    let dir = TempDir::new();
    for run in 0..3 {
        let limits = LogLimits { bytes: MIN_BYTES, ..LogLimits::default() };
        let journal = open_with(&dir.tree(), limits);
        for n in 1..=100 {
            let record = Record::event(n, at(1000 * run + n), if n % 10 == 0 { "exited" } else { "started" });
            journal.append(&[record.path(format!("/shop/{}", n % 4)).body("{}")], DURABLE).unwrap();
        }
    }
    dir
}

#[test]
fn a_query_from_a_record_on_returns_the_later_ones_of_this_run_and_of_later_runs() {
    let dir = three_runs();
    let reader = JournalReader::open(dir.tree()).unwrap();
    let all: Vec<(u64, u64)> = (1..=3).flat_map(|run| (1..=100).map(move |n| (run, n))).collect();
    for (run, n) in [(0, 0), (1, 0), (1, 1), (1, 57), (1, 100), (1, 500), (2, 99), (3, 99), (3, 100), (4, 0)]
    {
        let found = ids(reader.entries(RecordFilter::new().after(RecordId { run, n })).unwrap());
        let wanted: Vec<_> = all.iter().copied().filter(|id| *id > (run, n)).collect();
        assert_eq!(found, wanted, "after {run}-{n}");
    }
}

#[test]
fn a_query_by_time_path_and_kind_returns_exactly_the_wanted_records() {
    let dir = three_runs();
    let reader = JournalReader::open(dir.tree()).unwrap();
    let found = ids(reader.entries(RecordFilter::new().since(at(2050))).unwrap());
    assert_eq!(found, (50..=100).map(|n| (3, n)).collect::<Vec<_>>());
    let between = RecordFilter::new().since(at(1090)).until(at(2003));
    assert_eq!(ids(reader.entries(between).unwrap()).len(), 11 + 3);
    let of_path = RecordFilter::new().path(|path| path == "/shop/2").kind("exited");
    let found = ids(reader.entries(of_path).unwrap());
    let wanted: Vec<_> = (1..=3).flat_map(|run| [10, 30, 50, 70, 90].map(|n| (run, n))).collect();
    assert_eq!(found, wanted);
    let several = RecordFilter::new().kind("exited").kind("nothing").events();
    assert_eq!(reader.entries(several).unwrap().count(), 30);
}

#[test]
fn the_last_records_are_the_last_of_the_whole_query() {
    let dir = three_runs();
    let reader = JournalReader::open(dir.tree()).unwrap();
    for count in [0, 1, 7, 99, 100, 101, 250, 300, 1000] {
        let wanted = ids(all(&dir.tree()));
        let found = ids(reader.last(RecordFilter::new(), count).unwrap());
        assert_eq!(found, wanted[wanted.len().saturating_sub(count)..], "{count}");
        let exited = || RecordFilter::new().kind("exited").since(at(50));
        let wanted = ids(reader.entries(exited()).unwrap());
        let found = ids(reader.last(exited(), count).unwrap());
        assert_eq!(found, wanted[wanted.len().saturating_sub(count)..], "{count}");
    }
}

#[test]
fn losses_are_returned_whatever_path_and_kind_are_wanted() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    journal.append(&[event(1), Record::loss(4, at(4), 3), event(5)], DURABLE).unwrap();
    let filter = RecordFilter::new().kind("exited").path(|_| false).events();
    let found: Vec<RecordKind> =
        journal.reader().entries(filter).unwrap().map(|entry| entry.record.record).collect();
    assert_eq!(found, [RecordKind::Loss { count: 3 }]);
}

#[test]
fn a_reader_follows_a_writer_of_another_opening() {
    let dir = TempDir::new();
    let limits = LogLimits { bytes: MIN_BYTES, ..LogLimits::default() };
    let journal = open_with(&dir.tree(), limits);
    let reader = JournalReader::open(dir.tree()).unwrap();
    let mut entries = reader.entries(RecordFilter::new()).unwrap();
    assert!(entries.next().is_none());
    for n in 1..=200 {
        append(&journal, [n]);
        assert_eq!(entries.next().map(|entry| entry.record.n), Some(n));
        assert!(entries.next().is_none());
    }
    drop(journal);
    append(&open_with(&dir.tree(), limits), [1, 2]);
    assert_eq!(ids(entries.by_ref()), [(2, 1), (2, 2)]);
    assert_eq!(entries.damage(), Default::default());
}

#[test]
fn a_reader_that_falls_behind_goes_on_with_the_oldest_record_that_is_kept() {
    let dir = TempDir::new();
    let limits = LogLimits { bytes: MIN_BYTES, ..LogLimits::default() };
    let journal = open_with(&dir.tree(), limits);
    let body = format!("\"{}\"", "x".repeat(500));
    journal.append(&[event(1).body(body.clone())], DURABLE).unwrap();
    let reader = journal.reader();
    let mut entries = reader.entries(RecordFilter::new()).unwrap();
    assert_eq!(entries.next().map(|entry| entry.record.n), Some(1));
    for n in 2..=1000 {
        journal.append(&[event(n).body(body.clone())], DURABLE).unwrap();
    }
    let rest = ids(entries);
    assert_eq!(rest.last(), Some(&(1, 1000)));
    let first = reader.first_kept().unwrap().unwrap();
    assert!(first.n > 800, "{first}");
    assert!(rest.contains(&(1, first.n)));
}

#[test]
fn a_query_from_a_time_on_has_all_later_records_also_those_after_the_clock_was_set_back() {
    let dir = three_runs();
    let journal = open_with(&dir.tree(), LogLimits { bytes: MIN_BYTES, ..LogLimits::default() });
    let set_back = (1..=100).map(|n| Record::event(n, at(n), "started").path("/shop/0").body("{}"));
    journal.append(&set_back.collect::<Vec<_>>(), DURABLE).unwrap();
    let reader = JournalReader::open(dir.tree()).unwrap();
    let from = |begin| ids(reader.entries_from(begin, RecordFilter::new()).unwrap());
    let expected: Vec<_> = (51..=100).map(|n| (3, n)).chain((1..=100).map(|n| (4, n))).collect();
    assert_eq!(from(at(2051)), expected);
    assert_eq!(from(at(0)).len(), 400);
    assert!(from(at(9999)).is_empty());
    assert_eq!(ids(reader.entries(RecordFilter::new().since(at(2051))).unwrap()).len(), 50);
}

#[test]
fn a_history_that_does_not_exist_and_one_without_records_are_told_apart() {
    let dir = TempDir::new();
    assert!(matches!(JournalReader::open(dir.tree()), Err(ReadError::Missing { .. })));
    let journal = open(&dir.tree());
    assert_eq!(journal.reader().first_kept().unwrap(), None);
    assert!(journal.reader().last(RecordFilter::new(), 5).unwrap().is_empty());
    assert!(all(&dir.tree()).is_empty());
}

#[test]
fn a_record_number_is_written_and_read_as_text() {
    assert_eq!("3-1042".parse(), Ok(RecordId { run: 3, n: 1042 }));
    assert_eq!(RecordId { run: 3, n: 1042 }.to_string(), "3-1042");
    for text in ["", "3", "-3", "3-", "+3-4", "3-+4", "3-4-5", "a-b", "3 -4", "99999999999999999999-1"] {
        let error = text.parse::<RecordId>().unwrap_err();
        assert!(error.to_string().contains("expected RUN-n"), "{error}");
    }
}
