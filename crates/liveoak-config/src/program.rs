//! The keys of a child that runs a program: what runs (`command`, `shell`), its surroundings (`cwd`, `env`, `env_file`),
//! when it is `ready`, and how it is stopped.

use crate::bounds::MAX_REPLICAS;
use crate::config::ProgramConfig;
use crate::diagnostic::{Checked, Diagnostic, Error};
use crate::duration::format_duration;
use crate::env_file;
use crate::keys::{OUTPUT, PROGRAM_STOP, READY};
use crate::reader::Reader;
use crate::table::{Node, Table};
use crate::text::{escaped, one_of};
use liveoak_core::ChildSpec;
use liveoak_process::{CommandLine, Probe, ProbeKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// Shell operators; as a separate argument almost always a mistake.
const SHELL_WORDS: [&str; 9] = ["|", "||", "&&", "&", ">", ">>", "<", "2>", "2>&1"];

const READY_EXAMPLE: &str = "ready = { tcp = \"127.0.0.1:7000\", within = \"10s\" }";

impl Reader<'_> {
    /// Reads a program; its deadlines go into `spec`. Records an error for a wrong value and returns a placeholder.
    pub(crate) fn program(&mut self, table: &Table<'_>, spec: &mut ChildSpec) -> ProgramConfig {
        let cwd = table.get("cwd").and_then(|node| self.path(node, "cwd = \"data\"", self.folder));
        let cwd = cwd.unwrap_or_else(|| self.folder.to_path_buf());
        let mut command = self.read_command(table, &cwd).cwd(&cwd);
        for (name, value) in self.variables(table) {
            command = command.env(name, value);
        }
        command = self.program_stop(table, command, spec);
        command = self.output(table, command);
        if let Some(codes) = table.get("success").and_then(|node| self.success(node)) {
            command = command.success(codes);
        }
        let ready = table.get("ready").and_then(|node| self.ready(node, &cwd, spec));
        let replicas = self.value(table, "replicas", |node| node.integer(1, MAX_REPLICAS, ""));
        ProgramConfig { command, ready, replicas: replicas.unwrap_or(1) }
    }

    /// Reads `command` or `shell`. Records an error for a wrong value and returns a placeholder.
    fn read_command(&mut self, table: &Table<'_>, cwd: &Path) -> CommandLine {
        let (command, shell) = (table.get("command"), table.get("shell"));
        if let (Some(command), Some(shell)) = (command, shell) {
            let error = shell.key_error("this child has both `command` and `shell`");
            let error = error.label("this runs in a shell");
            let error = error.related(command.key_span.clone(), "this runs without one");
            self.problems.push(error.help("keep one of the two"));
        }
        let command = command.and_then(|node| self.command(node, cwd));
        let script = self.value(table, "shell", |node| node.filled("shell = \"a | b\""));
        command.or(script.map(CommandLine::shell)).unwrap_or_else(|| CommandLine::new(""))
    }

    /// Reads a command, of a child or of a probe.
    fn command(&mut self, node: &Node<'_>, cwd: &Path) -> Option<CommandLine> {
        let mut words = self.record(words_of(node))?.into_iter();
        let program = words.next().unwrap_or_default();
        let program = match program.contains('/') {
            true => self.absolute(node, &program, cwd),
            false => PathBuf::from(program),
        };
        Some(CommandLine::new(program).args(words).cwd(cwd))
    }

    /// Reads `stop`: the signal of the command and the deadline of the child.
    fn program_stop(&mut self, table: &Table<'_>, command: CommandLine, spec: &mut ChildSpec) -> CommandLine {
        let example = "stop = { signal = \"SIGINT\", within = \"5s\" }";
        let what = "the `stop` of a program";
        let table = table.get("stop").and_then(|node| self.table_of(node, what, &PROGRAM_STOP, example));
        let Some(table) = table else { return command };
        let within = self.value(&table, "within", |node| node.duration(None));
        spec.stop_within = within.unwrap_or(spec.stop_within);
        match self.value(&table, "signal", Node::word) {
            Some(signal) => command.stop_signal(signal),
            None => command,
        }
    }

    /// Reads `output`.
    fn output(&mut self, table: &Table<'_>, command: CommandLine) -> CommandLine {
        let example = "output = { merge = true }";
        let table = table.get("output").and_then(|node| self.table_of(node, "`output`", &OUTPUT, example));
        let merge = table.and_then(|table| self.value(&table, "merge", |node| node.boolean("merge = true")));
        if merge == Some(true) { command.merge_output() } else { command }
    }

    fn success(&mut self, node: &Node<'_>) -> Option<Vec<i32>> {
        let Some(elements) = node.elements() else {
            self.problems.push(node.wrong_type("an array of exit codes", "success = [0, 3]"));
            return None;
        };
        if elements.is_empty() {
            let error =
                node.error(format!("`{}` is empty", node.path)).label("every exit would be a failure");
            self.problems.push(error.expected("at least one exit code, as in: success = [0, 3]"));
        }
        let mut codes = Vec::new();
        for element in &elements {
            let code = self.record(element.integer(0, 255, ""));
            codes.extend(code.filter(|code| !codes.contains(code)));
        }
        Some(codes)
    }

    /// Reads `env_file` and `env`; a variable of `env` wins over one of the file.
    fn variables(&mut self, table: &Table<'_>) -> Vec<(String, String)> {
        let mut variables = table.get("env_file").and_then(|node| self.env_file(node)).unwrap_or_default();
        let declared = self.value(table, "env", |node| node.table("`env`", "env = { MODE = \"dev\" }"));
        for node in declared.iter().flat_map(|table| &table.nodes) {
            if node.key.is_empty() || node.key.contains(['=', '\0']) {
                let error = node.key_error("this cannot be the name of a variable");
                let error = error.label("the name is empty, or has `=` or NUL in it");
                self.problems.push(error.expected("a name, as in: MODE"));
            }
            if let Some(value) = self.record(node.secret_string(&format!("{} = \"...\"", escaped(node.key))))
            {
                // The command line keeps the last value of a name.
                variables.push((node.key.to_owned(), value.to_owned()));
            }
        }
        variables
    }

    fn env_file(&mut self, node: &Node<'_>) -> Option<Vec<(String, String)>> {
        let path = self.path(node, "env_file = \".env\"", self.folder)?;
        if let Some(variables) = self.env_files.get(&path) {
            return Some(variables.clone());
        }
        let text = (self.open)(&path).map_err(|problem| {
            let error = node.error("this env_file cannot be read").label(problem.to_string());
            let help = format!("it was looked for at {}", path.display());
            error.expected("a file of KEY=VALUE lines").help(help)
        });
        let text = self.record(text)?;
        let (variables, errors) = env_file::parse(&text);
        if !errors.is_empty() {
            let shown = path.strip_prefix(self.folder).unwrap_or(&path).display().to_string();
            let source = self.problems.add_env_file(shown, text);
            for error in errors {
                let found = Diagnostic::at(error.span, &node.path, error.message);
                self.problems.push(found.help(error.help).in_source(source));
            }
        }
        self.env_files.insert(path, variables.clone());
        Some(variables)
    }

    /// Reads the `ready` of a program that runs in `cwd`: one probe, and the deadline, which goes into `spec`.
    fn ready(&mut self, node: &Node<'_>, cwd: &Path, spec: &mut ChildSpec) -> Option<Probe> {
        let table = self.table_of(node, "`ready`", &READY, READY_EXAMPLE)?;
        let within = self.value(&table, "within", |node| node.positive("a start always takes some time"));
        spec.start_within = within.unwrap_or(spec.start_within);
        let probes: Vec<&Node<'_>> =
            table.nodes.iter().filter(|node| READY.one_of.contains(&node.key)).collect();
        for second in probes.iter().skip(1) {
            let error = second.key_error("`ready` has more than one probe").label("one more");
            let error = error.related(probes[0].key_span.clone(), "the first one");
            let help = "keep one; to check several conditions, write a script as `command`";
            self.problems.push(error.help(help));
        }
        // Report the missing probe unless there is an unknown key, which has its own error.
        if probes.is_empty() && table.nodes.iter().all(|node| READY.has(node.key)) {
            let error = node.error(format!("`{}` has no probe", node.path));
            let expected = format!("{}, as in: {READY_EXAMPLE}", one_of(READY.one_of.iter().copied()));
            self.problems.push(error.label("nothing tells when it is ready").expected(expected));
        }
        let read = probes.iter().map(|node| self.probe(node, cwd, spec.start_within));
        read.fold(None, Option::or)
    }

    fn probe(&mut self, node: &Node<'_>, cwd: &Path, within: Duration) -> Option<Probe> {
        match node.key {
            "delay" => self.record(delay(node, within)),
            "log" => self.record(log(node)),
            "tcp" => self.record(tcp(node)),
            "http" => self.record(http(node)),
            "unix" => self.path(node, "unix = \"app.sock\"", cwd).map(Probe::unix),
            "file" => self.path(node, "file = \"app.pid\"", cwd).map(Probe::file),
            "command" => self.command(node, cwd).map(Probe::command),
            other => unreachable!("`{other}` is a probe in `READY`, but no arm reads it"),
        }
    }
}

/// Returns the words of a command: the elements of an array, or a string split as a shell would. The first is not blank.
fn words_of(node: &Node<'_>) -> Checked<Vec<String>> {
    let example = format!("{} = [\"redis-server\", \"--port\", \"7000\"]", node.key);
    let words = match (node.value, node.elements()) {
        (_, Some(elements)) => {
            elements.iter().map(|word| Ok(word.string(&example)?.to_owned())).collect::<Checked<Vec<_>>>()?
        }
        (DeValue::String(_), None) => split(node, node.filled(&example)?)?,
        _ => return Err(node.wrong_type("an array of strings or a string", &example)),
    };
    if words.first().is_none_or(|program| program.trim().is_empty()) {
        let error = node.error(format!("`{}` names no program", node.path)).label("nothing to run");
        return Err(error.expected(format!("a program and its arguments, as in: {example}")));
    }
    Ok(words)
}

fn split(node: &Node<'_>, text: &str) -> Checked<Vec<String>> {
    let words = shlex::split(text).ok_or_else(|| {
        let error = node.error(format!("`{}` cannot be split into words", node.path));
        let error = error.label("a quote is opened and not closed, or a `\\` stands at the end");
        error.help("close it, or write an array of words: then nothing needs quotes")
    })?;
    // Report the operator only if it is a bare word in the raw text (not `grep '|'`) and after splitting (not `'a | b'`).
    let bare =
        |word: &&&str| words.iter().any(|w| w == **word) && text.split_whitespace().any(|w| w == **word);
    match SHELL_WORDS.iter().find(bare) {
        None => Ok(words),
        Some(word) => {
            let error = node.error(format!("`{word}` has no meaning here: no shell runs"));
            let help = "write shell = \"...\" instead, or an array of words if it is meant literally";
            Err(error.label("the program would get it as a word").help(help))
        }
    }
}

fn delay(node: &Node<'_>, within: Duration) -> Checked<Probe> {
    let delay = node.finite()?;
    if delay >= within {
        let error = node.error("this delay does not end before the deadline of the start");
        let error =
            error.label(format!("{}, but `within` is {}", format_duration(delay), format_duration(within)));
        return Err(error.help("lengthen `within` of the same table, or shorten the delay"));
    }
    Ok(Probe::delay(delay))
}

fn log(node: &Node<'_>) -> Checked<Probe> {
    let example = "log = \"listening on\"";
    Probe::log(node.filled(example)?).map_err(|problem| {
        let error = node.error(format!("`{}` is no regular expression", node.path));
        let expected = format!("a regular expression for a line of output, as in: {example}");
        error
            .label(problem.reason())
            .expected(expected)
            .help("put `\\\\` before a character that is meant literally, such as `(`; in '…' a single `\\`")
    })
}

fn tcp(node: &Node<'_>) -> Checked<Probe> {
    let (what, example) = ("an address and a port", "tcp = \"127.0.0.1:7000\"");
    let probe = Probe::tcp(node.filled(example)?);
    let probe = probe.map_err(|problem| refused(node, problem.reason(), what, example))?;
    // In a file the host is required.
    match probe.kind() {
        ProbeKind::Tcp(target) if target.host().is_none() => {
            Err(refused(node, "it has no host before the port".to_owned(), what, example))
        }
        _ => Ok(probe),
    }
}

fn http(node: &Node<'_>) -> Checked<Probe> {
    let (what, example) = ("a URL", "http = \"http://127.0.0.1:8080/health\"");
    let url = node.filled(example)?;
    let probe = Probe::http(url).map_err(|problem| refused(node, problem.reason(), what, example))?;
    if url.contains('#') {
        let problem = "it has a fragment (`#`), which is never sent to a server".to_owned();
        return Err(refused(node, problem, "a URL without fragment", example));
    }
    Ok(probe)
}

/// Returns the error for an address that the library does not take.
fn refused(node: &Node<'_>, problem: String, what: &str, example: &str) -> Error {
    let error = node.error(format!("`{}` must be {what}", node.path)).label(problem);
    error.expected(format!("{what}, as in: {example}"))
}
