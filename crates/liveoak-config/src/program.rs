//! The keys of a child that runs a program: what runs (`command`, `shell`), its `cwd`, when it is `ready`, and how it is
//! stopped. `variables` reads `env` and `env_file`.

use crate::bounds::{MAX_CHILDREN, MAX_SOCKET_NAME};
use crate::config::{ProgramConfig, ReplicaConfig};
use crate::diagnostic::{Checked, Diagnostic, Error, Span};
use crate::duration::format_duration;
use crate::keys::{OUTPUT, PROGRAM_STOP, READY};
use crate::reader::Reader;
use crate::replica::Filled;
use crate::shell_syntax::{self, Kind};
use crate::table::{Node, Table};
use crate::text::escaped;
use liveoak_core::{ChildSpec, Ready, RestartCodes};
use liveoak_process::{CommandLine, Probe, ProbeKind, Stdin};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

const READY_EXAMPLE: &str = "ready = { tcp = \"127.0.0.1:7000\", within = \"10s\" }";

impl Reader<'_> {
    /// Reads a program; its deadlines go into `spec`. Records an error for a wrong value and returns a placeholder.
    pub(crate) fn program(&mut self, table: &Table<'_>, spec: &mut ChildSpec) -> ProgramConfig {
        let replicas = self.replicas(table);
        let before = self.problems.count();
        // Without a probe the child reports that it is ready as soon as the program runs.
        spec.ready = Ready::Reported;
        self.check_replica_words(table, replicas);
        let stdin = table.get("stdin").and_then(|node| self.stdin(node, replicas));
        let filled = Filled::new(table, 1, replicas);
        let ReplicaConfig { command, ready, checks } = self.replica(&filled.table(table), spec, stdin);
        spec.restart_codes = table.get("restart_codes").and_then(|node| self.restart_codes(node, &command));
        let mut others = Vec::new();
        for number in 2..=replicas {
            // If the text is the same for all replicas, they share it. If it has an error, reading it again would only repeat the error.
            if !filled.has_any() || self.problems.count() > before || self.children > MAX_CHILDREN {
                break;
            }
            let filled = Filled::new(table, number, replicas);
            others.push(self.replica(&filled.table(table), spec, stdin));
        }
        ProgramConfig { command, ready, checks, replicas, replica: 1, others }
    }

    /// Reads what a replica runs and how it is checked, from a table with its number filled in.
    fn replica(&mut self, table: &Table<'_>, spec: &mut ChildSpec, stdin: Option<Stdin>) -> ReplicaConfig {
        let cwd = table.get("cwd").and_then(|node| self.path(node, "cwd = \"data\"", self.folder));
        let cwd = cwd.unwrap_or_else(|| self.folder.to_path_buf());
        let mut command = self.read_command(table, &cwd).cwd(&cwd);
        for (name, value) in self.variables(table) {
            command = command.env(name, value);
        }
        command = self.defaults.apply_to_command(command);
        command = self.program_stop(table, command, spec);
        command = self.output(table, command);
        if let Some(codes) =
            table.get("success").and_then(|node| self.exit_codes(node, "every exit would be a failure"))
        {
            command = command.success(codes);
        }
        self.start_within(table, spec);
        let ready = table.get("ready").and_then(|node| self.ready(node, &cwd, spec));
        if let Some(stdin) = stdin {
            command = command.stdin(stdin);
        }
        let checks = self.checks(table, &cwd, spec);
        ReplicaConfig { command, ready, checks }
    }

    /// Reads `stdin`. Only one child of a file, and no replica set, may have the input of liveoak.
    fn stdin(&mut self, node: &Node<'_>, replicas: u16) -> Option<Stdin> {
        let stdin = self.record(node.word())?;
        if stdin == Stdin::Inherit {
            let help = "give the others stdin = \"open\" (a pipe that never ends), or leave `stdin` out";
            if let Some(first) = &self.inherits_stdin {
                let error = node.error("a second child has `stdin = \"inherit\"`").label("one more");
                let error = error.related(first.clone(), "the first one");
                self.problems
                    .push(error.expected("one child of the file, because they would share it").help(help));
            } else if replicas > 1 {
                let error = node.error("replicas cannot have `stdin = \"inherit\"`");
                let error = error.label(format!("{replicas} replicas would share one input"));
                self.problems.push(error.expected("one child of the file").help(help));
            }
            self.inherits_stdin.get_or_insert_with(|| node.span.clone());
        }
        Some(stdin)
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
        let words = words_of(node).and_then(|words| self.without_shell_syntax(node, words));
        let mut words = self.record(words)?.into_iter();
        let program = words.next().unwrap_or_default();
        let program = match program.contains('/') {
            true => self.absolute(node, &program, cwd)?,
            false => PathBuf::from(program),
        };
        Some(CommandLine::new(program).args(words).cwd(cwd))
    }

    /// Returns the words of a command, or an error if the command is one string with shell syntax.
    fn without_shell_syntax(&self, node: &Node<'_>, words: Vec<String>) -> Checked<Vec<String>> {
        let DeValue::String(text) = node.value else { return Ok(words) };
        let Some(found) = shell_syntax::find(text) else { return Ok(words) };
        let shown = escaped(&text[found.range.clone()]);
        // A check has no `shell`.
        let of_child = node.path.rsplit('.').nth(2) == Some("child");
        let in_shell = if of_child { "write shell = \"...\"" } else { "write [\"sh\", \"-c\", \"...\"]" };
        let quote = self.how_to_quote(node, found.in_double);
        let literally = format!("{quote}, or an array of words if it is meant literally");
        let builtin = shell_syntax::advice_for_builtin(&text[found.range.clone()]).unwrap_or_default();
        let (message, label, help) = match found.kind {
            Kind::Operator => (
                format!("`{shown}` has no meaning here: no shell runs"),
                "the program would get it as it stands",
                format!("{in_shell} instead; or {literally}"),
            ),
            Kind::Assignment => {
                let name = shown.trim_end_matches('=');
                let env = format!("`env` in front, as in: {} = \"env {name}=... program\"", node.key);
                (
                    format!("`{name}=...` in front of a program has no meaning here: no shell runs"),
                    "this would be the program",
                    if of_child {
                        format!("write env = {{ {name} = \"...\" }}, or {env}")
                    } else {
                        format!("write {env}")
                    },
                )
            }
            Kind::Expansion | Kind::Glob | Kind::Braces | Kind::Home => (
                format!("`{shown}` is not expanded in `{}`: no shell runs", node.path),
                "the program would get it literally",
                format!("{in_shell} instead; or {literally}"),
            ),
            Kind::Builtin => (
                format!("`{shown}` is a command of the shell, and no shell runs"),
                "this is not a program of its own",
                if of_child { builtin.to_owned() } else { format!("{in_shell} instead") },
            ),
        };
        let error = Diagnostic::at(self.part_of(node, &found.range), &node.path, message);
        Err(error.label(label).help(help))
    }

    /// Returns the advice how shell syntax is made literal. Single quotes have no effect inside double quotes, and a
    /// TOML string in single quotes cannot contain any.
    fn how_to_quote(&self, node: &Node<'_>, in_double: bool) -> String {
        let raw = self.problems.sources[0].text.get(node.span.clone()).unwrap_or_default();
        let is_literal = raw.starts_with('\'');
        let backslash = if is_literal { "`\\`" } else { "`\\\\`" };
        match (is_literal && !raw.starts_with("'''"), in_double) {
            (true, _) => format!("put {backslash} before each such character"),
            (false, true) => format!("put '...' in place of the double quotes, or {backslash} before it"),
            (false, false) => "put '...' around it".to_owned(),
        }
    }

    /// Returns the place of a part of a string in the file. If the string has escapes, returns the place of the whole string.
    fn part_of(&self, node: &Node<'_>, part: &Span) -> Span {
        let DeValue::String(text) = node.value else { return node.span.clone() };
        let raw = self.problems.sources[0].text.get(node.span.clone()).unwrap_or_default();
        let quotes = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quotes| raw.starts_with(quotes))
            .map_or(0, str::len);
        let inner = raw.get(quotes..raw.len().saturating_sub(quotes));
        if inner != Some(text.as_ref()) {
            return node.span.clone();
        }
        let start = node.span.start + quotes;
        start + part.start..start + part.end
    }

    /// Reads `stop`: the signal of the command, which processes get it, and the deadline of the child.
    fn program_stop(&mut self, table: &Table<'_>, command: CommandLine, spec: &mut ChildSpec) -> CommandLine {
        let example = "stop = { signal = \"SIGINT\", within = \"5s\" }";
        let what = "the `stop` of a program";
        let table = table.get("stop").and_then(|node| self.table_of(node, what, &PROGRAM_STOP, example));
        let Some(table) = table else { return command };
        let within = self.value(&table, "within", |node| node.duration(None));
        if let Some(within) = within {
            spec.set_stop_within(within);
        }
        self.kill_wait(&table, spec);
        if spec.stop_within.is_zero() {
            self.refuse_beside_kill(&table);
        } else if let Some(time) = self.value(&table, "unready_for", Node::finite) {
            spec.set_unready_for(time);
        }
        let signal = self.value(&table, "signal", Node::word).unwrap_or(command.stop_signal);
        let ask = self.value(&table, "ask", Node::word).unwrap_or(command.ask);
        command.stop_signal(signal).ask(ask)
    }

    /// Records an error for each key of a `stop` that only a request to stop would use.
    fn refuse_beside_kill(&mut self, stop: &Table<'_>) {
        for node in ["signal", "ask", "unready_for"].into_iter().filter_map(|key| stop.get(key)) {
            let error = node.key_error(format!("`{}` has no effect with within = \"0s\"", node.key));
            let error = error.label("the program is killed at once, and not asked before");
            self.problems.push(error.help(format!("remove `{}`, or write a longer `within`", node.key)));
        }
    }

    /// Reads the `kill_wait` of a `stop`.
    pub(crate) fn kill_wait(&mut self, stop: &Table<'_>, spec: &mut ChildSpec) {
        let zero = "a kill takes a moment, so with 0 every kill would be reported as `abandoned`";
        if let Some(wait) = self.value(stop, "kill_wait", |node| node.positive(zero)) {
            spec.set_kill_wait(wait);
        }
    }

    /// Reads `output`.
    fn output(&mut self, table: &Table<'_>, mut command: CommandLine) -> CommandLine {
        let example = "output = { merge = true }";
        let table = table.get("output").and_then(|node| self.table_of(node, "`output`", &OUTPUT, example));
        let merge = table.and_then(|table| self.value(&table, "merge", |node| node.boolean("merge = true")));
        command.merge_output = merge.unwrap_or(command.merge_output);
        command
    }

    /// Reads `restart_codes`. The core compares the codes with those of `success`.
    fn restart_codes(&mut self, node: &Node<'_>, command: &CommandLine) -> Option<Box<RestartCodes>> {
        let codes = self.exit_codes(node, "no exit would ask for a restart")?;
        // An empty list has an error already.
        (!codes.is_empty()).then(|| Box::new(RestartCodes { codes, success: command.success.clone() }))
    }

    /// Reads `success` or `restart_codes`. An empty list is an error; `why_not` says what it would mean.
    fn exit_codes(&mut self, node: &Node<'_>, why_not: &str) -> Option<Vec<i32>> {
        let example = if node.key == "success" { "success = [0, 3]" } else { "restart_codes = [75]" };
        let Some(elements) = node.elements() else {
            self.problems.push(node.wrong_type("an array of exit codes", example));
            return None;
        };
        if elements.is_empty() {
            let error = node.error(format!("`{}` is empty", node.path)).label(why_not);
            self.problems.push(error.expected(format!("at least one exit code, as in: {example}")));
        }
        let mut codes = Vec::new();
        for element in &elements {
            let code = self.record(element.integer(0, 255, ""));
            codes.extend(code.filter(|code| !codes.contains(code)));
        }
        Some(codes)
    }

    /// Reads `start_within`. Only a program that reports readiness, or waits for a sibling, can miss the deadline.
    fn start_within(&mut self, table: &Table<'_>, spec: &mut ChildSpec) {
        let Some(node) = table.get("start_within") else { return };
        let within = self.record(node.positive("a start always takes some time"));
        if let Some(within) = within {
            spec.set_start_within(within);
        }
        if table.get("ready").is_none() && spec.after.is_empty() && spec.needs.is_empty() {
            let error =
                node.key_error("`start_within` has no effect on a program that is ready as soon as it runs");
            self.problems.push(error.help("remove it, or say with `ready` when the program is ready"));
        }
        let alias = table.get("ready").and_then(|ready| ready.table("`ready`", READY_EXAMPLE).ok());
        if let Some(alias) = alias.as_ref().and_then(|ready| ready.get("within")) {
            let error = node.key_error("`within` and `start_within` are the same deadline");
            let error = error.related(alias.key_span.clone(), "the same deadline");
            self.problems.push(error.help("keep one of the two"));
        }
    }

    /// Reads the `ready` of a program that runs in `cwd`: one probe, and the deadline, which goes into `spec`.
    fn ready(&mut self, node: &Node<'_>, cwd: &Path, spec: &mut ChildSpec) -> Option<Probe> {
        let table = self.table_of(node, "`ready`", &READY, READY_EXAMPLE)?;
        let within = self.value(&table, "within", |node| node.positive("a start always takes some time"));
        if let Some(within) = within {
            spec.set_start_within(within);
        }
        let probe = self.one_probe(node, &table, &READY, READY_EXAMPLE, (cwd, spec.start_within));
        let why = "without any pause, the tries would need a whole processor";
        let every = self.value(&table, "every", |node| node.positive(why));
        let timeout = self.value(&table, "timeout", |node| node.positive("a try always takes some time"));
        let probe = probe?;
        if !probe.is_repeated() {
            let mut keys = table.nodes.iter().map(|node| node.key);
            let probe_key = keys.find(|key| READY.one_of.contains(key)).unwrap_or_default();
            for node in ["every", "timeout"].iter().filter_map(|key| table.get(key)) {
                let error = node.key_error(format!("`{}` has no effect with `{probe_key}`", node.key));
                let error = error.label("this probe is not tried repeatedly");
                self.problems.push(error.help("remove it; `within` bounds the whole start"));
            }
        }
        let probe = every.into_iter().fold(probe, Probe::every);
        Some(timeout.into_iter().fold(probe, Probe::timeout))
    }

    pub(crate) fn probe(&mut self, node: &Node<'_>, cwd: &Path, within: Duration) -> Option<Probe> {
        match node.key {
            "delay" => self.record(delay(node, within)),
            "log" => self.record(log(node)),
            "tcp" => self.record(tcp(node)),
            "http" => self.record(http(node)),
            "unix" => self.socket(node, cwd).map(Probe::unix),
            "file" => self.path(node, "file = \"app.pid\"", cwd).map(Probe::file),
            "command" => self.command(node, cwd).map(Probe::command),
            other => unreachable!("`{other}` is a probe in `READY`, but no arm reads it"),
        }
    }

    /// Reads the path of a unix socket. The path may be long, but not the name: a server cannot bind a longer one.
    fn socket(&mut self, node: &Node<'_>, cwd: &Path) -> Option<PathBuf> {
        let path = self.path(node, "unix = \"app.sock\"", cwd)?;
        let name = path.file_name().map_or(0, std::ffi::OsStr::len);
        if !(1..=MAX_SOCKET_NAME).contains(&name) {
            let error = node.error(format!("`{}` cannot be the path of a socket", node.path));
            let error = error.label(match name {
                0 => "it names a folder".to_owned(),
                _ => format!("the name of the socket has {name} bytes"),
            });
            self.problems
                .push(error.expected(format!("a name of 1 to {MAX_SOCKET_NAME} bytes in any folder")));
        }
        Some(path)
    }
}

/// Returns the words of a command: the elements of an array, or a string split as a shell would. The first word is not blank.
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
    shlex::split(text).ok_or_else(|| {
        let error = node.error(format!("`{}` cannot be split into words", node.path));
        let error = error.label("a quote is not closed, or a `\\` stands at the end");
        error.help("close the quote, or write an array of words, which needs no quotes")
    })
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
        let error = node.error(format!("`{}` is not a regular expression", node.path));
        let expected = format!("a regular expression for a line of output, as in: {example}");
        error
            .label(problem.reason())
            .expected(expected)
            .help("put `\\\\` before a character that is meant literally, such as `(`; in '…' a single `\\`")
    })
}

fn tcp(node: &Node<'_>) -> Checked<Probe> {
    let (what, example) = ("an address and a port", "tcp = \"127.0.0.1:7000\"");
    address(node, what, example, tcp_of, |text| {
        let (host, port) = text.rsplit_once(':').unwrap_or_default();
        vec![
            format!("127.0.0.1:{text}"),
            format!("127.0.0.1{text}"),
            format!("[{host}]:{port}"),
            after_scheme(text).split('/').next().unwrap_or_default().to_owned(),
            text.split_whitespace().collect::<Vec<_>>().join(":"),
        ]
    })
}

/// Reads the address of a TCP probe. In a file the host is required.
fn tcp_of(text: &str) -> Result<Probe, String> {
    let probe = Probe::tcp(text).map_err(|problem| problem.reason())?;
    match probe.kind() {
        ProbeKind::Tcp(target) if target.host().is_none() => Err("it has no host before the port".to_owned()),
        _ => Ok(probe),
    }
}

fn http(node: &Node<'_>) -> Checked<Probe> {
    let (what, example) = ("a URL", "http = \"http://127.0.0.1:8080/health\"");
    address(node, what, example, http_of, |text| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let port = text.split('/').next().unwrap_or_default();
        match (text.split_once('#'), text.strip_prefix(':')) {
            (Some((url, _)), _) => vec![url.to_owned()],
            (None, Some(rest)) => vec![format!("http://127.0.0.1:{rest}")],
            (None, None) if digits(port) => vec![format!("http://127.0.0.1:{text}")],
            (None, None) if !text.contains("://") => {
                vec![format!("http://{}", text.strip_prefix("//").unwrap_or(text))]
            }
            (None, None) => Vec::new(),
        }
    })
}

/// Reads the URL of an HTTP probe. In a file a fragment is an error.
fn http_of(text: &str) -> Result<Probe, String> {
    let probe = Probe::http(text).map_err(|problem| problem.reason())?;
    if text.contains('#') {
        return Err("it has a fragment (`#`), which is never sent to a server".to_owned());
    }
    Ok(probe)
}

/// Returns what follows `scheme://`, or the whole text.
fn after_scheme(text: &str) -> &str {
    text.split_once("://").map_or(text, |(_, rest)| rest)
}

/// Reads an address or URL with `read`. If the value is wrong (it may even be a bare number), the error suggests the first of
/// the `guesses` that is accepted.
fn address(
    node: &Node<'_>,
    what: &str,
    example: &str,
    read: fn(&str) -> Result<Probe, String>,
    guesses: impl Fn(&str) -> Vec<String>,
) -> Checked<Probe> {
    let (text, error) = match node.value {
        DeValue::String(_) => {
            let text = node.filled(example)?;
            match read(text) {
                Ok(probe) => return Ok(probe),
                Err(problem) => (text, refused(node, problem, what, example)),
            }
        }
        DeValue::Integer(digits) => (digits.as_str(), node.wrong_type(what, example)),
        _ => return Err(node.wrong_type(what, example)),
    };
    let fitting = guesses(text.trim()).into_iter().find(|guess| read(guess).is_ok());
    Err(error.help_if(fitting.map(|guess| format!("write {} = \"{guess}\"", node.key))))
}

/// Returns the error for an address that the library does not take.
fn refused(node: &Node<'_>, problem: String, what: &str, example: &str) -> Error {
    let error = node.error(format!("`{}` must be {what}", node.path)).label(problem);
    error.expected(format!("{what}, as in: {example}"))
}
