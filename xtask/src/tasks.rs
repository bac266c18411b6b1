//! The list of tasks, and how one is found by its name.

use std::fmt::{self, Write};
use std::io;

/// One `cargo xtask` command.
#[derive(Debug)]
pub struct Task {
    /// What the person types.
    pub name: &'static str,
    /// One line for the usage text.
    pub about: &'static str,
    /// Does it, with the arguments after the name.
    pub run: fn(&[String]) -> Result<(), Failure>,
}

/// Every task, in the order of the usage text. A new task is a module with a `run` and one line here.
pub const TASKS: &[Task] = &[
    Task { name: "test", about: "every test of the workspace, doc tests too", run: crate::test::run },
    Task {
        name: "ci",
        about: "all that a change must pass: format, lints, docs, examples, demo, chaos, loom, tests",
        run: crate::ci::run,
    },
    Task {
        name: "bench",
        about: "Liveoak beside TaskTracker: start, memory, stop, restart (--quick: up to 10,000 children)",
        run: crate::bench::run,
    },
    Task {
        name: "chaos",
        about: "fifty real programs under `liveoak up` while they are harmed (--for SECONDS, --seed NUMBER)",
        run: crate::chaos::run,
    },
    Task {
        name: "peers",
        about: "other supervisors beside Liveoak under the same failures; writes docs/comparison.md",
        run: crate::peers::run,
    },
    Task {
        name: "soak",
        about: "the machine beside its reference model for millions of steps (--steps NUMBER, --seed NUMBER)",
        run: crate::soak::run,
    },
    Task {
        name: "fuzz",
        about: "the config reader under libFuzzer (--for SECONDS); needs nightly and cargo-fuzz",
        run: crate::fuzz::run,
    },
    Task {
        name: "loom",
        about: "what is written by hand with atomics, in every order in which threads may come",
        run: crate::loom::run,
    },
    Task {
        name: "mutants",
        about: "breaks the core line by line, and a test must notice; hours; needs cargo-mutants (--shard 0/8 …)",
        run: crate::mutants::run,
    },
    Task {
        name: "coverage",
        about: "the lines of the core that tests run through, at least 95 %; needs cargo-tarpaulin",
        run: crate::mutants::coverage,
    },
    Task {
        name: "asan",
        about: "the tests of processes under AddressSanitizer; needs nightly",
        run: crate::asan::run,
    },
    Task {
        name: "bless",
        about: "accept the golden transcripts as the tests see them now",
        run: crate::bless::run,
    },
];

/// Why a task did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The command line makes no sense: exit code 2.
    Usage(String),
    /// A command was run and failed, or did not end in time.
    Step {
        /// The command as a person would type it.
        command: String,
        /// What became of it.
        outcome: String,
    },
    /// A command could not be started, or a file not be read.
    Io {
        /// The command or file.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// Something about the repository itself is not as it must be.
    Repository(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(what) | Failure::Repository(what) => f.write_str(what),
            Failure::Step { command, outcome } => write!(f, "`{command}` {outcome}"),
            Failure::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Io { source, .. } => Some(source),
            Failure::Usage(_) | Failure::Step { .. } | Failure::Repository(_) => None,
        }
    }
}

/// Runs the task that the first argument names.
///
/// # Errors
///
/// [`Failure::Usage`] for a missing or unknown name; otherwise what the task itself returns.
pub fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage("which task?".to_owned()));
    };
    match TASKS.iter().find(|task| task.name == name) {
        Some(task) => (task.run)(rest),
        None => Err(Failure::Usage(format!("there is no task `{name}`"))),
    }
}

/// The usage text: every task with its line.
#[must_use]
pub fn usage() -> String {
    let mut text = "Usage: cargo xtask TASK\n\nTasks:\n".to_owned();
    for task in TASKS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<9} {}", task.name, task.about);
    }
    text
}

/// For tasks that take no arguments.
pub(crate) fn no_arguments(task: &str, arguments: &[String]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => Err(Failure::Usage(format!("`{task}` takes no arguments, but got `{argument}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn every_task_has_a_line_in_the_usage_text() {
        let usage = usage();
        for task in TASKS {
            assert!(usage.contains(task.name) && usage.contains(task.about), "{usage}");
        }
    }

    #[test]
    fn a_missing_or_unknown_task_or_a_stray_argument_is_a_usage_error() {
        for line in
            [&[][..], &["tset"], &["test", "extra"], &["ci", "--fast"], &["bless", "all"], &["peers", "all"]]
        {
            let failure = dispatch(&words(line)).unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)), "{line:?}: {failure}");
        }
    }
}
