//! The last lines of each attempt that runs, for the event of its crash.

use crate::limits::{MAX_TAIL_LINE, MAX_TAILS, TAIL_LINES};
use liveoak_runtime::{Attempt, Path};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The last lines by child and attempt.
type ByAttempt = HashMap<(Path, u64), VecDeque<Box<str>>>;

/// The last lines of attempts. They are kept until the exit of their attempt is taken.
#[derive(Debug, Default)]
pub(crate) struct Tails(Mutex<ByAttempt>);

impl Tails {
    fn all(&self) -> MutexGuard<'_, ByAttempt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line of an attempt.
    pub(crate) fn add(&self, path: &Path, attempt: Attempt, line: &str) {
        let mut all = self.all();
        let key = (path.clone(), attempt.0);
        if all.len() >= MAX_TAILS && !all.contains_key(&key) {
            return;
        }
        let lines = all.entry(key).or_default();
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(cut(line));
    }

    /// Takes the last lines of an attempt that has ended.
    pub(crate) fn take(&self, path: &Path, attempt: Attempt) -> Vec<String> {
        let lines = self.all().remove(&(path.clone(), attempt.0));
        lines.into_iter().flatten().map(String::from).collect()
    }

    /// Forgets the attempts that do not run any more. After a loss of events, their exits may never be taken.
    pub(crate) fn retain(&self, runs: impl Fn(&Path, u64) -> bool) {
        self.all().retain(|(path, attempt), _| runs(path, *attempt));
    }
}

/// Returns a line without what is too long.
fn cut(line: &str) -> Box<str> {
    match line.len() > MAX_TAIL_LINE {
        true => format!("{}…", &line[..line.floor_char_boundary(MAX_TAIL_LINE)]).into(),
        false => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_its_own_last_lines_and_a_long_one_is_cut() {
        let tails = Tails::default();
        let path = Path::new("/shop/web");
        for n in 0..TAIL_LINES + 5 {
            tails.add(&path, Attempt(1), &format!("line {n}"));
        }
        tails.add(&path, Attempt(2), &"ö".repeat(MAX_TAIL_LINE));
        let lines = tails.take(&path, Attempt(1));
        assert_eq!((lines.len(), &*lines[0]), (TAIL_LINES, "line 5"));
        assert!(tails.take(&path, Attempt(1)).is_empty(), "they are taken once");
        let [long] = &tails.take(&path, Attempt(2))[..] else { panic!("one line") };
        assert!(long.len() <= MAX_TAIL_LINE + "…".len() && long.ends_with('…'));
    }

    #[test]
    fn attempts_that_do_not_run_any_more_are_forgotten() {
        let tails = Tails::default();
        for attempt in 1..=3 {
            tails.add(&Path::new("/shop/web"), Attempt(attempt), "x");
        }
        tails.retain(|_, attempt| attempt == 3);
        assert!(tails.take(&Path::new("/shop/web"), Attempt(2)).is_empty());
        assert_eq!(tails.take(&Path::new("/shop/web"), Attempt(3)), ["x"]);
    }
}
