//! The command line. Help texts are written for people who read nothing else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};

use crate::client::args::ClientCommand;
use liveoak_config::DEFAULT_FILE;

/// Starts, restarts and stops the programs that a file declares.
#[derive(Debug, Parser)]
#[command(name = "liveoak", version, about, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 clean, 1 the tree failed, 2 usage or config, 3 stopped, but a child had to be killed."
)]
pub(crate) struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub(crate) command: Subcommand,
}

/// The commands of the program.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Start everything that a file declares, and keep it running
    ///
    /// The programs' output goes to stdout, each line after the path of the child that wrote it; Liveoak's own log
    /// goes to stderr. Ctrl-C, SIGTERM or SIGHUP (without --reload-on-hup) stops everything in order and prints a report. A Ctrl-C more than a
    /// second after the first signal kills all children. SIGQUIT (Ctrl-\) prints the state of every child.
    Up(UpArgs),
    /// Check a file and show what would run; nothing is started
    ///
    /// All errors of the file are shown together, each with its place and with the expected value. The exit code is 0 if
    /// the file is correct, and 2 if it has errors.
    Check(CheckArgs),
    /// Print the JSON Schema of the file, for editors
    ///
    /// Save it next to your file, and put this line at the top of the file: #:schema ./liveoak.schema.json
    Schema,
    /// The verbs that speak to a running tree.
    #[command(flatten)]
    Client(ClientCommand),
}

/// The command line of `liveoak check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The file to check; - is the standard input
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    pub(crate) file: PathBuf,
    /// Print one JSON document on stdout instead
    #[arg(long)]
    pub(crate) json: bool,
}

/// The command line of `liveoak up`.
#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// The file that declares the tree; - is the standard input
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    pub(crate) file: PathBuf,
    /// Stop the tree after this time, for example 15s or 1m30s
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) run_for: Option<Duration>,
    /// Start only the children of this mode of the file, with what they come after; default: all that are not manual
    #[arg(long, value_name = "NAME")]
    pub(crate) mode: Option<String>,
    /// Write the stop report to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// The format of Liveoak's own log and of the stop report on stderr
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Pretty)]
    pub(crate) log_format: LogFormat,
    /// The level of Liveoak's own log; messages about the run and the stop report are always written
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub(crate) log_level: LogLevel,
    /// Start in the background, and answer when the tree is ready or has failed
    ///
    /// The output of the programs is kept for `liveoak logs`. Messages about the run itself go to the file `log` in the folder
    /// of the tree, which the answer names.
    #[arg(short = 'd', long, conflicts_with = "no_control")]
    pub(crate) detach: bool,
    /// With -d: answer after this time at the latest, for example 30s; the tree goes on starting
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "detach", default_value = "60s")]
    pub(crate) within: Duration,
    /// The process that -d has started
    #[arg(long, hide = true)]
    pub(crate) in_background: bool,
    /// SIGHUP applies the file, as `liveoak apply` does, instead of stopping the tree
    ///
    /// Implied by -d, and when the variable NOTIFY_SOCKET is set, as a service manager does.
    #[arg(long)]
    pub(crate) reload_on_hup: bool,
    /// Open no control socket: other commands cannot reach the tree
    #[arg(long, conflicts_with_all = ["socket", "listen"])]
    pub(crate) no_control: bool,
    /// Open the control socket at this path; without it, at that of the variable LIVEOAK_SOCKET
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Also answer on this TCP address, for callers with the token, for example 127.0.0.1:7777
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Print the errors of the file, or with -d the answer, as one JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For reading: aligned, coloured on a terminal
    Pretty,
    /// One short line per entry
    Compact,
    /// One JSON object per line
    Json,
}

/// The level of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Only messages about the run itself, and the stop report
    Off,
    /// Failures that no restart repairs
    Error,
    /// All failures
    Warn,
    /// What started, stopped and became ready
    Info,
    /// Every decision
    Debug,
    /// Everything
    Trace,
}

/// Reads a time on the command line, by the rules of the file. Zero is refused.
///
/// # Errors
/// Returns a sentence that says what is wrong with the text.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match liveoak_config::parse_duration(text) {
        Ok(Duration::ZERO) => Err("this time is zero; write for example 15s".to_owned()),
        Ok(duration) => Ok(duration),
        Err(problem) => Err(format!("this {problem}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;

    fn up(args: &[&str]) -> Result<UpArgs, clap::Error> {
        let command = UpArgs::augment_args(clap::Command::new("up"));
        UpArgs::from_arg_matches(&command.try_get_matches_from([&["up"], args].concat())?)
    }

    #[test]
    fn clap_accepts_the_definition_of_the_arguments() {
        Cli::command().debug_assert();
        UpArgs::augment_args(clap::Command::new("up")).debug_assert();
    }

    #[test]
    fn up_without_arguments_reads_the_default_file() {
        let args = up(&[]).expect("no argument is needed");
        assert_eq!(args.file, PathBuf::from("liveoak.toml"));
        assert_eq!((args.run_for, args.report), (None, None));
        assert_eq!((args.log_format, args.log_level, args.json), (LogFormat::Pretty, LogLevel::Info, false));
    }

    #[test]
    fn up_takes_times_as_the_file_writes_them() {
        assert_eq!(up(&["--for", "1m30s"]).expect("a time").run_for, Some(Duration::from_secs(90)));
        for wrong in ["15", "0s", "soon", "-5s"] {
            let error = up(&[&format!("--for={wrong}")]).expect_err(wrong);
            assert_eq!(error.exit_code(), 2, "{wrong}");
        }
    }
}
