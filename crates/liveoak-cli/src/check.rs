//! `liveoak check`: prints whether a file is fine, and what it would run.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use liveoak::process::{CommandLine, Probe, ProbeKind};
use liveoak::{CheckSpec, ChildSpec, Criticality, Glob, Limit, Name, Need, Role, SpecWarning};
use liveoak_config::{
    ChildConfig, Config, Diagnostics, Form, Mode, ProgramConfig, SupervisorConfig, ValueWarning,
    format_duration, load_and_tell, one_line,
};
use serde_json::{Value, json};
use tracing::Level;

use crate::args::CheckArgs;
use crate::programs::{self, MissingProgram};
use crate::{EXIT_USAGE, output, up};

/// The widest command that is shown whole.
const MAX_COMMAND: usize = 60;

/// Runs the command.
///
/// # Errors
/// Returns an error if stdout cannot be written.
pub(crate) fn run(args: &CheckArgs) -> io::Result<ExitCode> {
    let tell = |text: &str| output::stderr(&waits(args.json, text));
    match load_and_tell(&args.file, &tell) {
        Err(report) => print_errors(&report, args.json, ""),
        Ok(config) => {
            let missing = programs::missing(&config);
            let text = if args.json { json_text(&document(&config, &missing)) } else { overview(&config) };
            output::stdout(&text)?;
            if !args.json {
                let warnings = config.warnings().into_iter().map(|warning| warning.to_string());
                let commands =
                    config.command_warnings().into_iter().map(|(path, text)| format!("{path}: {text}"));
                let missing = missing.into_iter().map(|program| program.text);
                let values = config.value_warnings.iter().map(ToString::to_string);
                for warning in warnings.chain(commands).chain(values).chain(missing) {
                    output::stderr(&format!("warning: {}\n", one_line(&warning)));
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Returns the line that says what is waited for. With `--json`, also the lines on stderr are JSON, with the keys of a log in JSON.
fn waits(as_json: bool, text: &str) -> String {
    if as_json {
        up::json_line(Level::INFO, "input-waits", text)
    } else {
        format!("note: {}\n", one_line(text))
    }
}

fn json_text(document: &Value) -> String {
    output::escaped_json(&format!("{document:#}\n")).into_owned()
}

/// Prints the errors of a file: as JSON on stdout, or for people on stderr, with `more` after the count. `check` and `up` both call it.
///
/// # Errors
/// Returns an error if stdout cannot be written.
pub(crate) fn print_errors(report: &Diagnostics, as_json: bool, more: &str) -> io::Result<ExitCode> {
    if as_json {
        output::stdout(&json_text(&report.json()))?;
    } else {
        let text = report.text(output::colour_on_stderr());
        output::stderr(&format!("{}{more}\n", text.trim_end()));
    }
    Ok(ExitCode::from(EXIT_USAGE))
}

/// Returns the verdict and the tree, for people.
fn overview(config: &Config) -> String {
    let root = format!("/{}", config.name);
    let mut overview = Overview { folder: &config.folder, rows: Vec::new(), programs: 0, supervisors: 1 };
    overview.row(["PATH", "RESTART", "READY", "AFTER", "RUNS"]);
    overview.row([&root, "-", "-", "-", &runs_supervisor(&config.root)]);
    overview.add_children(&config.root, &root);
    let verdict = format!(
        "{} is fine: {root} would run {} under {}, and stop within {}.\n\n",
        one_line(&config.shown_file()),
        counted(overview.programs, "program"),
        counted(overview.supervisors, "supervisor"),
        format_duration(config.spec.stop_within),
    );
    verdict + &output::table("", &overview.rows) + &modes(config)
}

/// Returns the modes as a table below the tree, if the file has any.
fn modes(config: &Config) -> String {
    if config.modes.is_empty() {
        return String::new();
    }
    let run = |mode: &Mode| mode.run.iter().map(Glob::as_str).collect::<Vec<_>>().join(", ");
    let rows = config.modes.iter().map(|mode| [mode.name.to_string(), one_line(&run(mode)).into_owned()]);
    let rows: Vec<_> = std::iter::once(["MODE", "RUN"].map(str::to_owned)).chain(rows).collect();
    format!("\n{}", output::table("", &rows))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The tree as a table, with the numbers of its programs and supervisors. Replicas share one row, unless `{replica}` makes
/// them differ.
struct Overview<'a> {
    folder: &'a Path,
    rows: Vec<[String; 5]>,
    programs: usize,
    supervisors: usize,
}

impl Overview<'_> {
    fn row(&mut self, cells: [&str; 5]) {
        self.rows.push(cells.map(str::to_owned));
    }

    fn add_children(&mut self, supervisor: &SupervisorConfig, above: &str) {
        for child in &supervisor.children {
            let path = format!("{above}/{}", child.name);
            let restart = match child.spec.manual {
                true => format!("{}, manual", child.spec.restart),
                false => child.spec.restart.to_string(),
            };
            let after: Vec<String> =
                child.spec.after.iter().map(|edge| format!("{} {}", edge.child, edge.condition)).collect();
            let after = if after.is_empty() { "-".to_owned() } else { after.join(", ") };
            match &child.form {
                Form::Program(program) => {
                    self.programs += usize::from(program.replicas);
                    for (number, program) in shown_replicas(program) {
                        let ready = ready_text(&program, &child.spec, self.folder);
                        let runs = cut(&command_text(&program.command, self.folder));
                        self.row([&format!("{path}{number}"), &restart, &ready, &after, &runs]);
                    }
                }
                // A file with kinds is refused: this program has none.
                Form::Kind(_) => {}
                Form::Supervisor(supervisor) => {
                    self.supervisors += 1;
                    let runs = runs_supervisor(supervisor);
                    self.row([&path, &restart, "when its children are ready", &after, &runs]);
                    self.add_children(supervisor, &path);
                }
            }
        }
    }
}

/// Returns the replicas of a program that get a row, each with the suffix of its name.
fn shown_replicas(program: &ProgramConfig) -> Vec<(String, ProgramConfig)> {
    match program.replicas {
        1 => vec![(String::new(), program.clone())],
        many if program.others.is_empty() => vec![(format!(".1 to .{many}"), program.of_replica(1))],
        many => (1..=many).map(|number| (format!(".{number}"), program.of_replica(number))).collect(),
    }
}

fn runs_supervisor(supervisor: &SupervisorConfig) -> String {
    format!("({}, {} order)", supervisor.spec.strategy, supervisor.spec.order)
}

/// Returns a path as the file would write it: relative to the file's folder if it is below.
fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

fn command_text(command: &CommandLine, folder: &Path) -> String {
    if let Some(script) = command.shell_line() {
        return format!("sh -c {}", quoted(&script.to_string_lossy()));
    }
    let program = Path::new(&command.program);
    let shown = relative(program, folder);
    let below = program.is_absolute() && program.starts_with(folder);
    let program = if below { format!("./{shown}") } else { shown };
    let arguments = command.args.iter().map(|word| word.to_string_lossy());
    let words = std::iter::once(program.into()).chain(arguments);
    words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| format!("{word:?}"), std::borrow::Cow::into_owned)
}

/// Returns the text as one line of at most [`MAX_COMMAND`] characters.
fn cut(text: &str) -> String {
    let line = one_line(text);
    if line.chars().count() <= MAX_COMMAND {
        return line.into_owned();
    }
    line.chars().take(MAX_COMMAND - 1).chain(['…']).collect()
}

fn ready_text(program: &ProgramConfig, spec: &ChildSpec, folder: &Path) -> String {
    let Some(probe) = &program.ready else { return "when it runs".to_owned() };
    let what = match probe.kind() {
        ProbeKind::Delay(delay) => return format!("after {}", format_duration(*delay)),
        ProbeKind::Log(pattern) => format!("log /{pattern}/"),
        ProbeKind::Tcp(target) => format!("tcp {target}"),
        ProbeKind::Unix(path) => format!("unix {}", relative(path, folder)),
        ProbeKind::File(path) => format!("file {}", relative(path, folder)),
        ProbeKind::Command(command) => format!("command {}", command_text(command, folder)),
        ProbeKind::Http(url) => url.to_string(),
    };
    cut(&format!("{what} in {}", format_duration(spec.start_within)))
}

/// Returns the verdict and the whole tree, for programs. Values of variables are left out: they are often secrets.
fn document(config: &Config, missing: &[MissingProgram]) -> Value {
    let warnings: Vec<Value> = config
        .warnings()
        .iter()
        .map(warning_json)
        .chain(command_warnings_json(config))
        .chain(config.value_warnings.iter().map(value_warning_json))
        .chain(missing.iter().map(missing_json))
        .collect();
    json!({
        "ok": true,
        "file": config.file.display().to_string(),
        "folder": config.folder.display().to_string(),
        "name": config.name.as_str(),
        "stop_within": config.spec.stop_within.as_secs_f64(),
        "supervisor": supervisor_json(&config.expanded().root, &format!("/{}", config.name)),
        "modes": config.modes.iter().map(mode_json).collect::<Vec<_>>(),
        "warnings": warnings,
    })
}

fn mode_json(mode: &Mode) -> Value {
    json!({ "name": mode.name.as_str(), "run": mode.run.iter().map(Glob::as_str).collect::<Vec<_>>() })
}

fn command_warnings_json(config: &Config) -> impl Iterator<Item = Value> {
    let warnings = config.command_warnings().into_iter();
    warnings.map(|(path, text)| {
        json!({ "path": path.as_str(), "field": "stop", "children": [], "text": format!("{path}: {text}") })
    })
}

fn value_warning_json(warning: &ValueWarning) -> Value {
    json!({
        "path": warning.child.as_str(),
        "field": warning.field,
        "children": [],
        "text": warning.to_string(),
    })
}

fn warning_json(warning: &SpecWarning) -> Value {
    let children: Vec<&str> = warning.children.iter().map(Name::as_str).collect();
    json!({
        "path": warning.path.as_str(),
        "field": warning.field,
        "children": children,
        "text": warning.to_string(),
    })
}

fn missing_json(program: &MissingProgram) -> Value {
    json!({ "path": program.path, "field": program.field, "children": [], "text": program.text })
}

fn supervisor_json(supervisor: &SupervisorConfig, path: &str) -> Value {
    let children: Vec<Value> = supervisor.children.iter().map(|child| child_json(child, path)).collect();
    json!({
        "strategy": supervisor.spec.strategy.as_str(),
        "intensity": supervisor.spec.intensity.as_ref().map(limit_json),
        "order": supervisor.spec.order.as_str(),
        "first_start": supervisor.spec.first_start.as_str(),
        "auto_shutdown": supervisor.spec.auto_shutdown.as_str(),
        "children": children,
    })
}

fn limit_json(limit: &Limit) -> Value {
    let give_up = limit.give_up.as_str();
    let mut document = match limit.restarts {
        // It is never exceeded.
        Limit::UNLIMITED => json!({ "restarts": "unlimited" }),
        restarts => json!({ "restarts": restarts, "period": limit.period.as_secs_f64(), "give_up": give_up }),
    };
    if let Some(retry_after) = limit.give_up.retry_after() {
        document["retry_after"] = json!(retry_after.as_secs_f64());
    }
    document
}

fn child_json(child: &ChildConfig, parent: &str) -> Value {
    let path = format!("{parent}/{}", child.name);
    let spec = &child.spec;
    let after =
        spec.after.iter().map(|edge| (edge.child.as_str().to_owned(), json!(edge.condition.as_str())));
    let grace = |need: &Need| (need.child.as_str().to_owned(), json!(need.grace.as_secs_f64()));
    let needs = spec.needs.iter().map(grace);
    let backoff = spec.backoff.as_ref().map(|backoff| {
        json!({
            "from": backoff.from.as_secs_f64(),
            "to": backoff.to.as_secs_f64(),
            "reset_after": backoff.reset_after.as_secs_f64(),
            "jitter": backoff.jitter.as_str(),
        })
    });
    let mut document = json!({
        "path": path,
        "line": child.line,
        "start": if spec.manual { "manual" } else { "auto" },
        "restart": spec.restart.as_str(),
        "backoff": backoff,
        "limit": spec.limit.as_ref().map(limit_json),
        "after": Value::Object(after.collect()),
        "needs": Value::Object(needs.collect()),
        "significant": spec.significant,
        "run_within": spec.run_within.map(|within| within.as_secs_f64()),
    });
    if let Some(description) = &spec.description {
        let tags: Vec<&str> = description.tags.iter().map(AsRef::as_ref).collect();
        document["title"] = json!(description.title.as_deref());
        document["tags"] = json!(tags);
        document["role"] = json!(description.role.map(Role::as_str));
        document["criticality"] = json!(description.criticality.map(Criticality::as_str));
    }
    match &child.form {
        Form::Program(program) => document["process"] = program_json(program, spec),
        Form::Kind(_) => {}
        Form::Supervisor(supervisor) => {
            document["stop_within"] = json!(unless_endless(spec.stop_within));
            document["kill_wait"] = json!(spec.kill_wait.as_secs_f64());
            document["supervisor"] = supervisor_json(supervisor, &path);
        }
    }
    document
}

/// Returns a time as a number of seconds, or `None` for a time without end.
fn unless_endless(time: Duration) -> Option<f64> {
    (time != Duration::MAX).then_some(time.as_secs_f64())
}

fn program_json(program: &ProgramConfig, spec: &ChildSpec) -> Value {
    let command = &program.command;
    let names: Vec<_> = command.env.keys().map(|name| name.to_string_lossy()).collect();
    let mut document = json!({
        "command": command_json(command),
        "cwd": command.cwd.as_ref().map(|folder| folder.display().to_string()),
        "env_names": names,
        "stdin": command.stdin.as_str(),
        "ready": program.ready.as_ref().map(probe_json),
        "checks": spec.checks().iter().zip(&program.checks).map(check_json).collect::<Vec<_>>(),
        "ready_within": spec.start_within.as_secs_f64(),
        "stop_signal": command.stop_signal.to_string(),
        "stop_ask": command.ask.as_str(),
        "stop_within": unless_endless(spec.stop_within),
        "kill_wait": spec.kill_wait.as_secs_f64(),
        "success": command.success,
        "restart_codes": spec.restart_codes.as_ref().map(|codes| &codes.codes),
    });
    if !spec.unready_for.is_zero() {
        document["unready_for"] = json!(spec.unready_for.as_secs_f64());
    }
    document
}

fn command_json(command: &CommandLine) -> Value {
    if let Some(script) = command.shell_line() {
        return json!({ "shell": script.to_string_lossy() });
    }
    let arguments: Vec<_> = command.args.iter().map(|word| word.to_string_lossy()).collect();
    json!({ "program": command.program.to_string_lossy(), "args": arguments })
}

fn check_json((check, probe): (&CheckSpec, &Probe)) -> Value {
    let mut document = probe_json(probe);
    document["name"] = json!(check.name.as_str());
    document["kind"] = json!(check.kind.as_str());
    document["every"] = json!(check.every.as_secs_f64());
    document["failures"] = json!(check.failures);
    document["successes"] = json!(check.successes);
    document["delay"] = json!(check.delay.as_secs_f64());
    document
}

fn probe_json(probe: &Probe) -> Value {
    let mut document = match probe.kind() {
        ProbeKind::Delay(delay) => json!({ "delay": delay.as_secs_f64() }),
        ProbeKind::Log(pattern) => json!({ "log": pattern.to_string() }),
        ProbeKind::Tcp(target) => json!({ "tcp": target.to_string() }),
        ProbeKind::Unix(path) => json!({ "unix": path.display().to_string() }),
        ProbeKind::File(path) => json!({ "file": path.display().to_string() }),
        ProbeKind::Command(command) => json!({ "command": command_json(command) }),
        ProbeKind::Http(url) => json!({ "http": url.to_string() }),
    };
    if probe.is_repeated() {
        document["every"] = json!(probe.interval().as_secs_f64());
        document["timeout"] = json!(probe.time_limit().as_secs_f64());
    }
    document
}
