//! Why a verb failed: what is printed, and the exit code.

use std::fmt;

use liveoak::api::Problem;
use liveoak_config::one_line;

use crate::{EXIT_FAILED, EXIT_USAGE, output};

/// No tree was found.
pub(crate) const EXIT_NO_TREE: u8 = 4;
/// There is no such child.
pub(crate) const EXIT_NO_CHILD: u8 = 5;
/// Ctrl-C ended the client while a command was being carried out. This is the number that a shell reports for SIGINT.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Why a verb failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// One sentence.
    text: String,
    /// More lines: what was looked at, and what to do.
    lines: Vec<String>,
}

impl Failure {
    /// Returns a failure with an exit code.
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), lines: vec![] }
    }

    /// Returns the failure of what was tried.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::new(EXIT_FAILED, text)
    }

    /// Returns an error of usage.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(EXIT_USAGE, text)
    }

    /// Adds a line below the sentence.
    pub(crate) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Adds lines below the sentence.
    pub(crate) fn lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.lines.extend(lines);
        self
    }

    /// Writes it to stderr.
    pub(crate) fn print(&self) {
        output::stderr(&self.to_string());
    }
}

impl fmt::Display for Failure {
    /// Writes whole lines in which control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", one_line(&self.text))?;
        self.lines.iter().try_for_each(|line| writeln!(f, "  {}", one_line(line)))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(format!("cannot write the output: {error}"))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let code = match problem.code.as_str() {
            "no-such-child" => EXIT_NO_CHILD,
            "no-such-mode" | "bad-request" | "bad-file" | "other-file" => EXIT_USAGE,
            _ => EXIT_FAILED,
        };
        let text = problem.to_string();
        // The errors of a file, each with its place.
        let errors = problem.text.as_deref().unwrap_or_default().lines().map(str::to_owned);
        match problem.code.as_str() {
            "no-such-child" => Self::new(code, text).line("`liveoak ps` lists the children"),
            "no-such-mode" => Self::new(code, text).line("`liveoak mode` lists the modes"),
            _ => Self::new(code, text).lines(errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_exit_code_of_its_kind_and_its_near_miss() {
        let code = |problem: &str| Failure::from(Problem::new(problem, "x")).code;
        assert_eq!(code("no-such-child"), 5);
        assert_eq!((code("no-such-mode"), code("bad-request")), (2, 2));
        for other in
            ["refused", "busy", "tree-ended", "within-exceeded", "runtime-blocked", "new-in-a-later-version"]
        {
            assert_eq!(code(other), 1, "{other}");
        }
        let failure =
            Failure::from(Problem::new("no-such-child", "no \u{1b}[2J").near_miss(Some("/shop/web")));
        assert_eq!(
            failure.to_string(),
            "error: no \\u{1b}[2J; did you mean /shop/web?\n  `liveoak ps` lists the children\n"
        );
    }
}
