//! The variables of a program: `env` and `env_file`.
//!
//! Values are taken literally. A value that a shell would expand is correct, but probably a mistake, so it is a
//! [`ValueWarning`].

use crate::bounds::MAX_SHOWN;
use crate::config::ValueWarning;
use crate::diagnostic::Diagnostic;
use crate::env_file::{self, EnvFile};
use crate::reader::Reader;
use crate::replica::has_replica_word;
use crate::source::{NotUtf8, Unreadable, is_stdin};
use crate::table::{Node, Table};
use crate::text::escaped;
use liveoak_core::Path as TreePath;
use liveoak_process::IDENTITY_VARIABLES;
use std::collections::HashSet;
use std::path::Path;

/// What to do about a value that a shell would expand.
const EXPAND_IN_SHELL: &str =
    "write the whole value, or let a shell make it, as in: shell = \"NAME=... exec program\"";

/// The most variables of an env file that one warning names. The others are counted.
const MAX_NAMES: usize = 12;

impl Reader<'_> {
    /// Reads `env_file` and `env`. A variable of `env` overrides one of the file.
    pub(crate) fn variables(&mut self, table: &Table<'_>) -> Vec<(String, String)> {
        let file = table.get("env_file").and_then(|node| self.env_file(node)).unwrap_or_default();
        let mut variables = file.variables;
        let declared = self.value(table, "env", |node| node.table("`env`", "env = { MODE = \"dev\" }"));
        for node in declared.iter().flat_map(|table| &table.nodes) {
            if node.key.is_empty() || node.key.contains(['=', '\0']) {
                let error = node.key_error("this cannot be the name of a variable");
                let error = error.label("the name is empty, or contains `=` or NUL");
                self.problems.push(error.expected("a name, as in: MODE"));
            }
            if IDENTITY_VARIABLES.contains(&node.key) {
                let error = node.key_error(format!("`{}` is set by liveoak itself", node.key));
                let error = error.label("it identifies the program");
                self.problems.push(error.help("choose another name"));
            }
            if let Some(value) = self.record(node.secret_string(&format!("{} = \"...\"", escaped(node.key))))
            {
                if env_file::would_expand(value) {
                    let text = "values are not expanded, and a shell would expand this one";
                    let literal = "if it is meant literally, put it into an `env_file`, in '...'";
                    self.warn(&node.path, format!("{text}; {EXPAND_IN_SHELL}; {literal}"));
                }
                // The command line keeps the last value of a name.
                variables.push((node.key.to_owned(), value.to_owned()));
            }
        }
        if let (Some(node), false) = (table.get("env_file"), file.unexpanded.is_empty()) {
            let own: HashSet<&str> =
                declared.iter().flat_map(|table| &table.nodes).map(|node| node.key).collect();
            let names = file.unexpanded.iter().filter(|name| !own.contains(name.as_str()));
            let mut names: Vec<_> = names.map(|name| format!("`{}`", escaped(name))).collect();
            if !names.is_empty() {
                let more = names.len().saturating_sub(MAX_NAMES);
                names.truncate(MAX_NAMES);
                let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let names = names.join(", ") + &and_more;
                let text =
                    format!("its values are not expanded, and a shell would expand the value of {names}");
                let literal = "if it is meant literally, write it in '...'";
                self.warn(&node.path, format!("{text}; {EXPAND_IN_SHELL}; {literal}"));
            }
        }
        variables
    }

    /// Adds a warning about the value at a dotted path of the file, once. Beyond the number of errors that are shown,
    /// warnings are only counted.
    pub(crate) fn warn(&mut self, path: &str, text: String) {
        // Replicas have the same values.
        if !self.warned.insert(path.to_owned()) {
            return;
        }
        if self.warnings.len() < MAX_SHOWN {
            self.warnings.push((path.to_owned(), text));
        } else {
            self.more_warnings += 1;
        }
    }

    /// Returns the warnings so far, with the paths of their children in the tree `root`.
    pub(crate) fn value_warnings(&mut self, root: &TreePath) -> Vec<ValueWarning> {
        let of_child = |(dotted, text): (String, String)| {
            let (mut child, mut field) = (root.clone(), dotted.as_str());
            while let Some((name, below)) = field.strip_prefix("child.").and_then(|rest| rest.split_once('.'))
            {
                (child, field) = (child.join(name), below);
            }
            ValueWarning { child, field: field.to_owned(), text }
        };
        let more = (self.more_warnings > 0).then(|| {
            let text = format!("the number of further warnings about values is {}", self.more_warnings);
            ValueWarning { child: root.clone(), field: "values".to_owned(), text }
        });
        std::mem::take(&mut self.warnings).into_iter().map(of_child).chain(more).collect()
    }

    fn env_file(&mut self, node: &Node<'_>) -> Option<EnvFile> {
        let path = self.path(node, "env_file = \".env\"", self.folder)?;
        if has_replica_word(node) {
            // The error for this path was recorded already; there is no file to read.
            return None;
        }
        if is_stdin(&path) {
            self.env_from_stdin.get_or_insert_with(|| node.span.clone());
        }
        if let Some(variables) = self.env_files.get(&path) {
            return Some(variables.clone());
        }
        let file = self.read_env_file(node, &path)?;
        let variables = &file.variables;
        if let Some((name, _)) = variables.iter().find(|(name, _)| IDENTITY_VARIABLES.contains(&&**name)) {
            let error = node.error(format!("this env_file sets `{name}`, which liveoak itself sets"));
            let error = error.label("the variable identifies the program");
            self.problems.push(error.help("remove the line from the file, or choose another name"));
        }
        self.env_files.insert(path, file.clone());
        Some(file)
    }

    fn read_env_file(&mut self, node: &Node<'_>, path: &Path) -> Option<EnvFile> {
        let shown = path.strip_prefix(self.folder).unwrap_or(path).display().to_string();
        let text = match (self.open)(path) {
            Ok(text) => text,
            Err(Unreadable::NotUtf8(NotUtf8 { text, offset, byte })) => {
                let span = offset..offset + char::REPLACEMENT_CHARACTER.len_utf8();
                let found = Diagnostic::at(span, &node.path, "this env_file is not text in UTF-8");
                let found = found.label(format!("the byte 0x{byte:02x} is not valid UTF-8"));
                let found = found.help_if(Unreadable::Wide.help().map(str::to_owned));
                let source = self.problems.add_env_file(shown, text);
                self.problems.push(found.in_source(source));
                // Another child that names the file gets no second error.
                self.env_files.insert(path.to_owned(), EnvFile::default());
                return None;
            }
            Err(problem) => {
                if matches!(problem, Unreadable::Silent(_) | Unreadable::ReadBefore(_)) {
                    // Another child that names the file neither waits again nor gets a second error.
                    self.env_files.insert(path.to_owned(), EnvFile::default());
                }
                let error = node.error("this env_file cannot be read").label(problem.to_string());
                let looked = format!("it was looked for at {}", path.display());
                let literal = path.to_string_lossy().contains('$');
                let looked = if literal { format!("{looked}; `$` is not expanded") } else { looked };
                let help = problem.help().map_or(looked, str::to_owned);
                self.problems.push(error.expected("a file of KEY=VALUE lines").help(help));
                return None;
            }
        };
        let (file, errors) = EnvFile::parse(&text);
        if !errors.is_empty() {
            let source = self.problems.add_env_file(shown, text);
            for error in errors {
                let found = Diagnostic::at(error.span, &node.path, error.message);
                self.problems.push(found.help(error.help).in_source(source));
            }
        }
        Some(file)
    }

    /// Records an error if a child has the standard input that an `env_file` was read from. The child would find it empty.
    pub(crate) fn check_readers_of_stdin(&mut self) {
        if let (Some(env_file), Some(stdin)) = (self.env_from_stdin.take(), self.inherits_stdin.clone()) {
            let error = Diagnostic::at(env_file, "", "the standard input has two readers");
            let error =
                error.label("this reads it to its end").related(stdin, "this child would find it empty");
            self.problems.push(error.help("name another file here, or leave `stdin` out"));
        }
    }
}
