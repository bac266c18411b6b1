//! Liveoak beside what one writes by hand on Tokio: a million idle children, their start, memory and stop, and
//! restarts without backoff.
//!
//! Each figure is measured in a process of its own, so that memory is that of one run. The figures of both sides are
//! taken in turn and the medians are shown. Run by `cargo xtask bench`.
#![expect(clippy::print_stdout, clippy::print_stderr, clippy::exit, reason = "a program for people")]

mod measure;

use std::process::{Command, ExitCode};

/// How many children, and how often each figure is taken; the median counts. What takes a millisecond is taken more often
/// than what takes a second.
const SIZES: [(usize, usize); 4] = [(1_000, 41), (10_000, 25), (100_000, 9), (1_000_000, 5)];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["one", what, size] => match size.parse() {
            Ok(size) => {
                println!("{}", measure::one(what, size));
                ExitCode::SUCCESS
            }
            Err(_) => usage(),
        },
        [] => all(&SIZES),
        ["--quick"] => all(&SIZES[..2]),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: liveoak-bench [--quick]");
    ExitCode::from(2)
}

/// Start, bytes, stop, restart.
type Row = [f64; 4];

fn all(sizes: &[(usize, usize)]) -> ExitCode {
    println!("medians of runs taken in turn; ns per child, bytes per child, ns per restart\n");
    println!("| children | runs | what | start ns | memory B | stop ns | restart ns |");
    println!("|---:|---:|---|---:|---:|---:|---:|");
    for &(size, rounds) in sizes {
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            bare.push(round("bare", size));
            ours.push(round("liveoak", size));
        }
        let (bare, ours) = (median(&bare), median(&ours));
        show((size, rounds), "TaskTracker", &bare);
        show((size, rounds), "liveoak", &ours);
        let ratio: Vec<String> =
            ours.iter().zip(&bare).map(|(ours, bare)| format!("{:.2} x", ours / bare)).collect();
        println!("| | | **ratio** | {} |", ratio.join(" | "));
    }
    ExitCode::SUCCESS
}

fn show((size, rounds): (usize, usize), what: &str, row: &Row) {
    let cells: Vec<String> = row.iter().map(|figure| format!("{figure:.0}")).collect();
    println!("| {size} | {rounds} | {what} | {} |", cells.join(" | "));
}

/// One run of one side in a process of its own.
fn round(what: &str, size: usize) -> Row {
    let program = std::env::current_exe().unwrap_or_else(|error| fail(&error.to_string()));
    let output = Command::new(program)
        .args(["one", what, &size.to_string()])
        .output()
        .unwrap_or_else(|error| fail(&error.to_string()));
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match <Row>::try_from(figures) {
        Ok(row) => row,
        Err(_) => fail(&format!("{what} {size} ended with {}: {text}", output.status)),
    }
}

fn fail(why: &str) -> ! {
    eprintln!("liveoak-bench: {why}");
    std::process::exit(1)
}

fn median(rows: &[Row]) -> Row {
    std::array::from_fn(|column| {
        let mut figures: Vec<f64> = rows.iter().map(|row| row[column]).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    })
}
