//! The keys of a child that runs a program.

use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::defaults::{self, MAX_REPLICAS};
use super::diagnostic::Diagnostic;
use super::read::Reader;
use super::table::{Infinity, Node, Table, shown};
use super::values::Signal;
use super::{Command, Process, env_file, keys};

/// Words that mean something to a shell and, alone, to hardly any program.
const SHELL_WORDS: [&str; 9] = ["|", "||", "&&", "&", ">", ">>", "<", "2>", "2>&1"];

impl Reader<'_> {
    /// Reads a child that runs a program. Wrong values are recorded and stand-ins returned.
    pub(super) fn process(&mut self, table: &Table<'_>) -> Process {
        let cwd = match table
            .get("cwd")
            .and_then(|node| node.filled("cwd = \"data\"", &mut self.problems).zip(Some(node)))
        {
            Some((text, node)) => self.path(node, text, self.folder),
            None => self.folder.to_path_buf(),
        };
        let command = self.what_to_run(table, &cwd);
        let (stop_signal, stop_within) = self.process_stop(table);
        let replicas =
            table.get("replicas").and_then(|node| node.integer(1, MAX_REPLICAS, "", &mut self.problems));
        Process {
            command,
            env: self.env(table),
            ready: self.ready(table, &cwd),
            cwd,
            stop_signal: stop_signal.unwrap_or(Signal::Term),
            stop_within,
            success: self.success(table),
            replicas: replicas.and_then(|n| u16::try_from(n).ok()).unwrap_or(1),
        }
    }

    fn what_to_run(&mut self, table: &Table<'_>, cwd: &Path) -> Command {
        let (command, shell) = (table.get("command"), table.get("shell"));
        if let (Some(command), Some(shell)) = (command, shell) {
            let error = shell.key_error("this child has both `command` and `shell`");
            let error = error
                .label("this runs in a shell")
                .related(command.key_span.clone(), "this runs without one");
            self.problems.push(error.help("keep one of the two"));
        }
        let command = command.and_then(|node| self.command(node, cwd));
        let script = shell.and_then(|node| node.filled("shell = \"a | b\"", &mut self.problems));
        command
            .or(script.map(|script| Command::Shell(script.to_owned())))
            .unwrap_or(Command::Shell(String::new()))
    }

    /// Reads a command: an array of words, or a string that is split into words as a shell would.
    pub(super) fn command(&mut self, node: &Node<'_>, cwd: &Path) -> Option<Command> {
        let example = format!("{} = [\"redis-server\", \"--port\", \"7000\"]", node.key);
        let words = match (node.value, node.elements()) {
            (_, Some(elements)) => {
                let mut words = Vec::new();
                for element in &elements {
                    words.push(element.string(&example, &mut self.problems)?.to_owned());
                }
                words
            }
            (DeValue::String(_), None) => {
                let text = node.filled(&example, &mut self.problems)?;
                self.split(node, text)?
            }
            _ => {
                self.problems.push(node.wrong_type("an array of strings or a string", &example));
                return None;
            }
        };
        let mut words = words.into_iter();
        let Some(program) = words.next().filter(|program| !program.trim().is_empty()) else {
            let error = node.error(format!("`{}` names no program", node.path)).label("nothing to run");
            self.problems.push(error.expected(format!("a program and its arguments, as in: {example}")));
            return None;
        };
        let program = match program.contains('/') {
            true => self.path(node, &program, cwd),
            false => PathBuf::from(program),
        };
        Some(Command::Argv { program, args: words.collect() })
    }

    fn split(&mut self, node: &Node<'_>, text: &str) -> Option<Vec<String>> {
        let Some(words) = shlex::split(text) else {
            let error = node.error(format!("`{}` cannot be split into words", node.path));
            let error = error.label("a quote is opened and not closed, or a `\\` stands at the end");
            self.problems.push(error.help("close it, or write an array of words: then nothing needs quotes"));
            return None;
        };
        // Both must hold: `grep 'a | b'` has the word only before quotes are minded, `grep '|'` only after.
        let bare =
            |word: &&&str| words.iter().any(|w| w == **word) && text.split_whitespace().any(|w| w == **word);
        if let Some(word) = SHELL_WORDS.iter().find(bare) {
            let error = node.error(format!("`{word}` has no meaning here: no shell runs"));
            let error = error.label("it would be handed to the program as a word");
            self.problems.push(
                error.help("write shell = \"...\" instead, or an array of words if it is meant literally"),
            );
            return None;
        }
        Some(words)
    }

    /// Makes a path absolute, and records it when it begins with what only a shell expands.
    pub(super) fn path(&mut self, node: &Node<'_>, text: &str, folder: &Path) -> PathBuf {
        if text == "~" || text.starts_with("~/") {
            let error = node.error(format!("`~` is not expanded in `{}`", node.path));
            let help = "write the whole path, or one relative to the folder of this file";
            self.problems.push(error.label("only a shell expands it").help(help));
        }
        // Going through the components drops the `./` in front, so that equal paths are equal.
        folder.join(text).components().collect()
    }

    fn process_stop(&mut self, table: &Table<'_>) -> (Option<Signal>, Option<std::time::Duration>) {
        let default = Some(defaults::CHILD_STOP);
        let Some(node) = table.get("stop") else { return (None, default) };
        let example = "stop = { signal = \"SIGINT\", within = \"5s\" }";
        let what = "the `stop` of a program";
        let Some(table) = node.table_of(what, keys::PROCESS_STOP, example, &mut self.problems) else {
            return (None, default);
        };
        let signal = table.get("signal").and_then(|node| node.word(&mut self.problems));
        let within =
            table.get("within").and_then(|node| node.duration(Infinity::Allowed, &mut self.problems));
        (signal, within.unwrap_or(default))
    }

    fn success(&mut self, table: &Table<'_>) -> Vec<u8> {
        let default = vec![defaults::SUCCESS];
        let Some(node) = table.get("success") else { return default };
        let Some(elements) = node.elements() else {
            self.problems.push(node.wrong_type("an array of exit codes", "success = [0, 3]"));
            return default;
        };
        if elements.is_empty() {
            let error =
                node.error(format!("`{}` is empty", node.path)).label("every exit would be a failure");
            self.problems.push(error.expected("at least one exit code, as in: success = [0, 3]"));
        }
        let mut codes = Vec::new();
        for element in &elements {
            let code =
                element.integer(0, 255, "", &mut self.problems).and_then(|code| u8::try_from(code).ok());
            if let Some(code) = code.filter(|code| !codes.contains(code)) {
                codes.push(code);
            }
        }
        codes
    }

    /// Reads `env_file` and `env`; the latter wins.
    fn env(&mut self, table: &Table<'_>) -> Vec<(String, String)> {
        let mut variables = table.get("env_file").map(|node| self.env_file(node)).unwrap_or_default();
        let example = "env = { MODE = \"dev\" }";
        let declared = table.get("env").and_then(|node| node.table("`env`", example, &mut self.problems));
        for node in declared.iter().flat_map(|table| &table.nodes) {
            if node.key.is_empty() || node.key.contains(['=', '\0']) {
                let error = node.key_error("this cannot be the name of a variable");
                let error = error.label("the name is empty, or has `=` or NUL in it");
                self.problems.push(error.expected("a name, as in: MODE"));
            }
            let Some(value) = node.string(&format!("{} = \"...\"", shown(node.key)), &mut self.problems)
            else {
                continue;
            };
            match variables.iter_mut().find(|(name, _)| name == node.key) {
                Some((_, known)) => value.clone_into(known),
                None => variables.push((node.key.to_owned(), value.to_owned())),
            }
        }
        variables
    }

    fn env_file(&mut self, node: &Node<'_>) -> Vec<(String, String)> {
        let Some(text) = node.filled("env_file = \".env\"", &mut self.problems) else { return Vec::new() };
        let path = self.path(node, text, self.folder);
        if let Some(variables) = self.env_files.get(&path) {
            return variables.clone();
        }
        let text = match (self.open)(&path) {
            Ok(text) => text,
            Err(problem) => {
                let error = node.error("this env_file cannot be read").label(problem.to_string());
                let help = format!("it was looked for at {}", path.display());
                self.problems.push(error.expected("a file of KEY=VALUE lines").help(help));
                return Vec::new();
            }
        };
        let (variables, errors) = env_file::parse(&text);
        if !errors.is_empty() {
            let shown = path.strip_prefix(self.folder).unwrap_or(&path).display().to_string();
            let source = self.problems.add_source(shown, text);
            for error in errors {
                let found = Diagnostic::at(error.span, &node.path, error.message);
                self.problems.push(found.help(error.help).in_source(source));
            }
        }
        self.env_files.insert(path, variables.clone());
        variables
    }
}
