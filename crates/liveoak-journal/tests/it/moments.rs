//! The state of the tree at a moment.

use crate::support::{DURABLE, TempDir, append, at, event, open, open_with};
use liveoak_journal::{Journal, JournalReader, LogLimits, MIN_BYTES, Record, TreeMoment};
use std::path::Path;
use std::time::Duration;

fn moment(tree: &Path, seconds: u64) -> Option<TreeMoment> {
    JournalReader::open(tree).unwrap().at(at(seconds)).unwrap()
}

fn checkpoint(journal: &Journal, n: u64, seconds: u64) {
    journal.append(&[Record::checkpoint(n, at(seconds), format!("{{\"n\":{n}}}"))], DURABLE).unwrap();
}

/// Returns run, checkpoint, the events after it, and whether the state is exact.
fn told(moment: Option<TreeMoment>) -> Option<(u64, Option<u64>, Vec<u64>, bool)> {
    let moment = moment?;
    let checkpoint = moment.checkpoint.map(|entry| entry.record.n);
    Some((moment.run, checkpoint, moment.events.map(|entry| entry.record.n).collect(), moment.is_exact))
}

#[test]
fn a_moment_is_the_last_checkpoint_and_the_events_after_it() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    checkpoint(&journal, 0, 0);
    append(&journal, 1..=5);
    checkpoint(&journal, 5, 5);
    append(&journal, 6..=9);
    for (second, checkpoint, events) in [
        (0, 0, vec![]),
        (1, 0, vec![1]),
        (4, 0, vec![1, 2, 3, 4]),
        (5, 5, vec![]),
        (7, 5, vec![6, 7]),
        (99, 5, vec![6, 7, 8, 9]),
    ] {
        assert_eq!(told(moment(&dir.tree(), second)), Some((1, Some(checkpoint), events, true)), "{second}");
    }
    // Between two events, the state is that after the first of them.
    let between = journal.reader().at(at(7) + Duration::from_millis(500)).unwrap();
    assert_eq!(told(between), Some((1, Some(5), vec![6, 7], true)));
}

#[test]
fn before_the_first_record_there_is_no_state() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    assert!(moment(&dir.tree(), 5).is_none());
    checkpoint(&journal, 0, 10);
    assert!(moment(&dir.tree(), 9).is_none());
    assert!(moment(&dir.tree(), 10).is_some());
}

#[test]
fn events_without_a_checkpoint_before_them_give_no_exact_state() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    append(&journal, 1..=5);
    assert_eq!(told(moment(&dir.tree(), 3)), Some((1, None, vec![], false)));
}

#[test]
fn a_moment_between_a_loss_and_the_next_checkpoint_is_not_exact() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    checkpoint(&journal, 0, 0);
    append(&journal, 1..=3);
    journal.append(&[Record::loss(6, at(6), 3)], DURABLE).unwrap();
    append(&journal, 7..=8);
    checkpoint(&journal, 8, 8);
    append(&journal, 9..=10);
    for (second, is_exact) in
        [(2, true), (3, false), (5, false), (6, false), (7, false), (8, true), (9, true), (10, true)]
    {
        let (_, _, _, exact) = told(moment(&dir.tree(), second)).unwrap();
        assert_eq!(exact, is_exact, "second {second}");
    }
}

#[test]
fn a_missing_event_number_is_a_gap_even_without_a_record_of_the_loss() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    checkpoint(&journal, 0, 0);
    append(&journal, [1, 2, 4, 5]);
    for (second, is_exact) in [(1, true), (2, false), (3, false), (4, false), (5, false)] {
        let (_, _, _, exact) = told(moment(&dir.tree(), second)).unwrap();
        assert_eq!(exact, is_exact, "second {second}");
    }
}

#[test]
fn damage_is_a_gap() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    checkpoint(&journal, 0, 0);
    append(&journal, 1..=5);
    drop(journal);
    let (path, _) = crate::support::files(&dir.tree(), "journal").pop().unwrap();
    let content = std::fs::read(&path).unwrap();
    let place =
        |text: &str| content.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    for (changed, exact_until) in [("{\"n\":5}", 3), ("{\"n\":3}", 1)] {
        let mut copy = content.clone();
        copy[place(changed)] = b'x';
        std::fs::write(&path, &copy).unwrap();
        for second in 1..=6 {
            let (_, _, _, exact) = told(moment(&dir.tree(), second)).unwrap();
            assert_eq!(exact, second <= exact_until, "{changed} second {second}");
        }
    }
}

#[test]
fn events_that_were_appended_while_the_tree_was_copied_belong_to_the_state() {
    let dir = TempDir::new();
    let limits = LogLimits { bytes: MIN_BYTES, ..LogLimits::default() };
    let journal = open_with(&dir.tree(), limits);
    checkpoint(&journal, 0, 0);
    let body = format!("\"{}\"", "x".repeat(700));
    for n in 1..=8 {
        journal.append(&[event(n).body(body.clone())], DURABLE).unwrap();
    }
    // The copy is of the tree after event 4, and its record comes after event 8, perhaps in another file.
    checkpoint(&journal, 4, 4);
    append(&journal, 9..=10);
    assert_eq!(told(moment(&dir.tree(), 4)), Some((1, Some(4), vec![], true)));
    assert_eq!(told(moment(&dir.tree(), 6)), Some((1, Some(4), vec![5, 6], true)));
    assert_eq!(told(moment(&dir.tree(), 10)), Some((1, Some(4), vec![5, 6, 7, 8, 9, 10], true)));
    assert_eq!(told(moment(&dir.tree(), 3)), Some((1, Some(0), vec![1, 2, 3], true)));
}

#[test]
fn each_run_has_its_own_states() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    checkpoint(&journal, 0, 0);
    append(&journal, 1..=3);
    drop(journal);
    let journal = open(&dir.tree());
    journal.append(&[Record::checkpoint(0, at(10), "{}")], DURABLE).unwrap();
    journal.append(&[Record::event(1, at(11), "started")], DURABLE).unwrap();
    assert_eq!(told(moment(&dir.tree(), 9)), Some((1, Some(0), vec![1, 2, 3], true)));
    assert_eq!(told(moment(&dir.tree(), 10)), Some((2, Some(0), vec![], true)));
    assert_eq!(told(moment(&dir.tree(), 11)), Some((2, Some(0), vec![1], true)));
}

#[test]
fn with_a_clock_that_was_set_back_the_last_event_of_that_time_counts() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    checkpoint(&journal, 0, 0);
    let events = [(1, 10), (2, 20), (3, 30), (4, 12), (5, 22)];
    for (n, second) in events {
        journal.append(&[Record::event(n, at(second), "started")], DURABLE).unwrap();
    }
    assert_eq!(told(moment(&dir.tree(), 11)), Some((1, Some(0), vec![1], true)));
    assert_eq!(told(moment(&dir.tree(), 15)), Some((1, Some(0), vec![1, 2, 3, 4], true)));
    assert_eq!(told(moment(&dir.tree(), 25)), Some((1, Some(0), vec![1, 2, 3, 4, 5], true)));
}

#[test]
fn states_are_exact_over_many_files() {
    let dir = TempDir::new();
    let limits = LogLimits { bytes: 8 * MIN_BYTES, ..LogLimits::default() };
    let journal = open_with(&dir.tree(), limits);
    let mut last = 0;
    for n in 1..=2000 {
        if journal.is_checkpoint_due() {
            checkpoint(&journal, n - 1, n - 1);
            last = n - 1;
        }
        append(&journal, [n]);
    }
    assert!(last > 100, "{last}");
    assert!(crate::support::files(&dir.tree(), "journal").len() > 4);
    for second in (1..=2000).step_by(173) {
        let moment = moment(&dir.tree(), second).unwrap();
        assert_eq!((moment.n, moment.is_exact), (second, true));
        let begin = moment.checkpoint.unwrap().record.n;
        let events: Vec<u64> = moment.events.map(|entry| entry.record.n).collect();
        assert_eq!(events, (begin + 1..=second).collect::<Vec<_>>());
    }
}
