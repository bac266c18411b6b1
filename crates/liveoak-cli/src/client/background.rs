//! `liveoak up -d`: starts a tree in the background, and answers when it is ready or has failed.
//!
//! The tree runs in a process of its own, which has no descriptor of the caller. Its socket is found by its process id.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use liveoak::api::{Status, TreeState};
use liveoak::control::{socket_of, state_folder};
use liveoak::internal::{Either, race};
use liveoak_config::load_and_tell;
use serde_json::json;
use tokio::task::JoinSet;

use super::Done;
use super::failure::{EXIT_INTERRUPTED, Failure};
use super::http::Server;
use super::print;
use super::progress::{Watched, tell};
use crate::args::UpArgs;
use crate::{EXIT_FAILED, check};

/// The time between two looks at the progress of the start.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long one look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// How much of the log of a failed start is shown.
const SHOWN: u64 = 16 * 1024;

/// Starts the tree of a file in the background.
pub(super) async fn up(args: &UpArgs) -> Done {
    if args.file.as_os_str() == "-" {
        return Err(Failure::usage("-d needs a file that can be found again; the standard input is none"));
    }
    // The errors of the file are shown as those of any other start.
    let config = match load_and_tell(&args.file, &|_| {}) {
        Ok(config) => config,
        Err(problems) => {
            check::print_errors(&problems, args.json, "; nothing was started")?;
            return Ok(crate::EXIT_USAGE);
        }
    };
    let name = config.name.as_str();
    let folder = state_folder(name, &args.file);
    let folder =
        folder.map_err(|error| Failure::failed(format!("there is no place for the log: {error}")))?;
    // The log of a tree that runs already is left alone until this start has succeeded.
    let log = folder.join(format!("log.{}", std::process::id()));
    let mut process = spawn(&log)?;
    let answer =
        match race(follow(args, name, &mut process, &log), tokio::signal::ctrl_c()).await {
            Either::Left(answer) => answer,
            Either::Right(_) => Err(Failure::new(EXIT_INTERRUPTED, "interrupted; the start goes on")
                .line("`liveoak down` ends it")),
        };
    // A tree that goes on keeps its log, under a name that people find.
    match process.try_wait() {
        Ok(Some(_)) => drop(std::fs::remove_file(&log)),
        _ => drop(std::fs::rename(&log, folder.join("log"))),
    }
    answer
}

/// Follows a start until the tree is ready, has ended, or the time is over.
async fn follow(args: &UpArgs, name: &str, process: &mut Child, log: &Path) -> Done {
    let end = Instant::now() + args.within;
    let mut last = None;
    // Its lines end with this wait.
    let mut telling = JoinSet::new();
    loop {
        if let Some(status) = process.try_wait()? {
            return ended(status.code(), log, name);
        }
        if let Some(socket) = socket_of(process.id(), crate::up::socket(args).as_deref()) {
            if telling.is_empty() {
                let (server, tree) = (Server::new(&socket), Watched::Commanded(vec![format!("/{name}")]));
                telling.spawn(async move { tell(&server, tree).await });
            }
            let asked = Server::new(&socket).get_within::<Status>("/v1/status", LOOK_LIMIT).await;
            if let Ok(status) = asked {
                if status.state == TreeState::Alive && status.ready {
                    return begun(args, name, process.id(), &socket);
                }
                last = Some((socket, status));
            }
        }
        if Instant::now() >= end {
            return Err(too_slow(args, process.id(), last).await);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Starts the process of the tree, with the command line of this one.
fn spawn(log: &Path) -> Result<Child, Failure> {
    let cannot = |what: &str, error: std::io::Error| Failure::failed(format!("cannot {what}: {error}"));
    let program = std::env::current_exe().map_err(|error| cannot("find the program liveoak", error))?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(log);
    let log = file.map_err(|error| cannot(&format!("write {}", log.display()), error))?;
    let mut command = Command::new(program);
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    // What happens to children can be seen with `liveoak events`; the log of the run would grow without a bound.
    let has_level = args.iter().any(|arg| arg.to_string_lossy().starts_with("--log-level"));
    // The word `up` comes first; a file may stand after `--`.
    let (verb, rest) = args.split_first().map_or((None, vec![]), |(verb, rest)| (Some(verb), rest.to_vec()));
    command.args(verb).arg("--in-background");
    if !has_level {
        command.args(["--log-level", "off"]);
    }
    command.args(without_detach(rest));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(|error| cannot("start the process of the tree", error))
}

/// Returns the command line of the process of the tree: that of the caller without `-d` and `--within`.
fn without_detach(args: Vec<std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    let mut kept = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_string_lossy().as_ref() {
            "--" => {
                kept.push(arg);
                kept.extend(args.by_ref());
            }
            "-d" | "--detach" => {}
            "--within" => drop(args.next()),
            text if text.starts_with("--within=") => {}
            _ => kept.push(arg),
        }
    }
    kept
}

/// Answers that the tree is ready.
fn begun(args: &UpArgs, name: &str, pid: u32, socket: &Path) -> Done {
    if args.json {
        print::json(&json!({ "name": name, "pid": pid, "socket": socket }))?;
    } else {
        print::text(&format!("{name} is ready: process {pid}, socket {}\n", socket.display()))?;
    }
    Ok(0)
}

/// Answers that the tree has ended before it was ready, with what it said.
fn ended(code: Option<i32>, log: &Path, name: &str) -> Done {
    let mut said = Vec::new();
    if let Ok(file) = File::open(log) {
        let _ = file.take(SHOWN).read_to_end(&mut said);
    }
    crate::output::stderr(&String::from_utf8_lossy(&said));
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(0) => {
            print::text(&format!("{name} has ended already\n"))?;
            Ok(0)
        }
        Some(code) => Ok(code),
        None => {
            print::text(&format!("the process of {name} was killed\n"))?;
            Ok(EXIT_FAILED)
        }
    }
}

/// Returns the failure of a start that takes too long: what is waited for, and that the start goes on.
async fn too_slow(args: &UpArgs, pid: u32, last: Option<(PathBuf, Status)>) -> Failure {
    let within = liveoak_config::format_duration(args.within);
    let Some((socket, status)) = last else {
        return Failure::failed(format!(
            "process {pid} has opened no control socket within {within}; it goes on"
        ));
    };
    let failure = Failure::failed(format!(
        "{} is not ready within {within}: it is {}; it goes on",
        status.tree,
        status.state.as_str()
    ));
    let children =
        Server::new(&socket).get_within::<Vec<liveoak::api::Child>>("/v1/children", LOOK_LIMIT).await;
    let waits = children.unwrap_or_default().into_iter().filter(|child| !child.is_parent() && !child.ready);
    let lines = waits.filter(|child| child.state.as_str() != "finished").take(10);
    let lines: Vec<String> =
        lines.map(|child| format!("{} is {}", child.path, child.state.as_str())).collect();
    failure.lines(lines).line(format!("process {pid}, socket {}", socket.display()))
}
