//! The output of the programs: the loud ones count, and no number may be missing that no note says was lost.

use crate::programs::padding;
use std::collections::BTreeMap;

/// What was read so far.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) bytes: u64,
    /// Lines that `liveoak` says it dropped since nobody read them, and those that were missed at such places.
    pub(crate) lost: u64,
    missed: u64,
    loud: BTreeMap<String, Count>,
    /// How often a program said that it can have no more of something.
    pub(crate) refusals: BTreeMap<&'static str, u32>,
    pub(crate) wrong: Vec<String>,
}

/// How far one of them has come.
#[derive(Default)]
struct Count {
    /// How many attempts were heard to begin.
    begun: usize,
    /// The number that comes next.
    next: u64,
    /// The line was cut: its attempt must be over.
    cut: bool,
    /// Something was lost: a later number may come, or another attempt.
    gap: bool,
}

/// What programs say when they can have no more, in dash, bash, and the tools.
const REFUSALS: [(&str, &str); 5] = [
    ("No space left on device", "full disk"),
    ("File too large", "full disk"),
    ("File size limit exceeded", "full disk"),
    ("Too many open files", "program without file descriptors"),
    ("fork", "program without processes"),
];

impl Output {
    pub(crate) fn line(&mut self, line: &str) {
        self.bytes += line.len() as u64;
        if let Some(note) = line.strip_prefix("liveoak: ") {
            let number = note.split_once(' ').and_then(|(number, _)| number.parse::<u64>().ok());
            self.lost += number.unwrap_or_default();
            self.loud.values_mut().for_each(|count| count.gap = true);
            return;
        }
        let Some((path, text)) = line.split_once(" | ") else {
            return self.wrong.push(format!("no program's line on stdout: {line}"));
        };
        let name = path.trim_start_matches("/chaos/");
        if !name.starts_with("loud") || text.starts_with(|c: char| c.is_ascii_uppercase()) {
            let refusal = REFUSALS.iter().find(|(words, _)| text.contains(words));
            if let Some((_, what)) = refusal {
                *self.refusals.entry(what).or_default() += 1;
            }
            return;
        }
        let count = self.loud.entry(name.to_owned()).or_default();
        if text.starts_with("from ") {
            *count = Count { begun: count.begun + 1, next: 1, ..Count::default() };
        } else if let Err(what) = count.number(text, &mut self.missed) {
            self.wrong.push(format!("{name}: {what}"));
        }
    }

    /// How many attempts of a loud program were heard to begin.
    pub(crate) fn begun(&self, name: &str) -> usize {
        self.loud.get(name).map_or(0, |count| count.begun)
    }

    /// The number that a loud program comes to next.
    pub(crate) fn next(&self, name: &str) -> u64 {
        self.loud.get(name).map_or(0, |count| count.next)
    }

    /// All that was wrong, now that no more comes.
    pub(crate) fn verdict(&self) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        if self.missed > self.lost {
            wrong.push(format!(
                "{} lines are missing, and only {} were said to be lost",
                self.missed, self.lost
            ));
        }
        wrong
    }
}

impl Count {
    fn number(&mut self, text: &str, missed: &mut u64) -> Result<(), String> {
        let (digits, rest) = text.split_once(' ').unwrap_or((text, ""));
        let whole = rest.len() == padding().len();
        let number: u64 = digits.parse().map_err(|_| format!("said {:.20}", text))?;
        if self.gap && whole {
            *missed += number.saturating_sub(self.next);
            (self.gap, self.next, self.cut) = (false, number, false);
        }
        if self.cut {
            return Err(format!("a cut line stands before {number}"));
        }
        if whole && number == self.next {
            self.next += 1;
            return Ok(());
        }
        self.cut = true;
        let expected = self.next.to_string();
        let is_part = if rest.is_empty() { expected.starts_with(digits) } else { expected == digits };
        if self.gap || !whole && is_part {
            Ok(())
        } else {
            Err(format!("{number} follows {}", self.next.saturating_sub(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Vec<String> {
        let mut output = Output::default();
        for line in lines {
            let padding = if line.ends_with('+') { padding() } else { String::new() };
            output.line(&format!("/chaos/loud1 | {}{padding}", line.trim_end_matches('+')));
        }
        output.verdict()
    }

    #[test]
    fn a_count_without_gaps_is_right_and_a_cut_line_ends_an_attempt() {
        assert!(said(&["from 1", "1 +", "2 +", "3 xx", "Killed", "from 2", "1 +", "", "from 3"]).len() == 1);
        assert!(said(&["from 1", "1 +", "2 +", "3 xx", "Killed", "from 2", "1 +"]).is_empty());
    }

    #[test]
    fn a_line_that_is_missing_twice_there_or_cut_in_the_middle_is_seen() {
        for lines in [["1 +", "3 +"], ["1 +", "1 +"], ["1 xx", "2 +"], ["1 +", "7"]] {
            assert!(!said(&[&["from 1"], &lines[..]].concat()).is_empty(), "{lines:?}");
        }
    }

    #[test]
    fn what_is_missing_is_no_more_than_what_was_said_to_be_lost() {
        let mut output = Output::default();
        let padding = padding();
        for line in ["/chaos/loud1 | from 1", "liveoak: 2 lines were lost here: read too slowly"] {
            output.line(line);
        }
        output.line(&format!("/chaos/loud1 | 3 {padding}"));
        assert!(output.verdict().is_empty());
        output.line("liveoak: 1 line was lost here: read too slowly");
        output.line(&format!("/chaos/loud1 | 6 {padding}"));
        assert_eq!(output.verdict().len(), 1);
    }
}
