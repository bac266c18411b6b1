//! What `liveoak up` says: its log, folded into what each child is doing, and the output of the programs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{ChildStderr, ChildStdout};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What was said so far.
#[derive(Default)]
pub(crate) struct Told {
    /// The last event of each child that says what it is doing, by path.
    pub(crate) doing: BTreeMap<String, String>,
    pub(crate) restarts: u64,
    /// The number of the last event, and what was wrong with the numbers.
    last: u64,
    pub(crate) wrong: Option<String>,
    /// The last lines, for the reader of a failure.
    pub(crate) lines: std::collections::VecDeque<String>,
}

/// Reads both streams of one run.
#[derive(Clone, Default)]
pub(crate) struct Log {
    told: Arc<Mutex<Told>>,
    /// Whether the output of the programs is not read for now.
    pub(crate) deaf: Arc<AtomicBool>,
    pub(crate) bytes: Arc<AtomicU64>,
}

/// Events that leave a child doing what it did.
const ASIDE: [&str; 5] = ["health", "group-restart", "gave-up", "start-failed", "auto-shutdown"];

impl Log {
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self, stdout: ChildStdout, stderr: ChildStderr) {
        let (log, output) = (self.clone(), self.clone());
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| log.line(line))
        });
        thread::spawn(move || output.drain(stdout));
    }

    fn drain(&self, mut stdout: ChildStdout) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            self.bytes.fetch_add(count as u64, Ordering::Relaxed);
            while self.deaf.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn line(&self, line: String) {
        let mut told = self.told();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if let (Some(number), Some(path), Some(event)) =
            (value["number"].as_u64(), value["path"].as_str(), value["event"].as_str())
        {
            if number != told.last + 1 && told.wrong.is_none() {
                told.wrong = Some(format!("event {number} follows event {}", told.last));
            }
            told.last = number;
            told.restarts += u64::from(event == "starting");
            if !ASIDE.contains(&event) {
                told.doing.insert(path.to_owned(), event.to_owned());
            }
        }
        told.lines.push_back(line);
        if told.lines.len() > 40 {
            told.lines.pop_front();
        }
    }
}
