//! Compares Liveoak with a hand-written Tokio program: start, memory and stop of up to a million idle children, and
//! restarts without backoff.
//!
//! Each run is a process of its own, so that its memory is measured alone. The runs of both sides alternate, and the
//! medians are printed. Run by `cargo xtask bench`. With `polls`, `checks` or `probes` it measures what these cost instead. Its figures are for comparison of both sides on one machine only.
//!
//! Both sides exchange cache lines between cores, Liveoak more than `TaskTracker`. On a virtual machine the cost of that
//! may change tenfold within a second, because the host moves the cores. So the round trip between two cores is measured before
//! every run and printed with the figures.
#![expect(clippy::print_stdout, clippy::print_stderr, clippy::exit, reason = "a program for people")]

mod costs;
mod measure;
#[cfg(feature = "control")]
mod storm;

use std::process::{Command, ExitCode};

/// The numbers of children, and how often each is measured. Short runs are repeated more often than long ones.
const SIZES: [(usize, usize); 4] = [(1_000, 41), (10_000, 25), (100_000, 15), (1_000_000, 9)];

/// Two cores count as near if their round trip takes at most this many times the shortest one measured.
const NEAR: f64 = 2.5;

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
        #[cfg(feature = "control")]
        ["storm"] => match storm::measure() {
            Ok(figures) => {
                println!("{figures}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("liveoak-bench: {error}");
                ExitCode::FAILURE
            }
        },
        [] => all(&SIZES),
        ["--quick"] => all(&SIZES[..2]),
        ["polls"] => told(costs::polls()),
        ["checks"] => told(costs::checks(600)),
        ["checks", seconds] => {
            seconds.parse().map_or_else(|_| usage(), |seconds| told(costs::checks(seconds)))
        }
        ["probes"] => told(costs::probes()),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: liveoak-bench [--quick | polls | checks [SECONDS] | probes] (with the feature `control` also: storm)"
    );
    ExitCode::from(2)
}

fn told(outcome: Result<(), String>) -> ExitCode {
    outcome.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

/// The figures of one run: start, bytes, stop, restart, and the round trip between two cores.
type Row = [f64; 5];

/// The runs of one size: of `TaskTracker`, and of Liveoak.
struct Runs {
    size: usize,
    sides: [Vec<Row>; 2],
}

fn all(sizes: &[(usize, usize)]) -> ExitCode {
    let measure = |&(size, rounds): &(usize, usize)| {
        let pairs = (0..rounds).map(|_| (round("bare", size), round("liveoak", size)));
        let (bare, ours) = pairs.unzip();
        Runs { size, sides: [bare, ours] }
    };
    let runs: Vec<Runs> = sizes.iter().map(measure).collect();
    let trips = runs.iter().flat_map(|runs| runs.sides.iter().flatten()).map(|row| row[4]);
    let near = NEAR * trips.fold(f64::INFINITY, f64::min);
    println!("medians of alternating runs; ns per child, bytes per child, ns per restart");
    table("all runs", &runs, |_| true);
    table(&format!("runs with near cores (round trip within {near:.0} ns)"), &runs, |row| row[4] <= near);
    ExitCode::SUCCESS
}

fn table(title: &str, runs: &[Runs], counts: impl Fn(&Row) -> bool) {
    println!("\n{title}\n");
    println!("| children | what | runs | start ns | memory B | stop ns | restart ns | core round trip ns |");
    println!("|---:|---|---:|---:|---:|---:|---:|---:|");
    for Runs { size, sides } in runs {
        let rows = sides.each_ref().map(|rows| rows.iter().copied().filter(&counts).collect::<Vec<Row>>());
        if rows.iter().any(Vec::is_empty) {
            println!("| {size} | no such runs | 0 | | | | | |");
            continue;
        }
        let medians = rows.each_ref().map(|rows| median(rows));
        for (what, (rows, medians)) in ["TaskTracker", "liveoak"].into_iter().zip(rows.iter().zip(&medians)) {
            let cells: Vec<String> = medians.iter().map(|figure| format!("{figure:.0}")).collect();
            println!("| {size} | {what} | {} | {} |", rows.len(), cells.join(" | "));
        }
        let [bare, ours] = medians;
        let ratio: Vec<String> =
            ours.iter().zip(&bare).take(4).map(|(ours, bare)| format!("{:.2} x", ours / bare)).collect();
        println!("| | **ratio** | | {} | |", ratio.join(" | "));
    }
}

/// Measures one side once, in a process of its own.
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
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    })
}
