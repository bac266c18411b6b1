//! Questions on a terminal.

use std::io::{self, IsTerminal as _};

use crate::output;

/// Returns `true` if there is a terminal to ask on.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question. Everything but a yes is a no.
pub(crate) fn confirmed(question: &str) -> bool {
    output::stderr(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    if read.as_ref().is_ok_and(|bytes| *bytes == 0) {
        // The end of the input, by Ctrl-D: what follows begins on a line of its own.
        output::stderr("\n");
    }
    read.is_ok() && is_yes(&answer)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_a_yes_is_a_no() {
        for yes in ["y\n", "Y", " yes \n", "YES"] {
            assert!(is_yes(yes), "{yes}");
        }
        for no in ["", "\n", "n\n", "no", "yep", "ja", "y y", "1"] {
            assert!(!is_yes(no), "{no}");
        }
    }
}
