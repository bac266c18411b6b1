//! Compares Liveoak with other supervisors: runs the same failure scenarios with each of them.
//!
//! Without arguments it runs everything and writes docs/comparison.md. With `one PEER SCENARIO` it runs one scenario
//! and prints the result. It compares behaviour only; speed is measured by `liveoak-bench`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

mod adapters;
mod counter;
mod logs;
mod page;
mod peer;
mod runner;
mod runtime;
mod scenarios;

use std::process::ExitCode;

/// The file that is written.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/comparison.md");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => everything(),
        ["one", peer, scenario] => match runner::one(peer, scenario) {
            Some(Ok(seen)) => {
                println!("{seen}");
                ExitCode::SUCCESS
            }
            Some(Err(error)) => failed(&error.to_string()),
            None => failed("there is no such peer or scenario"),
        },
        _ => failed("usage: liveoak-peers [one PEER SCENARIO]"),
    }
}

fn everything() -> ExitCode {
    let rows = match runner::all(|line| eprintln!("{line}")) {
        Ok(rows) => rows,
        Err(error) => return failed(&error.to_string()),
    };
    match std::fs::write(PAGE, page::page(&rows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("docs/comparison.md: {error}")),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}
