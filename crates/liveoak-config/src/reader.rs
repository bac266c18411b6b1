//! The state of reading a file: the errors so far, the counts that have a bound, and the places that errors of the core may
//! point at.

use crate::bounds::{MAX_FILE_NAME, MAX_NAME_BYTES, MAX_PATH, MAX_REPLICAS};
use crate::defaults::Defaults;
use crate::diagnostic::{Checked, Diagnostics, Error, Span};
use crate::env_file::{EnvFile, would_expand};
use crate::kinds::Kinds;
use crate::source::ReadEnvFile;
use crate::table::{Node, Table};
use crate::types::{Keys, Word};
use liveoak_core::{Name, Path as TreePath};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The state of reading one file.
pub(crate) struct Reader<'a> {
    /// The folder against which relative paths are resolved.
    pub(crate) folder: &'a Path,
    /// Reads an env file.
    pub(crate) open: ReadEnvFile<'a>,
    /// The kinds of the program that reads the file; `None` if it can have none.
    pub(crate) kinds: Option<&'a Kinds>,
    /// Numbers of replicas that take the place of those of the file, each with the dotted path of the table of its child.
    pub(crate) replicas: &'a [(String, u16)],
    /// The errors so far.
    pub(crate) problems: Diagnostics,
    /// Byte offsets of the newlines, to count lines without reading the text again for each child.
    newlines: Vec<usize>,
    /// The number of children declared so far, replicas counted.
    pub(crate) children: u64,
    /// The number of `after` edges so far, replicas multiplied.
    pub(crate) edges: u64,
    /// The env files that were read. The errors of a file are recorded once, even if several children name it.
    pub(crate) env_files: HashMap<PathBuf, EnvFile>,
    /// The place of the first `env_file` that is the standard input.
    pub(crate) env_from_stdin: Option<Span>,
    /// The warnings so far: the dotted path of the value, and the text.
    pub(crate) warnings: Vec<(String, String)>,
    /// The number of further warnings.
    pub(crate) more_warnings: usize,
    /// The paths of all warnings.
    pub(crate) warned: HashSet<String>,
    /// The place of the first `stdin = "inherit"`.
    pub(crate) inherits_stdin: Option<Span>,
    /// The defaults of the supervisor that is being read.
    pub(crate) defaults: Defaults,
    /// The places of each child and of the root, by its path in the tree.
    pub(crate) places: HashMap<TreePath, Places>,
}

/// Where a child, or the root, is declared.
pub(crate) struct Places {
    /// The dotted path of the table; empty for the root.
    pub(crate) path: String,
    /// Where the name of the child stands.
    pub(crate) name: Span,
    /// Where the value of each key of the child stands.
    values: HashMap<String, Span>,
    /// Where the `after` edges of the child stand, in the order of the file.
    pub(crate) edges: Vec<EdgePlace>,
    /// The names of the children below it.
    pub(crate) children: Vec<Name>,
}

/// Where an `after` edge stands.
pub(crate) struct EdgePlace {
    /// The sibling that the edge names.
    pub(crate) sibling: Name,
    /// Where the name stands.
    pub(crate) span: Span,
    /// The dotted path of the edge.
    pub(crate) path: String,
}

impl Places {
    /// Creates the places of the child that `table` declares. The name of the child stands at `name`.
    pub(crate) fn new(table: &Table<'_>, name: Span) -> Self {
        let values = table.nodes.iter().map(|node| (node.key.to_owned(), node.span.clone())).collect();
        Self { path: table.path.clone(), name, values, edges: Vec::new(), children: Vec::new() }
    }

    /// Returns where the value of a key stands, if the file has the key.
    pub(crate) fn value(&self, key: &str) -> Option<Span> {
        self.values.get(key).cloned()
    }

    /// Returns where the edge to a sibling stands.
    pub(crate) fn edge(&self, sibling: &str) -> Option<&EdgePlace> {
        self.edges.iter().find(|edge| edge.sibling.as_str() == sibling)
    }
}

impl<'a> Reader<'a> {
    /// Creates the state for reading `text`. Messages call the text `name`.
    pub(crate) fn new(folder: &'a Path, open: ReadEnvFile<'a>, name: &str, text: &str) -> Self {
        Self {
            folder,
            open,
            kinds: None,
            replicas: &[],
            problems: Diagnostics::new(name, text),
            newlines: text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect(),
            children: 0,
            edges: 0,
            env_files: HashMap::new(),
            env_from_stdin: None,
            warnings: Vec::new(),
            more_warnings: 0,
            warned: HashSet::new(),
            inherits_stdin: None,
            defaults: Defaults::default(),
            places: HashMap::new(),
        }
    }

    /// Returns the number of replicas of a program, or of a child of a kind.
    pub(crate) fn replicas(&mut self, table: &Table<'_>) -> u16 {
        let own = self.value(table, "replicas", |node| node.integer(1, MAX_REPLICAS, ""));
        let other = self.replicas.iter().find(|(path, _)| *path == table.path).map(|(_, number)| *number);
        other.or(own).unwrap_or(1)
    }

    /// Returns the line of a byte offset, counted from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.newlines.partition_point(|&newline| newline < offset) + 1
    }

    /// Returns the value, or records the error.
    pub(crate) fn record<T>(&mut self, checked: Checked<T>) -> Option<T> {
        checked.map_err(|error| self.problems.push(error)).ok()
    }

    /// Returns the value of a key, if the file has the key and the value is correct. Records an error if it is wrong.
    pub(crate) fn value<'t, T>(
        &mut self,
        table: &Table<'t>,
        key: &str,
        read: impl FnOnce(&Node<'t>) -> Checked<T>,
    ) -> Option<T> {
        table.get(key).and_then(|node| self.record(read(node)))
    }

    /// Returns the value of a key that is one of a closed list of words, or the default.
    pub(crate) fn word<T: Word + Default>(&mut self, table: &Table<'_>, key: &str) -> T {
        self.value(table, key, Node::word).unwrap_or_default()
    }

    /// Returns a value as a table, and records an error for each key that is not `known`.
    pub(crate) fn table_of<'t>(
        &mut self,
        node: &Node<'t>,
        what: &str,
        known: &Keys,
        example: &str,
    ) -> Option<Table<'t>> {
        let table = self.record(node.table(what, example))?;
        for node in table.nodes.iter().filter(|node| !known.has(node.key)) {
            self.problems.push(node.unknown_key(what, &known.names(), known.others));
        }
        Some(table)
    }

    /// Records an error if `name` is not a valid name. `error` points at it; `what` is its name in the message.
    pub(crate) fn check_name(&mut self, name: &str, what: &str, error: Error) {
        let problem = if name.is_empty() {
            "is empty".to_owned()
        } else if name.len() > MAX_NAME_BYTES {
            format!("has {} bytes", name.len())
        } else if let Some(c) = name.chars().find(|&c| !fits_name(c)) {
            format!("has `{}` in it", c.escape_debug())
        } else {
            return;
        };
        let dots = "dots are reserved for replicas, as in `db.1`; write `-`";
        let error = error
            .label(format!("{what} {problem}"))
            .expected(format!("1 to {MAX_NAME_BYTES} letters, digits, `_` and `-`"))
            .help_if(name.contains('.').then(|| dots.to_owned()));
        self.problems.push(error);
    }

    /// Returns the text as a name, or a placeholder if it cannot be one. [`check_name`](Self::check_name) records why.
    pub(crate) fn name(&self, text: &str) -> Name {
        let placeholder = |_| Name::new(format!("(child {})", self.children));
        Name::new(text).or_else(placeholder).unwrap_or_else(|_| unreachable!("the placeholder is a name"))
    }

    /// Returns a value as a path, made absolute from `folder`.
    pub(crate) fn path(&mut self, node: &Node<'_>, example: &str, folder: &Path) -> Option<PathBuf> {
        let text = self.record(node.filled(example))?;
        self.absolute(node, text, folder)
    }

    /// Makes a path absolute. Records an error if it cannot be a path, or if it begins with `~`, because only a shell
    /// expands that. `./~name` is a file of this name.
    pub(crate) fn absolute(&mut self, node: &Node<'_>, text: &str, folder: &Path) -> Option<PathBuf> {
        if is_home(text) {
            let error = node.error(format!("`~` is not expanded in `{}`", node.path));
            let help = "write the whole path, or one relative to the folder of this file";
            self.problems.push(error.label("only a shell expands it").help(help));
            return None;
        }
        // Iterating over the components drops a leading `./`, so that equal paths compare equal.
        let path: PathBuf = folder.join(text).components().collect();
        if let Some(problem) = path_problem(&path) {
            let error = node.error(format!("`{}` cannot be a path", node.path)).label(problem);
            let most = format!("names of at most {MAX_FILE_NAME} bytes, and at most {MAX_PATH} bytes in all");
            self.problems.push(error.expected(most));
            return None;
        }
        if would_expand(text) {
            let help = "write the whole path, or one relative to the folder of this file";
            self.warn(
                &node.path,
                format!("a shell would expand this path, but nothing is expanded here; {help}"),
            );
        }
        Some(path)
    }
}

/// Returns `true` for `~`, `~/path` and `~name/path`, which a shell would expand.
fn is_home(path: &str) -> bool {
    let (user, below) = path.split_once('/').map_or((path, false), |(user, _)| (user, true));
    user.strip_prefix('~').is_some_and(|name| name.is_empty() || (below && name.chars().all(fits_name)))
}

/// Returns the reason if the system cannot have a file at a path.
fn path_problem(path: &Path) -> Option<String> {
    let longest = path.components().map(|name| name.as_os_str().len()).max().unwrap_or_default();
    match path.as_os_str().len() {
        _ if longest > MAX_FILE_NAME => Some(format!("a name in it has {longest} bytes")),
        length if length > MAX_PATH => Some(format!("the whole path has {length} bytes")),
        _ => None,
    }
}

/// Returns `true` if the character may stand in a name.
pub(crate) fn fits_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}
