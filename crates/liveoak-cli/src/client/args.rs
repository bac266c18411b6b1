//! The command line of the verbs that speak to a running tree.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use liveoak::api::{MAX_CRASHES, WaitFor};
use liveoak_config::parse_duration;

/// The verbs that speak to a running tree.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// List the children of a running tree
    ///
    /// A PATH may leave out the name of the tree, and may be a pattern: `ingest/*`, `**`. A PATH that is no pattern stands for
    /// the child and all children below it.
    Ps(PsArgs),
    /// Show the children of a running tree below each other
    Tree(TreeArgs),
    /// Show how a running tree is; exit code 0 if it is ready, and nothing is degraded or unhealthy
    Status(ReadArgs),
    /// Show what a child does now, and why
    Explain(ExplainArgs),
    /// Show what is wrong in a running tree, since when, and the command that helps; exit code 1 if anything is
    ///
    /// It only reads. A PATH may be a pattern, and stands for the children below it, too. Everything that concerns the whole
    /// tree is shown at the root.
    Diagnose(DiagnoseArgs),
    /// Show what has happened in a running tree
    Events(EventsArgs),
    /// Show the output of programs
    ///
    /// Each line stands after the path of the child that wrote it. A PATH of a supervisor stands for all children below it.
    Logs(LogsArgs),
    /// Show what failed by itself: exit, last lines of output, backtrace, and what was decided
    ///
    /// A PATH of a supervisor stands for all children below it.
    Crashes(CrashesArgs),
    /// Start children that are down; answers when each is ready or has failed
    Start(CommandArgs),
    /// Stop children; they stay down until a command starts them
    Stop(CommandArgs),
    /// Stop children and start them again; answers when each is ready or has failed
    Restart(CommandArgs),
    /// Pause children: what runs goes on running, and what ends is not started again
    Pause(CommandArgs),
    /// End the pause of children; what ended meanwhile starts
    Resume(CommandArgs),
    /// Stop children and take them out of service
    Quarantine(CommandArgs),
    /// End the quarantine of children, and forget their failures; they start
    Release(CommandArgs),
    /// Change the set of children that shall run; without a name, show the modes
    Mode(ModeArgs),
    /// Read the file of a running tree again, show what differs, and bring the tree to it
    ///
    /// What does not differ is not touched. A file with errors changes nothing.
    Apply(ApplyArgs),
    /// Change how many replicas a child has, until the file is applied again
    Scale(ScaleArgs),
    /// Wait until a child is as wanted
    Wait(WaitArgs),
    /// Stop a whole tree in order, and print the report of its end
    ///
    /// Exit codes: those of `liveoak up`.
    Down(DownArgs),
    /// Show the output of programs from now on; Ctrl-C only detaches
    Attach(AttachArgs),
    /// Ask all checks of children now; the answers change nothing
    Checks(ChecksArgs),
    /// List all running trees of this user
    Trees(TreesArgs),
    /// Print a one-time address, with which a browser may see and steer a running tree
    ///
    /// The tree must listen on a TCP address: `liveoak up --listen 127.0.0.1:7777`. The address can be opened once, within ten
    /// minutes. It gives the browser a cookie.
    Login(ReadArgs),
    /// Print the completions of this command line for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write the pages of all verbs to a folder
    Man {
        /// The folder that gets the pages; it must exist
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

/// Which tree is meant, and how the answer is printed.
#[derive(Args, Debug, Default)]
pub(crate) struct Target {
    /// The socket of the tree, instead of the tree at or above the current folder
    #[arg(long, value_name = "PATH", conflicts_with = "tree", help_heading = "Which tree")]
    pub(crate) socket: Option<PathBuf>,
    /// The name of the tree, as `liveoak trees` lists it
    #[arg(long, value_name = "NAME", help_heading = "Which tree")]
    pub(crate) tree: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who gives a command, and why.
#[derive(Args, Debug, Default)]
pub(crate) struct Reason {
    /// Who gives the command; it is kept with the command
    #[arg(long, value_name = "WHO")]
    pub(crate) by: Option<String>,
    /// Why the command is given; it is kept with the command
    #[arg(long, value_name = "WHY")]
    pub(crate) because: Option<String>,
}

/// The command line of a verb that reads and has no arguments of its own.
#[derive(Args, Debug)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak ps`.
#[derive(Args, Debug)]
pub(crate) struct PsArgs {
    /// The children; all without any
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// As it was then: a time before now, such as 1h, or a moment, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) at: Option<SystemTime>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak tree`.
#[derive(Args, Debug)]
pub(crate) struct TreeArgs {
    /// As it was then: a time before now, such as 1h, or a moment, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) at: Option<SystemTime>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak explain`.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The child
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak diagnose`.
#[derive(Args, Debug)]
pub(crate) struct DiagnoseArgs {
    /// The child, with all children below it; the whole tree without one
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// What of a stream is shown.
#[derive(Args, Debug, Default)]
pub(crate) struct Window {
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only what happened since: a time before now, such as 1h, or a moment, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<SystemTime>,
    /// At most the last N of what has happened already; with -f, 10 unless --since is given
    #[arg(short = 'n', long = "last", value_name = "N")]
    pub(crate) last: Option<u64>,
}

/// The command line of `liveoak events`.
#[derive(Args, Debug)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) window: Window,
    /// Only events of children with this path or pattern: `api`, `ingest/*`, `**`
    #[arg(long = "path", value_name = "PATTERN")]
    pub(crate) paths: Vec<String>,
    /// Only events of this kind, for example exited; more kinds are separated by commas
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    pub(crate) kinds: Vec<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak logs`.
#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// The children; all without any
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    #[command(flatten)]
    pub(crate) window: Window,
    /// Put the moment of each line before it
    #[arg(short = 't', long)]
    pub(crate) times: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak crashes`.
#[derive(Args, Debug)]
pub(crate) struct CrashesArgs {
    /// The children; all without any
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Only crashes since: a time before now, such as 1h, or a moment, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<SystemTime>,
    /// At most the last N; 10 without it, at most 999
    #[arg(short = 'n', long = "last", value_name = "N", value_parser = crashes)]
    pub(crate) last: Option<usize>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak start` and the other commands on children.
#[derive(Args, Debug)]
pub(crate) struct CommandArgs {
    /// The children: paths, which may leave out the name of the tree, or patterns (`ingest/*`, `**`)
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<String>,
    /// How long to wait for the effect, for example 30s; the command is carried out all the same
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) within: Option<Duration>,
    /// Do not ask, even if a pattern matches more than one child
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// What happens after a failed step of a change of the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFailure {
    /// Go back to the mode before
    Back,
    /// Stay in the new mode
    Stay,
}

/// The command line of `liveoak mode`.
#[derive(Args, Debug)]
pub(crate) struct ModeArgs {
    /// The mode; without it, the mode in force and those that can be chosen are shown
    #[arg(value_name = "NAME")]
    pub(crate) mode: Option<String>,
    /// What happens after a failed step
    #[arg(long, value_name = "WHAT", value_enum, requires = "mode")]
    pub(crate) on_failure: Option<OnFailure>,
    /// Show what would be done, and do nothing
    #[arg(long, requires = "mode")]
    pub(crate) dry_run: bool,
    /// Do not ask on a terminal, even if children that run are stopped
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak apply`.
#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    /// The file of the tree that is meant; without it, the tree of the current folder
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak scale`.
#[derive(Args, Debug)]
pub(crate) struct ScaleArgs {
    /// The child, as the file names it: `web`, not `web.2`
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// How many replicas it shall have, at least 1
    #[arg(value_name = "N")]
    pub(crate) replicas: u32,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask on a terminal, even if replicas are stopped
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak wait`.
#[derive(Args, Debug)]
pub(crate) struct WaitArgs {
    /// The child
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// What to wait for
    #[arg(long = "for", value_name = "WHAT", default_value = "ready", value_parser = WaitForParser)]
    pub(crate) wanted: WaitFor,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = length)]
    pub(crate) within: Duration,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak down`.
#[derive(Args, Debug)]
pub(crate) struct DownArgs {
    /// How long the stop may take: at half of it all children are asked, then what still runs is killed; without it, the stop
    /// budget of the tree holds
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) within: Option<Duration>,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak attach`.
#[derive(Args, Debug)]
pub(crate) struct AttachArgs {
    /// The child; without it, all children
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak checks`.
#[derive(Args, Debug)]
pub(crate) struct ChecksArgs {
    /// The children; a supervisor stands for all children below it
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The command line of `liveoak trees`.
#[derive(Args, Debug)]
pub(crate) struct TreesArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads how many crashes are wanted.
fn crashes(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number < MAX_CRASHES)
        .ok_or_else(|| format!("expected a number from 0 to {}", MAX_CRASHES - 1))
}

/// Reads a length of time by the rules of the file.
fn length(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|problem| format!("this {problem}"))
}

/// Reads a time before now, or a moment. Returns the moment.
fn since(text: &str) -> Result<SystemTime, String> {
    match humantime::parse_rfc3339_weak(text) {
        Ok(moment) => Ok(moment),
        Err(_) => match parse_duration(text) {
            Ok(ago) => Ok(SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)),
            Err(problem) => {
                Err(format!("this {problem}; a moment is written as 2026-01-31T12:00:00Z, in UTC"))
            }
        },
    }
}

/// Reads what to wait for, and lists the words in the help.
#[derive(Clone)]
struct WaitForParser;

impl clap::builder::TypedValueParser for WaitForParser {
    type Value = WaitFor;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<WaitFor, clap::Error> {
        let words = clap::builder::PossibleValuesParser::new(WaitFor::ALL.map(WaitFor::as_str));
        let word = clap::builder::TypedValueParser::parse_ref(&words, command, arg, value)?;
        Ok(WaitFor::ALL.into_iter().find(|wanted| wanted.as_str() == word).unwrap_or(WaitFor::Ready))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = clap::builder::PossibleValue> + '_>> {
        Some(Box::new(
            WaitFor::ALL.into_iter().map(|wanted| clap::builder::PossibleValue::new(wanted.as_str())),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_a_time_before_now_or_a_moment_in_utc() {
        let before = SystemTime::now();
        let hour_ago = since("1h").unwrap();
        let passed = before.duration_since(hour_ago).unwrap();
        assert!(passed <= Duration::from_secs(3600) && passed > Duration::from_secs(3000), "{passed:?}");
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
        for moment in ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z", "2026-01-31 12:00:00"] {
            assert_eq!(since(moment), Ok(noon), "{moment}");
        }
        for wrong in ["", "soon", "-5s", "15", "1.5h", "2026-13-01T00:00:00Z"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
