//! The list of tasks, and the search for one by its name.

use crate::{Failure, api, chaos, checkers, ci, compare, fuzz, mutants, soak, test};
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

/// Every task, in the order of the usage text. A new task is a function in a module and one entry here.
pub const TASKS: &[Task] = &[
    task("test", "runs every test of the workspace, doc tests included", test::run),
    task(
        "ci",
        "runs all that a change must pass: format, lints, docs, examples, demo, chaos, loom, tests",
        ci::run,
    ),
    task(
        "bench",
        "compares Liveoak with TaskTracker: start, memory, stop, restart (--quick: up to 10,000 children); storm: the answers of control during a restart storm",
        compare::bench,
    ),
    task(
        "chaos",
        "injects faults into fifty real programs under `liveoak up` (--for SECONDS, --seed NUMBER)",
        chaos::run,
    ),
    task(
        "peers",
        "compares Liveoak with other supervisors under the same failures; writes docs/comparison.md",
        compare::peers,
    ),
    task(
        "soak",
        "compares the core with its reference model for millions of steps (--steps NUMBER, --seed NUMBER)",
        soak::run,
    ),
    task(
        "fuzz",
        "runs the config reader and the control server under libFuzzer (--for SECONDS); needs nightly and cargo-fuzz",
        fuzz::run,
    ),
    task(
        "api",
        "tests the control interface against its OpenAPI document (--examples NUMBER); needs schemathesis",
        api::run,
    ),
    task(
        "loom",
        "tests the code that uses atomics in every order of threads with at most three preemptions",
        checkers::loom,
    ),
    task(
        "mutants",
        "breaks the core in many ways, each of which a test must notice; takes hours; needs cargo-mutants (--shard 0/8 …)",
        mutants::run,
    ),
    task(
        "coverage",
        "measures the test coverage of the core, at least 95 %; needs cargo-tarpaulin",
        mutants::coverage,
    ),
    task("asan", "runs the tests of liveoak-process under AddressSanitizer; needs nightly", checkers::asan),
    task("bless", "rewrites the golden transcripts of the tests to what the code prints now", test::bless),
];

const fn task(name: &'static str, about: &'static str, run: fn(&[String]) -> Result<(), Failure>) -> Task {
    Task { name, about, run }
}

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
