//! The list of tasks, and the search for one by its name.
//!
//! This is the only file that knows all tasks. What tasks share stands in `run.rs` (commands) and `failure.rs`
//! (errors).

use crate::Failure;
use std::fmt::Write;

/// One `cargo xtask` command.
#[derive(Debug)]
pub struct Task {
    /// The name on the command line.
    pub name: &'static str,
    /// Its line in the usage text.
    pub about: &'static str,
    /// The function that runs it, with the arguments after the name.
    pub run: fn(&[String]) -> Result<(), Failure>,
}

/// Every task, in the order of the usage text. A new task is a module with a `run` and one line here.
pub const TASKS: &[Task] = &[
    Task {
        name: "test",
        about: "runs every test of the workspace, doc tests included",
        run: crate::test::run,
    },
    Task {
        name: "ci",
        about: "runs all that a change must pass: format, lints, docs, examples, demo, chaos, loom, tests",
        run: crate::ci::run,
    },
    Task {
        name: "bench",
        about: "compares Liveoak with TaskTracker: start, memory, stop, restart (--quick: up to 10,000 children)",
        run: crate::bench::run,
    },
    Task {
        name: "chaos",
        about: "injects faults into fifty real programs under `liveoak up` (--for SECONDS, --seed NUMBER)",
        run: crate::chaos::run,
    },
    Task {
        name: "peers",
        about: "compares Liveoak with other supervisors under the same failures; writes docs/comparison.md",
        run: crate::peers::run,
    },
    Task {
        name: "soak",
        about: "compares the core with its reference model for millions of steps (--steps NUMBER, --seed NUMBER)",
        run: crate::soak::run,
    },
    Task {
        name: "fuzz",
        about: "runs the config reader under libFuzzer (--for SECONDS); needs nightly and cargo-fuzz",
        run: crate::fuzz::run,
    },
    Task {
        name: "loom",
        about: "tests the code that uses atomics in every possible order of threads",
        run: crate::loom::run,
    },
    Task {
        name: "mutants",
        about: "breaks the core in many ways, each of which a test must notice; takes hours; needs cargo-mutants (--shard 0/8 …)",
        run: crate::mutants::run,
    },
    Task {
        name: "coverage",
        about: "measures the test coverage of the core, at least 95 %; needs cargo-tarpaulin",
        run: crate::mutants::coverage,
    },
    Task {
        name: "asan",
        about: "runs the tests of liveoak-process under AddressSanitizer; needs nightly",
        run: crate::asan::run,
    },
    Task {
        name: "bless",
        about: "rewrites the golden transcripts of the tests to what the code prints now",
        run: crate::bless::run,
    },
];

/// Runs the task that the first argument names.
///
/// # Errors
///
/// [`Failure::Usage`] for a missing or unknown name; otherwise what the task itself returns.
pub fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage("no task given".to_owned()));
    };
    match TASKS.iter().find(|task| task.name == name) {
        Some(task) => (task.run)(rest),
        None => Err(Failure::Usage(format!("there is no task `{name}`"))),
    }
}

/// Returns the usage text: every task with its line.
#[must_use]
pub fn usage() -> String {
    let mut text = "Usage: cargo xtask TASK\n\nTasks:\n".to_owned();
    for task in TASKS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<9} {}", task.name, task.about);
    }
    text
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
