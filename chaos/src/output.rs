//! Checks the output of the programs: the `loud` programs print numbers, and a number may be missing only where a note
//! of `liveoak` says that lines were lost.

use crate::programs::padding;
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Output {
    pub(crate) bytes: u64,
    /// The number of lines that `liveoak` said were lost.
    pub(crate) lost: u64,
    /// The number of lines that are missing where a note says that lines were lost.
    missed: u64,
    loud: BTreeMap<String, Counter>,
    /// How often a program printed that a resource is used up.
    pub(crate) refusals: BTreeMap<&'static str, u32>,
    pub(crate) errors: Vec<String>,
}

#[derive(Default)]
struct Counter {
    begun: usize,
    next: u64,
    /// The pieces of a line that has not ended, because the program was suspended or killed while it wrote. The next piece
    /// continues it, unless the attempt has ended.
    part: String,
    /// `true` after lost lines: a later number may follow, or a new attempt.
    gap: bool,
}

/// The messages of dash, bash and the tools when a resource is used up, and the name of the fault.
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
            return self.errors.push(format!("a line on stdout without a path: {line}"));
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
            *count = Counter { begun: count.begun + 1, next: 1, ..Counter::default() };
        } else if let Err(what) = count.number(text, &mut self.missed) {
            self.errors.push(format!("{name}: {what}"));
        }
    }

    /// Returns how many attempts of a `loud` program printed their first line.
    pub(crate) fn begun(&self, name: &str) -> usize {
        self.loud.get(name).map_or(0, |count| count.begun)
    }

    /// Returns the number that a `loud` program prints next.
    pub(crate) fn next(&self, name: &str) -> u64 {
        self.loud.get(name).map_or(0, |count| count.next)
    }

    /// Returns all errors, at the end of the output.
    pub(crate) fn verdict(&self) -> Vec<String> {
        let mut errors = self.errors.clone();
        if self.missed > self.lost {
            errors.push(format!(
                "{} lines are missing, and only {} were said to be lost",
                self.missed, self.lost
            ));
        }
        errors
    }
}

impl Counter {
    fn number(&mut self, text: &str, missed: &mut u64) -> Result<(), String> {
        let mut line = std::mem::take(&mut self.part);
        let has_part = !line.is_empty();
        line.push_str(text);
        let expected = format!("{} {}", self.next, padding());
        if line == expected {
            (self.next, self.gap) = (self.next + 1, false);
            return Ok(());
        }
        if !text.is_empty() && expected.starts_with(&line) {
            self.part = line;
            return Ok(());
        }
        if self.gap {
            // The part before the loss, or the part after it, may be lost.
            match whole_number(&line).or_else(|| whole_number(text)) {
                Some(number) => {
                    *missed += number.saturating_sub(self.next);
                    (self.next, self.gap) = (number + 1, false);
                }
                None => self.part = text.to_owned(),
            }
            return Ok(());
        }
        let digits = text.split(' ').next().unwrap_or_default();
        let number: u64 = digits.parse().map_err(|_| format!("said {text:.20}"))?;
        Err(if has_part {
            format!("a cut line stands before {number}")
        } else {
            format!("{number} follows {}", self.next.saturating_sub(1))
        })
    }
}

/// Returns the number of a whole line.
fn whole_number(line: &str) -> Option<u64> {
    line.strip_suffix(&padding())?.strip_suffix(' ')?.parse().ok()
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
    fn numbers_without_gaps_pass_and_a_cut_line_must_end_an_attempt() {
        assert!(said(&["from 1", "1 +", "2 +", "3 xx", "Killed", "from 2", "1 +", "", "from 3"]).len() == 1);
        assert!(said(&["from 1", "1 +", "2 +", "3 xx", "Killed", "from 2", "1 +"]).is_empty());
    }

    #[test]
    fn a_line_that_comes_in_pieces_is_one_line() {
        let (number, padding) = ("1 xxx", padding());
        let rest = &padding[3..];
        assert!(said(&["from 1", number, rest, "2 +", "from 2", "1 +"]).is_empty());
        assert!(said(&["from 1", "1", " ", "xxx", rest, "2 +"]).is_empty());
        assert!(said(&["from 1", number, rest, "1 +"]).len() == 1);
        assert!(said(&["from 1", number, &rest[1..], "2 +"]).len() == 1);
        let note = "liveoak: 2 lines were lost here, because the reader of this output was too slow";
        let mut output = Output::default();
        for text in ["from 1", "1 xxx", note, "3 xxx", rest] {
            output.line(&if text == note { note.to_owned() } else { format!("/chaos/loud1 | {text}") });
        }
        assert!(output.verdict().is_empty() && output.next("loud1") == 4);
    }

    #[test]
    fn a_missing_repeated_or_cut_line_is_an_error() {
        for lines in [["1 +", "3 +"], ["1 +", "1 +"], ["1 xx", "2 +"], ["1 +", "7"]] {
            assert!(!said(&[&["from 1"], &lines[..]].concat()).is_empty(), "{lines:?}");
        }
    }

    #[test]
    fn no_more_lines_may_be_missing_than_the_notes_say() {
        let mut output = Output::default();
        let padding = padding();
        for line in [
            "/chaos/loud1 | from 1",
            "liveoak: 2 lines were lost here, because the reader of this output was too slow",
        ] {
            output.line(line);
        }
        output.line(&format!("/chaos/loud1 | 3 {padding}"));
        assert!(output.verdict().is_empty());
        output.line("liveoak: 1 line was lost here, because the reader of this output was too slow");
        output.line(&format!("/chaos/loud1 | 6 {padding}"));
        assert_eq!(output.verdict().len(), 1);
    }
}
