//! The log of the output: lines, losses, the last lines, and following.

use crate::support::{LONG, TempDir, at, files};
use liveoak_journal::{
    AttemptOutput, Folder, LineStream, LogLimits, MAX_LINE_BYTES, MIN_BYTES, OutputEntry, OutputFilter,
    OutputLine, OutputLog, OutputReader, RecordId,
};
use std::path::Path;

const SMALL: LogLimits = LogLimits { bytes: MIN_BYTES, age: liveoak_journal::DEFAULT_AGE };

fn open(tree: &Path) -> OutputLog {
    OutputLog::open(&Folder::open(tree).unwrap(), SMALL).unwrap()
}

fn add(log: &OutputLog, path: &str, attempt: u64, line: &str) -> u64 {
    log.add(at(line.len() as u64), path, attempt, LineStream::Stdout, line.as_bytes())
}

fn line(entry: &OutputEntry) -> Option<&OutputLine> {
    match entry {
        OutputEntry::Line(line) => Some(line),
        OutputEntry::Lost { .. } => None,
    }
}

fn texts(entries: impl IntoIterator<Item = OutputEntry>) -> Vec<String> {
    let lines = entries.into_iter().filter_map(|entry| line(&entry).cloned());
    lines.map(|line| String::from_utf8(line.line).unwrap()).collect()
}

#[test]
fn lines_of_any_bytes_are_read_back_with_their_own_numbers() {
    let dir = TempDir::new();
    let log = open(&dir.tree());
    let lines: [&[u8]; 6] =
        [b"plain", b"", b"\xff\xfe\0 bytes", b"with\ttab\rand\x1b[31m", b"two\nlines", "é".as_bytes()];
    for (index, bytes) in lines.iter().enumerate() {
        let stream = if index % 2 == 0 { LineStream::Stdout } else { LineStream::Stderr };
        assert_eq!(log.add(at(7), "/shop/wéb", 3, stream, bytes), index as u64 + 1);
    }
    assert!(log.close(LONG));
    let read: Vec<OutputEntry> =
        OutputReader::open(dir.tree()).unwrap().lines(OutputFilter::new()).unwrap().collect();
    assert_eq!(read.len(), lines.len());
    for (index, (entry, bytes)) in read.iter().zip(lines).enumerate() {
        let line = line(entry).unwrap();
        assert_eq!((line.run, line.n, line.at, line.attempt), (1, index as u64 + 1, at(7), 3));
        assert_eq!((line.path.as_str(), line.line.as_slice(), line.left_out), ("/shop/wéb", bytes, 0));
        assert_eq!(line.stream == LineStream::Stdout, index % 2 == 0);
    }
}

#[test]
fn numbers_begin_anew_in_each_run() {
    let dir = TempDir::new();
    for run in 1..=3 {
        let log = open(&dir.tree());
        assert_eq!((log.run(), add(&log, "/a", 1, "x")), (run, 1));
    }
    let entries = OutputReader::open(dir.tree()).unwrap().lines(OutputFilter::new()).unwrap();
    assert_eq!(entries.map(|entry| entry.id().to_string()).collect::<Vec<_>>(), ["1-1", "2-1", "3-1"]);
}

#[test]
fn a_line_that_is_too_long_is_cut_and_says_how_much_is_missing() {
    let dir = TempDir::new();
    let log = open(&dir.tree());
    add(&log, "/a", 1, &"x".repeat(MAX_LINE_BYTES));
    add(&log, "/a", 1, &"x".repeat(MAX_LINE_BYTES + 5));
    add(&log, &"/é".repeat(5000), 1, &"x".repeat(1_000_000));
    add(&log, "/a", 1, "after");
    assert!(log.close(LONG));
    let entries: Vec<_> =
        OutputReader::open(dir.tree()).unwrap().lines(OutputFilter::new()).unwrap().collect();
    let cuts: Vec<_> = entries.iter().filter_map(line).map(|line| (line.line.len(), line.left_out)).collect();
    let most = MAX_LINE_BYTES;
    assert_eq!(cuts, [(most, 0), (most, 5), (most, 1_000_000 - most as u64), (5, 0)]);
}

#[test]
fn the_log_is_bounded_and_its_oldest_lines_go_first() {
    let dir = TempDir::new();
    let log = open(&dir.tree());
    for n in 1..=5000 {
        add(&log, "/a", 1, &format!("line {n} {}", "x".repeat(n % 200)));
        if n % 100 == 0 {
            log.flush(LONG).unwrap();
            let size: u64 = files(&dir.tree(), "output").iter().map(|(_, size)| size).sum();
            assert!(size <= MIN_BYTES, "{size}");
        }
    }
    let numbers: Vec<u64> =
        log.reader().lines(OutputFilter::new()).unwrap().map(|entry| entry.id().n).collect();
    assert_eq!(numbers, (numbers[0]..=5000).collect::<Vec<_>>());
    assert!(numbers.len() > 200, "{}", numbers.len());
    assert_eq!(log.status().lost, 0);
}

#[test]
fn lines_are_found_by_path_attempt_number_and_time() {
    let dir = TempDir::new();
    let log = open(&dir.tree());
    for n in 1..=60_u64 {
        log.add(
            at(n),
            ["/shop/a", "/shop/b"][(n % 2) as usize],
            n / 20,
            LineStream::Stdout,
            n.to_string().as_bytes(),
        );
    }
    log.flush(LONG).unwrap();
    let found = |filter| texts(log.reader().lines(filter).unwrap());
    assert_eq!(found(OutputFilter::new().after(RecordId { run: 1, n: 58 })), ["59", "60"]);
    assert_eq!(found(OutputFilter::new().since(at(10)).until(at(12))), ["10", "11", "12"]);
    assert_eq!(
        found(OutputFilter::new().path(|path| path == "/shop/b").attempt(0).since(at(14))),
        ["15", "17", "19"]
    );
    let last = |filter, count| texts(log.reader().last(filter, count).unwrap());
    assert_eq!(last(OutputFilter::new().path(|path| path == "/shop/a"), 3), ["56", "58", "60"]);
    assert_eq!(last(OutputFilter::new().attempt(1), 2), ["38", "39"]);
    assert!(last(OutputFilter::new().attempt(9), 2).is_empty());
}

#[test]
fn a_reader_follows_lines_as_they_are_written() {
    let dir = TempDir::new();
    let log = open(&dir.tree());
    let (sender, receiver) = std::sync::mpsc::channel();
    log.on_written(move || sender.send(()).unwrap_or_default());
    let reader = OutputReader::open(dir.tree()).unwrap();
    let mut lines = reader.lines(OutputFilter::new()).unwrap();
    let mut found = Vec::new();
    for n in 1..=300 {
        add(&log, "/a", 1, &n.to_string());
        if n % 3 == 0 {
            receiver.recv_timeout(LONG).unwrap();
            found.extend(lines.by_ref());
        }
    }
    log.flush(LONG).unwrap();
    found.extend(lines.by_ref());
    assert_eq!(texts(found), (1..=300).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn the_last_lines_of_many_attempts_are_found_in_one_pass() {
    let dir = TempDir::new();
    for _ in 0..2 {
        let log = open(&dir.tree());
        for n in 0..400_u64 {
            let path = ["/a", "/b", "/c"][(n % 3) as usize];
            log.add(
                at(1000 * log.run() + n),
                path,
                n / 100 + 1,
                LineStream::Stderr,
                format!("{n}").as_bytes(),
            );
        }
    }
    let reader = OutputReader::open(dir.tree()).unwrap();
    let wanted =
        |run, path: &str, attempt, started| AttemptOutput { run, path: path.to_owned(), attempt, started };
    let attempts = [
        wanted(2, "/a", 2, None),
        wanted(1, "/b", 4, Some(at(1300))),
        wanted(2, "/c", 1, Some(at(2000))),
        wanted(2, "/d", 1, None),
        wanted(9, "/a", 1, None),
    ];
    let found = reader.last_of(&attempts, 3).unwrap();
    let found: Vec<Vec<String>> = found
        .iter()
        .map(|lines| {
            lines.iter().map(|line| format!("{}:{}", line.run, String::from_utf8_lossy(&line.line))).collect()
        })
        .collect();
    let wanted: [&[&str]; 5] =
        [&["2:192", "2:195", "2:198"], &["1:391", "1:394", "1:397"], &["2:92", "2:95", "2:98"], &[], &[]];
    assert_eq!(found, wanted);
    assert!(reader.last_of(&attempts, 0).unwrap().iter().all(Vec::is_empty));
}

#[test]
fn output_and_journal_share_a_folder_and_a_run() {
    let dir = TempDir::new();
    let folder = Folder::open(dir.tree()).unwrap();
    let journal = liveoak_journal::Journal::open(&folder, LogLimits::default()).unwrap();
    let log = OutputLog::open(&folder, LogLimits::default()).unwrap();
    assert_eq!((journal.run(), log.run()), (1, 1));
    crate::support::append(&journal, [1]);
    add(&log, "/a", 1, "x");
    assert!(log.close(LONG) && journal.close(LONG));
    assert_eq!((files(&dir.tree(), "journal").len(), files(&dir.tree(), "output").len()), (1, 1));
    // The run goes on even if only the output is left.
    drop(folder);
    std::fs::remove_file(dir.tree().join("lock")).unwrap();
    for (path, _) in files(&dir.tree(), "journal") {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(Folder::open(dir.tree()).unwrap().run(), 2);
}
