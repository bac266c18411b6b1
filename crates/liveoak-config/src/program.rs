//! The keys of a child that runs a program.

use crate::bounds::MAX_REPLICAS;
use crate::config::Program;
use crate::diagnostic::Diagnostic;
use crate::env_file;
use crate::keys::PROGRAM_STOP;
use crate::reader::Reader;
use crate::table::{Infinity, Node, Table};
use crate::text::shown;
use liveoak_core::ChildSpec;
use liveoak_process::CommandLine;
use std::time::Duration;

impl Reader<'_> {
    /// Reads a child that runs a program; its deadlines go into `spec`. Wrong values are recorded and stand-ins returned.
    pub(crate) fn program(&mut self, table: &Table<'_>, spec: &mut ChildSpec) -> Program {
        let cwd = match table
            .get("cwd")
            .and_then(|node| node.filled("cwd = \"data\"", &mut self.problems).zip(Some(node)))
        {
            Some((text, node)) => self.path(node, text, self.folder),
            None => self.folder.to_path_buf(),
        };
        let mut command = self.what_to_run(table, &cwd).cwd(&cwd);
        for (name, value) in self.variables(table) {
            command = command.env(name, value);
        }
        command = self.program_stop(table, command, spec);
        if let Some(codes) = table.get("success").and_then(|node| self.success(node)) {
            command = command.success(codes);
        }
        let ready = table.get("ready").and_then(|node| self.ready(node, &cwd, spec));
        let replicas =
            table.get("replicas").and_then(|node| node.integer(1, MAX_REPLICAS, "", &mut self.problems));
        Program { command, ready, replicas: replicas.and_then(|n| u16::try_from(n).ok()).unwrap_or(1) }
    }

    /// Reads `stop`: the signal of the command and the deadline of the child.
    fn program_stop(&mut self, table: &Table<'_>, command: CommandLine, spec: &mut ChildSpec) -> CommandLine {
        let Some(node) = table.get("stop") else { return command };
        let example = "stop = { signal = \"SIGINT\", within = \"5s\" }";
        let what = "the `stop` of a program";
        let Some(table) = node.table_of(what, &PROGRAM_STOP, example, &mut self.problems) else {
            return command;
        };
        let within = table.get("within");
        if let Some(within) = within.and_then(|node| node.duration(Infinity::Allowed, &mut self.problems)) {
            spec.stop_within = within.unwrap_or(Duration::MAX);
        }
        match table.word("signal", &mut self.problems) {
            Some(signal) => command.stop_signal(signal),
            None => command,
        }
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
            let code =
                element.integer(0, 255, "", &mut self.problems).and_then(|code| i32::try_from(code).ok());
            if let Some(code) = code.filter(|code| !codes.contains(code)) {
                codes.push(code);
            }
        }
        Some(codes)
    }

    /// Reads `env_file` and `env`; a variable of `env` wins over one of the file.
    fn variables(&mut self, table: &Table<'_>) -> Vec<(String, String)> {
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
