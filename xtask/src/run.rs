//! Runs one command at a time: prints it before it starts, and its time after it has ended.
//!
//! Every command is printed, so a developer can repeat each step by hand. A task that must run several programs at once
//! belongs in a crate of its own.

#![expect(clippy::print_stderr, reason = "a program for people")]

use crate::Failure;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two checks of a command with a time limit.
const CHECK_PAUSE: Duration = Duration::from_millis(20);

/// How long a command that exceeded its time limit may take to end after `SIGTERM`, before it is killed.
const STOP_TIME: Duration = Duration::from_secs(5);

/// Returns the root of the repository. Every command runs there.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Prints, runs and times a command. `line` is its words separated by spaces, without quoting. The command's output
/// goes to the output of this program; its input is empty.
pub(crate) fn step(line: &str, env: &[(&str, &str)]) -> Result<(), Failure> {
    step_with(line, &[], env, &[])
}

/// Does the same as [`step`], with `arguments` that may contain spaces, and with other exit codes that also mean
/// success.
pub(crate) fn step_with(
    line: &str,
    arguments: &[String],
    env: &[(&str, &str)],
    success_codes: &[i32],
) -> Result<(), Failure> {
    let line_shown = [line, &arguments.join(" ")].join(" ").trim_end().to_owned();
    let begun = announce(&line_shown, env);
    let status = command(line).args(arguments).envs(env.iter().copied()).status();
    let status = status.map_err(Failure::io(&line_shown))?;
    if status.code().is_some_and(|code| success_codes.contains(&code)) {
        Ok(())
    } else {
        finish(&line_shown, status, begun)
    }
}

/// Does the same as [`step`], but a command that still runs after `limit` fails: it is asked to end, then killed.
pub(crate) fn step_within(line: &str, limit: Duration) -> Result<(), Failure> {
    program_within(command(line), line, limit)
}

/// Does the same as [`step_within`] for a prepared `program`, which is printed as `line`.
pub(crate) fn program_within(mut program: Command, line: &str, limit: Duration) -> Result<(), Failure> {
    let begun = announce(line, &[]);
    let io = Failure::io(line);
    let mut child = program.current_dir(root()).stdin(Stdio::null()).spawn().map_err(io)?;
    loop {
        if let Some(status) = child.try_wait().map_err(io)? {
            return finish(line, status, begun);
        }
        if begun.elapsed() > limit {
            end(&mut child).map_err(io)?;
            let outcome = format!("still ran after {} s and was ended", limit.as_secs());
            return Err(Failure::Step { command: line.to_owned(), outcome });
        }
        thread::sleep(CHECK_PAUSE);
    }
}

/// Asks a program to end, and kills it if it does not.
fn end(child: &mut Child) -> io::Result<()> {
    // The standard library can only send SIGKILL.
    let asked = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    let begun = Instant::now();
    while asked.is_ok() && begun.elapsed() < STOP_TIME {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(CHECK_PAUSE);
    }
    child.kill()?;
    child.wait().map(drop)
}

/// Returns `true` if a command exists and ends with success. Prints nothing.
pub(crate) fn succeeds_quietly(line: &str) -> bool {
    let status = command(line).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Returns an error with the text `advice` if the command `version` does not succeed.
pub(crate) fn need(version: &str, advice: &str) -> Result<(), Failure> {
    if succeeds_quietly(version) { Ok(()) } else { Err(Failure::Setup(advice.to_owned())) }
}

fn announce(line: &str, env: &[(&str, &str)]) -> Instant {
    let assignments: String = env.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
    eprintln!("\n==> {assignments}{line}");
    Instant::now()
}

fn finish(line: &str, status: ExitStatus, begun: Instant) -> Result<(), Failure> {
    if status.success() {
        eprintln!("==> done in {:.1} s: {line}", begun.elapsed().as_secs_f32());
        return Ok(());
    }
    Err(Failure::Step { command: line.to_owned(), outcome: format!("failed: {status}") })
}

fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let mut command = match program {
        // The cargo that runs this program, so that all steps use the same toolchain.
        "cargo" => Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
        other => Command::new(other),
    };
    command.args(words).current_dir(root()).stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_an_error_that_names_it() {
        let failure = step("false", &[]).unwrap_err();
        assert!(failure.to_string().starts_with("`false` failed: "), "{failure}");
    }

    #[test]
    fn a_command_that_does_not_exist_is_an_error_that_names_it() {
        let failure = step("no-such-program-here", &[]).unwrap_err();
        assert!(failure.to_string().starts_with("no-such-program-here: "), "{failure}");
        assert!(!succeeds_quietly("no-such-program-here"));
    }

    #[test]
    fn a_command_that_does_not_end_in_time_is_asked_to_end() {
        let failure = step_within("sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(failure.to_string().contains("was ended"), "{failure}");
        step_within("true", Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn a_command_that_does_not_end_when_asked_is_killed() {
        let mut stubborn = Command::new("sh");
        stubborn.args(["-c", "trap '' TERM; while :; do sleep 0.1; done"]);
        let failure = program_within(stubborn, "stubborn", Duration::from_millis(300)).unwrap_err();
        assert!(failure.to_string().contains("was ended"), "{failure}");
    }
}
