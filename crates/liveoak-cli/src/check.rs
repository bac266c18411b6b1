//! `liveoak check`: whether a file is fine, and what it would run.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::args::CheckArgs;
use crate::config::diagnostic::Report;
use crate::config::values::show;
use crate::config::{
    Child, Command, Config, Edge, Kind, Limit, Probe, Process, Supervisor, Window, load, render,
};
use crate::{EXIT_USAGE, output};

/// The widest command that is shown whole.
const MAX_COMMAND: usize = 60;

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn run(args: &CheckArgs) -> io::Result<ExitCode> {
    match load(&args.file) {
        Err(report) => refuse(&report, args.json),
        Ok(config) => {
            output::stdout(&if args.json { line(&document(&config)) } else { overview(&config) })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Tells what is wrong with a file: as JSON on stdout, or for people on stderr. For every command that reads one.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn refuse(report: &Report, as_json: bool) -> io::Result<ExitCode> {
    if as_json {
        output::stdout(&line(&render::json(report)))?;
    } else {
        output::stderr(&render::text(report, output::colour_on_stderr()));
    }
    Ok(ExitCode::from(EXIT_USAGE))
}

fn line(document: &Value) -> String {
    format!("{document:#}\n")
}

/// The verdict and the tree, for people.
fn overview(config: &Config) -> String {
    let mut rows = vec![["PATH", "RESTART", "READY", "AFTER", "RUNS"].map(str::to_owned)];
    let root = format!("/{}", config.name);
    rows.push([root.clone(), "-".into(), "-".into(), "-".into(), runs_supervisor(&config.root)]);
    push_rows(&config.root, &root, &config.folder, &mut rows);
    let (programs, supervisors) = count(&config.root);
    let verdict = format!(
        "{} is fine: {root} would run {} under {}, and stop within {}.\n\n",
        config.file.display(),
        counted(programs, "program"),
        counted(supervisors + 1, "supervisor"),
        show(config.stop_within),
    );
    verdict + &aligned(&rows)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Programs (replicas counted) and nested supervisors.
fn count(supervisor: &Supervisor) -> (usize, usize) {
    supervisor.children.iter().fold((0, 0), |(programs, supervisors), child| match &child.kind {
        Kind::Process(process) => (programs + usize::from(process.replicas), supervisors),
        Kind::Supervisor { supervisor, .. } => {
            let (more_programs, more_supervisors) = count(supervisor);
            (programs + more_programs, supervisors + more_supervisors + 1)
        }
    })
}

fn push_rows(supervisor: &Supervisor, parent: &str, folder: &Path, rows: &mut Vec<[String; 5]>) {
    for child in &supervisor.children {
        let path = format!("{parent}/{}", child.name);
        let after: Vec<String> = child.after.iter().map(after_text).collect();
        let after = if after.is_empty() { "-".to_owned() } else { after.join(", ") };
        match &child.kind {
            Kind::Process(process) => {
                let replicas = match process.replicas {
                    1 => String::new(),
                    many => format!(".1 to .{many}"),
                };
                let runs = cut(&command_text(&process.command, folder));
                let ready = ready_text(process, folder);
                rows.push([path + &replicas, child.restart.to_string(), ready, after, runs]);
            }
            Kind::Supervisor { supervisor, .. } => {
                let ready = "its children are".to_owned();
                rows.push([
                    path.clone(),
                    child.restart.to_string(),
                    ready,
                    after,
                    runs_supervisor(supervisor),
                ]);
                push_rows(supervisor, &path, folder, rows);
            }
        }
    }
}

fn runs_supervisor(supervisor: &Supervisor) -> String {
    format!("({}, {} order)", supervisor.strategy, supervisor.order)
}

fn after_text(edge: &Edge) -> String {
    format!("{} {}", edge.name, edge.condition)
}

/// Shows a path as the file would have it: relative to the file's folder if it is below.
fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

fn command_text(command: &Command, folder: &Path) -> String {
    match command {
        Command::Shell(script) => format!("sh -c {}", quoted(script)),
        Command::Argv { program, args } => {
            let shown = relative(program, folder);
            let below = program.is_absolute() && program.starts_with(folder);
            let program = if below { format!("./{shown}") } else { shown };
            let words = std::iter::once(program.as_str()).chain(args.iter().map(String::as_str));
            words.map(quoted).collect::<Vec<_>>().join(" ")
        }
    }
}

fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| format!("{word:?}"), std::borrow::Cow::into_owned)
}

/// One line without control characters, of bounded width.
fn cut(text: &str) -> String {
    let escaped: String = text.chars().flat_map(escape_control).collect();
    if escaped.chars().count() <= MAX_COMMAND {
        return escaped;
    }
    escaped.chars().take(MAX_COMMAND - 1).chain(['…']).collect()
}

fn escape_control(c: char) -> Box<dyn Iterator<Item = char>> {
    if c.is_control() { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) }
}

fn ready_text(process: &Process, folder: &Path) -> String {
    let what = match &process.ready.probe {
        Probe::Running => return "it runs".to_owned(),
        Probe::Delay(delay) => return format!("after {}", show(*delay)),
        Probe::Log(pattern) => format!("log /{pattern}/"),
        Probe::Tcp(endpoint) => format!("tcp {endpoint}"),
        Probe::Unix(path) => format!("unix {}", relative(path, folder)),
        Probe::File(path) => format!("file {}", relative(path, folder)),
        Probe::Command(command) => format!("command {}", command_text(command, folder)),
        Probe::Http(url) => url.to_string(),
    };
    cut(&format!("{what} in {}", show(process.ready.within)))
}

/// Pads the columns to equal width; the last one runs free.
fn aligned(rows: &[[String; 5]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 4] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            out.push_str(&format!("{cell:width$}  "));
        }
        out.push_str(&row[4]);
        out.push('\n');
    }
    out
}

/// The verdict and the whole tree, for programs. Values of variables are left out: they are often secrets.
fn document(config: &Config) -> Value {
    json!({
        "ok": true,
        "file": config.file.display().to_string(),
        "folder": config.folder.display().to_string(),
        "name": config.name,
        "stop_within": seconds(config.stop_within),
        "supervisor": supervisor_json(&config.expanded().root, &format!("/{}", config.name)),
    })
}

/// Times are numbers of seconds.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn supervisor_json(supervisor: &Supervisor, path: &str) -> Value {
    let children: Vec<Value> = supervisor.children.iter().map(|child| child_json(child, path)).collect();
    json!({
        "strategy": supervisor.strategy.to_string(),
        "intensity": supervisor.intensity.as_ref().map(limit_json),
        "order": supervisor.order.to_string(),
        "auto_shutdown": supervisor.auto_shutdown.to_string(),
        "children": children,
    })
}

fn limit_json(limit: &Limit) -> Value {
    match &limit.window {
        Window::Unlimited => json!({ "restarts": "unlimited", "give_up": limit.give_up.to_string() }),
        Window::AtMost { restarts, period } => json!({
            "restarts": restarts,
            "period": seconds(*period),
            "give_up": limit.give_up.to_string(),
        }),
    }
}

fn child_json(child: &Child, parent: &str) -> Value {
    let path = format!("{parent}/{}", child.name);
    let after = child.after.iter().map(|edge| (edge.name.clone(), json!(edge.condition.to_string())));
    let backoff = child.backoff.as_ref().map(|backoff| {
        json!({
            "from": seconds(backoff.from),
            "to": seconds(backoff.to),
            "reset_after": seconds(backoff.reset_after),
        })
    });
    let mut document = json!({
        "path": path,
        "line": child.line,
        "restart": child.restart.to_string(),
        "backoff": backoff,
        "limit": child.limit.as_ref().map(limit_json),
        "after": Value::Object(after.collect()),
        "significant": child.significant,
    });
    match &child.kind {
        Kind::Process(process) => document["process"] = process_json(process),
        Kind::Supervisor { supervisor, stop_within } => {
            document["stop_within"] = json!(stop_within.map(seconds));
            document["supervisor"] = supervisor_json(supervisor, &path);
        }
    }
    document
}

fn process_json(process: &Process) -> Value {
    let names: Vec<&str> = process.env.iter().map(|(name, _)| name.as_str()).collect();
    json!({
        "command": command_json(&process.command),
        "cwd": process.cwd.display().to_string(),
        "env_names": names,
        "ready": probe_json(&process.ready.probe),
        "ready_within": seconds(process.ready.within),
        "stop_signal": process.stop_signal.to_string(),
        "stop_within": process.stop_within.map(seconds),
        "success": process.success,
    })
}

fn command_json(command: &Command) -> Value {
    match command {
        Command::Shell(script) => json!({ "shell": script }),
        Command::Argv { program, args } => json!({ "program": program.display().to_string(), "args": args }),
    }
}

fn probe_json(probe: &Probe) -> Value {
    match probe {
        Probe::Running => Value::Null,
        Probe::Delay(delay) => json!({ "delay": seconds(*delay) }),
        Probe::Log(pattern) => json!({ "log": pattern }),
        Probe::Tcp(endpoint) => json!({ "tcp": endpoint.to_string() }),
        Probe::Unix(path) => json!({ "unix": path.display().to_string() }),
        Probe::File(path) => json!({ "file": path.display().to_string() }),
        Probe::Command(command) => json!({ "command": command_json(command) }),
        Probe::Http(url) => json!({ "http": url.to_string() }),
    }
}
