//! Looks for the programs of a file where their starts would: in the `PATH` and the folder of each child.
//!
//! `liveoak check` warns of programs that are missing. They are not errors of the file: another child may build a program
//! first, or the file may be checked on another machine.

use std::collections::HashMap;
use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use liveoak::process::{CommandLine, ProbeKind};
use liveoak::{CheckKind, ChildSpec};
use liveoak_config::{Config, Form, SupervisorConfig};

/// A program that could not be started now.
pub(crate) struct MissingProgram {
    /// The path of the child.
    pub(crate) path: String,
    /// The key that names the program.
    pub(crate) field: &'static str,
    /// Why it could not be started, as one sentence.
    pub(crate) text: String,
}

/// The key of a look-up: the name, the folder and the `PATH`.
type Sought = (OsString, Option<PathBuf>, Option<OsString>);

/// Returns the programs of a file, and of its probes, that could not be started now. Nothing is started.
pub(crate) fn missing(config: &Config) -> Vec<MissingProgram> {
    let mut commands = Vec::new();
    collect(&config.root, &format!("/{}", config.name), &mut commands);
    // Look-ups need a runtime. Without one, no warning is given.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return Vec::new();
    };
    let mut known: HashMap<Sought, Option<String>> = HashMap::new();
    let mut missing = Vec::new();
    for (path, field, command) in commands {
        let key = (command.program.clone(), command.cwd.clone(), own_search_path(&command));
        let problem = known.entry(key).or_insert_with(|| runtime.block_on(problem(&command)));
        if let Some(problem) = problem {
            let text = format!(
                "{path}: {field}: could not {problem}; unless another child creates it in time, the start of this child fails"
            );
            missing.push(MissingProgram { path, field, text });
        }
    }
    missing
}

/// Adds the commands of a supervisor's children, each with the path of the child and the key.
fn collect(
    supervisor: &SupervisorConfig,
    above: &str,
    commands: &mut Vec<(String, &'static str, CommandLine)>,
) {
    for child in &supervisor.children {
        let path = format!("{above}/{}", child.name);
        let program = match &child.form {
            Form::Supervisor(nested) => {
                collect(nested, &path, commands);
                continue;
            }
            Form::Program(program) => program,
            Form::Kind(_) => continue,
        };
        let field = if program.command.shell_line().is_some() { "shell" } else { "command" };
        commands.push((path.clone(), field, program.command.clone()));
        let checks = program.checks.iter().zip(spec_checks(&child.spec));
        for (probe, field) in program.ready.iter().map(|probe| (probe, "ready.command")).chain(checks) {
            let ProbeKind::Command(check) = probe.kind() else { continue };
            let check = match own_search_path(&program.command) {
                Some(searched) if own_search_path(check).is_none() => {
                    CommandLine::clone(check).env("PATH", searched)
                }
                _ => CommandLine::clone(check),
            };
            commands.push((path.clone(), field, check));
        }
    }
}

/// Returns the key of the command of each check.
fn spec_checks(spec: &ChildSpec) -> impl Iterator<Item = &'static str> {
    spec.checks().iter().map(|check| match check.kind {
        CheckKind::Readiness | CheckKind::Startup => "readiness.command",
        CheckKind::Liveness => "liveness.command",
    })
}

fn own_search_path(command: &CommandLine) -> Option<OsString> {
    command.env.get(OsStr::new("PATH")).cloned()
}

/// Returns why a command could not be started now, to follow "could not".
async fn problem(command: &CommandLine) -> Option<String> {
    let error = command.find_program().await.err()?;
    Some(match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}
