//! The `liveoak` program, as a library of one function, which `main` calls.
//!
//! - `args`: the command line
//! - `check`, `up`: the commands; `liveoak-config` reads the file for them, and contains the schema
//! - `client`: the verbs that speak to a running tree
//! - `programs`: which programs of a file are missing
//! - `output`: writes to stdout and stderr; while a tree runs, `up` writes through its own `writer`

mod args;
mod check;
mod client;
mod output;
mod programs;
mod up;

use std::process::ExitCode;

use clap::Parser as _;
use liveoak_config::one_line;

/// The tree failed: it gave up, or did not start. Also: the output or the report could not be written, or no Tokio
/// runtime or signal handler could be made.
const EXIT_FAILED: u8 = 1;
/// The command line, the file or the path of the report is wrong.
const EXIT_USAGE: u8 = 2;
/// The tree stopped, but a child had to be killed or abandoned.
const EXIT_FORCED: u8 = 3;

/// The stack that the program has, at least. A small `ulimit -s` holds for the main thread only.
const STACK: usize = 2 * 1024 * 1024;

/// Runs the whole program: reads its command line, runs the command, and returns the exit code.
#[must_use]
pub fn run() -> ExitCode {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
    if limit.is_none_or(|limit| limit >= STACK as u64) {
        return run_here();
    }
    // If the system refuses the thread, everything runs on the small stack of the main thread.
    match std::thread::Builder::new().name("liveoak-main".into()).stack_size(STACK).spawn(run_here) {
        Ok(thread) => thread.join().unwrap_or(ExitCode::FAILURE),
        Err(_) => run_here(),
    }
}

/// Runs the whole program on the current thread.
fn run_here() -> ExitCode {
    liveoak::process::ignore_write_signals();
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let error = with_escaped_arguments().unwrap_or(error);
            // For clap, help and version are errors too, with code 0.
            let printed = error.print();
            if error.exit_code() == 0 {
                return code_of(printed.map(|()| ExitCode::SUCCESS));
            }
            if let Some(report) = up::named_in(std::env::args_os()) {
                up::remove_stale(&report);
            }
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let written = match cli.command {
        args::Subcommand::Check(args) => check::run(&args),
        args::Subcommand::Schema => {
            output::stdout(&format!("{:#}\n", liveoak_config::schema())).map(|()| ExitCode::SUCCESS)
        }
        args::Subcommand::Up(args) if args.detach => Ok(client::up_in_background(&args)),
        args::Subcommand::Up(args) => up::run(&args),
        args::Subcommand::Client(command) => Ok(client::run(command)),
    };
    code_of(written)
}

/// Returns the error of the command line with its control characters escaped, if there are any: messages quote the arguments.
fn with_escaped_arguments() -> Option<clap::Error> {
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let escaped: Vec<_> = args.iter().map(|arg| one_line(arg).into_owned()).collect();
    if escaped == args { None } else { args::Cli::try_parse_from(escaped).err() }
}

/// Returns the exit code of a command that has written its output. A reader that has closed its end is not an error.
fn code_of(written: std::io::Result<ExitCode>) -> ExitCode {
    written.unwrap_or_else(|error| {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return ExitCode::SUCCESS;
        }
        output::stderr(&format!("error: cannot write the output: {error}\n"));
        ExitCode::FAILURE
    })
}
