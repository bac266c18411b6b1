//! Random sequences of appends, reopenings, cuts and changed bytes, compared with a list in memory.

use crate::support::{DURABLE, LONG, TempDir, all, at, files, open_with};
use liveoak_journal::{
    Durability, Journal, LogLimits, MIN_BYTES, Record, RecordFilter, RecordId, RecordKind,
};
use proptest::prelude::*;
use std::path::Path;

/// A step of a sequence.
#[derive(Clone, Debug)]
enum Step {
    /// Appends so many events with bodies of so many bytes.
    Append {
        count: u64,
        body: usize,
        durable: bool,
    },
    Reopen,
    /// Cuts so many bytes off the last file, while no process has it open.
    Cut {
        bytes: u64,
    },
    /// Changes a byte of a file.
    Change {
        file: prop::sample::Index,
        byte: prop::sample::Index,
        with: u8,
    },
    /// Appends zeros to the last file.
    Zeros {
        bytes: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (1..20_u64, 0..1200_usize, any::<bool>()).prop_map(|(count, body, durable)| Step::Append {
        count,
        body,
        durable,
    });
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255_u8)
        .prop_map(|(file, byte, with)| Step::Change { file, byte, with });
    let step = prop_oneof![
        6 => append,
        1 => Just(Step::Reopen),
        1 => (0..500_u64).prop_map(|bytes| Step::Cut { bytes }),
        1 => change,
        1 => (1..5000_usize).prop_map(|bytes| Step::Zeros { bytes }),
    ];
    prop::collection::vec(step, 1..30)
}

const SMALL: LogLimits = LogLimits { bytes: MIN_BYTES, age: liveoak_journal::DEFAULT_AGE };

fn kept(tree: &Path) -> Vec<(u64, u64)> {
    let ids = all(tree).into_iter().map(|entry| (entry.run, entry.record.n));
    ids.collect()
}

/// Changes files while no process has them open, and opens the journal again.
fn while_closed(
    journal: &mut Option<Journal>,
    tree: &Path,
    change: impl FnOnce(&[(std::path::PathBuf, u64)]),
) {
    assert!(journal.take().unwrap().close(LONG));
    change(&files(tree, "journal"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_appends_reopenings_and_damage_equals_a_list(steps in steps()) {
        let dir = TempDir::new();
        let tree = dir.tree();
        let mut journal = Some(open_with(&tree, SMALL));
        let (mut model, mut n) = (Vec::<(u64, u64)>::new(), 0);
        for step in steps {
            match step {
                Step::Append { count, body, durable } => {
                    let open = journal.as_ref().unwrap();
                    let body = format!("\"{}\"", "x".repeat(body));
                    let events: Vec<_> = (n + 1..=n + count).map(|n| Record::event(n, at(n), "e").body(body.clone())).collect();
                    n += count;
                    open.append(&events, if durable { DURABLE } else { Durability::Soon }).unwrap();
                    open.flush(LONG).unwrap();
                    model.extend(events.iter().map(|event| (open.run(), event.n)));
                    let found = kept(&tree);
                    // The oldest may have been removed, and nothing else.
                    prop_assert!(model.ends_with(&found), "{:?} {:?}", model, found);
                    let size: u64 = files(&tree, "journal").iter().map(|(_, size)| size).sum();
                    prop_assert!(size <= MIN_BYTES);
                    prop_assert!(found.len() == model.len() || size > MIN_BYTES / 4, "{}", size);
                    model = found;
                }
                Step::Reopen => while_closed(&mut journal, &tree, |_| {}),
                Step::Cut { bytes } => {
                    while_closed(&mut journal, &tree, |files| {
                        if let Some((path, size)) = files.last() {
                            let file = std::fs::File::options().write(true).open(path).unwrap();
                            file.set_len(size.saturating_sub(bytes)).unwrap();
                        }
                    });
                    let found = kept(&tree);
                    prop_assert!(model.starts_with(&found));
                    // No frame of an event is shorter than 50 bytes.
                    prop_assert!((model.len() - found.len()) as u64 <= bytes / 50 + 1);
                    model = found;
                }
                Step::Change { file, byte, with } => {
                    while_closed(&mut journal, &tree, |files| {
                        let files: Vec<_> = files.iter().filter(|(_, size)| *size > 0).collect();
                        if files.is_empty() { return; }
                        let (path, _) = file.get(&files);
                        let mut content = std::fs::read(path).unwrap();
                        let at = byte.index(content.len());
                        content[at] ^= with;
                        std::fs::write(path, content).unwrap();
                    });
                    let found = kept(&tree);
                    prop_assert!(model.len() - found.len() <= 1);
                    let mut rest = model.iter();
                    prop_assert!(found.iter().all(|id| rest.any(|known| known == id)));
                    model = found;
                }
                Step::Zeros { bytes } => {
                    while_closed(&mut journal, &tree, |files| {
                        if let Some((path, size)) = files.last() {
                            std::fs::File::options().write(true).open(path).unwrap().set_len(size + bytes as u64).unwrap();
                        }
                    });
                    prop_assert_eq!(&kept(&tree), &model);
                }
            }
            if journal.is_none() {
                // Zeros can have made the files too large; opening and writing makes room again.
                journal = Some(open_with(&tree, SMALL));
            }
        }
    }

    #[test]
    fn the_state_at_any_moment_equals_the_one_that_the_whole_list_gives(
        records in prop::collection::vec((0..10_u8, 0..40_u64, 0..3_u64), 1..60),
        times in prop::collection::vec(0..45_u64, 8),
    ) {
        let dir = TempDir::new();
        let journal = open_with(&dir.tree(), SMALL);
        let (mut list, mut n, mut last) = (Vec::new(), 0, 0);
        for (what, second, back) in records {
            // Mostly a clock that runs, sometimes one that was set.
            let second = if what == 9 { second } else { list.len() as u64 / 2 };
            let record = match what {
                0 => { n += 2; Record::loss(n, at(second), 2) }
                1 => { n += 1; continue; }
                2 | 3 => {
                    // Checkpoints lag a little, and are appended in the order of their numbers.
                    last = last.max(n - back.min(n));
                    Record::checkpoint(last, at(second), "{}")
                }
                4 => Record::command(n, at(second), "stop"),
                _ => { n += 1; Record::event(n, at(second), "started").body("\"".repeat(200)) }
            };
            list.push(record);
        }
        journal.append(&list, DURABLE).unwrap();
        for second in times {
            let found = journal.reader().at(at(second)).unwrap();
            let found = found.map(|found| {
                let checkpoint = found.checkpoint.map(|entry| entry.record.n);
                (found.n, checkpoint, found.is_exact, found.events.map(|entry| entry.record.n).collect::<Vec<_>>())
            });
            prop_assert_eq!(found, wanted(&list, second), "second {}", second);
        }
    }

    #[test]
    fn a_query_equals_a_filter_over_the_whole_list(
        seconds in prop::collection::vec(0..50_u64, 1..200),
        since in 0..50_u64, until in 0..50_u64, after in 0..200_u64, count in 0..50_usize,
    ) {
        let dir = TempDir::new();
        let journal = open_with(&dir.tree(), SMALL);
        let body = "x".repeat(150);
        let list: Vec<Record> = (1..).zip(&seconds).map(|(n, second)| Record::event(n, at(*second), "e").body(body.clone())).collect();
        journal.append(&list, DURABLE).unwrap();
        let filter = || RecordFilter::new().since(at(since)).until(at(until)).after(RecordId { run: 1, n: after });
        let found: Vec<u64> = journal.reader().entries(filter()).unwrap().map(|entry| entry.record.n).collect();
        let is_wanted = |record: &&Record| record.at >= at(since) && record.at <= at(until) && record.n > after;
        let wanted: Vec<u64> = list.iter().filter(is_wanted).map(|record| record.n).collect();
        prop_assert_eq!(&found, &wanted);
        let last: Vec<u64> = journal.reader().last(filter(), count).unwrap().iter().map(|entry| entry.record.n).collect();
        prop_assert_eq!(last.as_slice(), &wanted[wanted.len().saturating_sub(count)..]);
    }
}

type Wanted = (u64, Option<u64>, bool, Vec<u64>);

/// Returns number, checkpoint, exactness and events of a moment, from the whole list.
fn wanted(list: &[Record], second: u64) -> Option<Wanted> {
    let mut cut: Option<u64> = None;
    for record in list.iter().filter(|record| record.at <= at(second)) {
        match record.record {
            RecordKind::Event => cut = Some(record.n),
            RecordKind::Checkpoint if cut.is_none_or(|cut| record.n >= cut) => cut = Some(record.n),
            _ => {}
        }
    }
    let cut = cut?;
    let of =
        |kind: RecordKind| list.iter().filter(move |record| record.record == kind).map(|record| record.n);
    let Some(checkpoint) = of(RecordKind::Checkpoint).filter(|n| *n <= cut).max() else {
        return Some((cut, None, false, vec![]));
    };
    let events: Vec<u64> = of(RecordKind::Event).filter(|n| *n > checkpoint && *n <= cut).collect();
    let later = list.iter().find(|record| {
        record.n > cut && matches!(record.record, RecordKind::Event | RecordKind::Loss { .. })
    });
    let goes_on = later.is_none_or(|record| record.record == RecordKind::Event && record.n == cut + 1);
    let is_exact = events.len() as u64 == cut - checkpoint && goes_on;
    Some((cut, Some(checkpoint), is_exact, events))
}
