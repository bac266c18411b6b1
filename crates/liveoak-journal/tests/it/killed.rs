//! A process that writes is killed at random moments: nothing that it acknowledged is lost.

use crate::support::{DURABLE, TempDir, all, event, files};
use liveoak_journal::{
    Durability, Folder, Journal, LineStream, LogLimits, MIN_BYTES, OutputFilter, OutputLog, Record,
    RecordKind,
};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// The variable with the folder for the program.
const FOLDER: &str = "JOURNAL_TEST_FOLDER";
/// How often the program is killed.
const KILLS: u64 = 100;
/// Small enough that files are completed and removed meanwhile, and large enough for all records of one run.
const LIMITS: LogLimits = LogLimits { bytes: 2 * MIN_BYTES, age: liveoak_journal::DEFAULT_AGE };

#[test]
#[ignore = "a program that another test starts and kills: `cargo test -p liveoak-journal --test it killed`"]
fn writer_program() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = Folder::open(folder).unwrap();
    let journal = Journal::open(&folder, LIMITS).unwrap();
    let output = OutputLog::open(&folder, LIMITS).unwrap();
    let mut stdout = std::io::stdout();
    for n in 1.. {
        let body = format!("\"{}\"", "x".repeat((n * 31 % 300) as usize));
        output.add(SystemTime::now(), "/shop/web", 1, LineStream::Stdout, body.as_bytes());
        journal.append(&[event(n).body(body)], Durability::Soon).unwrap();
        if n % 3 == 0 {
            journal.append(&[Record::command(n, SystemTime::now(), "restart")], DURABLE).unwrap();
            // The answer to the operator.
            writeln!(stdout, "acknowledged {n}").unwrap();
        }
    }
}

#[test]
fn a_writer_that_is_killed_a_hundred_times_loses_nothing_that_it_acknowledged() {
    let dir = TempDir::new();
    let mut random = u64::from(std::process::id());
    for kill in 1..=KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(kill);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "killed::writer_program", "--nocapture"])
            .env(FOLDER, dir.tree())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: &str| line.rsplit_once("acknowledged ")?.1.parse::<u64>().ok();
        let mut acknowledged = lines.by_ref().map(Result::unwrap).find_map(|line| number(&line)).unwrap();
        std::thread::sleep(Duration::from_micros((random >> 33) % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        // What stands in the pipe was acknowledged too. The last line may be cut.
        let rest: Vec<u64> = lines.map_while(Result::ok).filter_map(|line| number(&line)).collect();
        acknowledged = rest.iter().rev().nth(1).copied().unwrap_or(acknowledged).max(acknowledged);

        let run = 2 * kill - 1;
        let entries: Vec<_> = all(&dir.tree()).into_iter().filter(|entry| entry.run == run).collect();
        let of = |kind| {
            let records = entries.iter().filter(move |entry| entry.record.record == kind);
            records.map(|entry| entry.record.n).collect::<Vec<u64>>()
        };
        let (events, commands) = (of(RecordKind::Event), of(RecordKind::Command));
        // Without gaps, in order, and at least up to what was acknowledged. The oldest may have been removed.
        assert_eq!(events, (events[0]..=*events.last().unwrap()).collect::<Vec<_>>(), "kill {kill}");
        assert!(*events.last().unwrap() >= acknowledged, "kill {kill}");
        assert!(*commands.last().unwrap() >= acknowledged, "kill {kill}");
        assert!(
            events[0] == 1
                || files(&dir.tree(), "journal").iter().map(|(_, size)| size).sum::<u64>() > MIN_BYTES
        );

        // The next opening begins a new run, and writes behind whatever the kill has left.
        let folder = Folder::open(dir.tree()).unwrap();
        assert_eq!(folder.run(), run + 1);
        let journal = Journal::open(&folder, LIMITS).unwrap();
        journal.append(&[event(1)], DURABLE).unwrap();
        let last = all(&dir.tree()).pop().unwrap();
        assert_eq!((last.run, last.record.n), (run + 1, 1));
        let output = OutputLog::open(&folder, LIMITS).unwrap();
        let numbers: Vec<u64> = output
            .reader()
            .lines(OutputFilter::new())
            .unwrap()
            .filter(|entry| entry.id().run == run)
            .map(|entry| entry.id().n)
            .collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "kill {kill}");
    }
}
