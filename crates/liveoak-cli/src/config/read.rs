//! The whole file: its top level, and what every supervisor has in common.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::defaults::{self, MAX_NAME_BYTES};
use super::diagnostic::{Diagnostic, Problems, Report};
use super::file::Unreadable;
use super::keys;
use super::table::{Infinity, Node, Table, shown};
use super::values::{AutoShutdown, GiveUp, Order, Strategy};
use super::{Config, Limit, Supervisor, Window, edges, syntax};

/// Gives the text of a file that `liveoak.toml` names.
pub(crate) type Open<'a> = &'a dyn Fn(&Path) -> Result<String, Unreadable>;

/// Where a text comes from.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The file as the user named it.
    pub(crate) file: &'a Path,
    /// Its absolute folder.
    pub(crate) folder: &'a Path,
    /// How the files are read that it names.
    pub(crate) open: Open<'a>,
}

/// What reading needs at hand.
pub(crate) struct Reader<'a> {
    /// The folder against which relative paths are resolved.
    pub(super) folder: &'a Path,
    /// How env files are read.
    pub(super) open: Open<'a>,
    /// The errors so far.
    pub(super) problems: Problems,
    /// Byte offsets of the newlines, to count lines without reading the text again for each child.
    newlines: Vec<usize>,
    /// How many children were declared so far, replicas counted.
    pub(super) children: u64,
    /// How many `after` edges there are so far, replicas multiplied.
    edges: u64,
    /// Env files that were read, so that one that two children name gives its errors once.
    pub(super) env_files: HashMap<PathBuf, Vec<(String, String)>>,
}

impl Reader<'_> {
    /// The line of a byte offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.newlines.partition_point(|&newline| newline < offset) + 1
    }
}

/// Reads and checks a text.
///
/// # Errors
/// All syntax errors that can be told; when there are none, all others, in order of position.
pub(crate) fn read(place: &Place<'_>, name: &str, text: &str) -> Result<Config, Report> {
    let mut reader = Reader {
        folder: place.folder,
        open: place.open,
        problems: Problems::new(name, text),
        newlines: text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect(),
        children: 0,
        edges: 0,
        env_files: HashMap::new(),
    };
    let document = syntax::parse(text, &mut reader.problems);
    if !reader.problems.is_empty() {
        return Err(reader.problems.into_report());
    }
    let table = Table::new(String::new(), 0..0, &document);
    let config = reader.root(place, &table);
    if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems.into_report()) }
}

impl Reader<'_> {
    fn root(&mut self, place: &Place<'_>, table: &Table<'_>) -> Config {
        for node in table.nodes.iter().filter(|node| !keys::ROOT.contains(&node.key)) {
            let error = node.unknown_key("the file's top level", keys::ROOT);
            self.problems.push(if keys::any_child().contains(&node.key) {
                error.help(format!("`{0}` is a key of a child: put it under a [child.NAME] header", node.key))
            } else {
                error
            });
        }
        let example = "name = \"shop\"";
        let name = table.get("name").and_then(|node| {
            let name = node.string(example, &mut self.problems)?;
            self.check_name(name, "the tree's name", node.error("this cannot be a name"));
            Some(name.to_owned())
        });
        let stop_within = table.get("stop").and_then(|node| {
            let no_infinity =
                "the stop of a tree always has a budget; children may wait for ever only within it";
            self.supervisor_stop(node, no_infinity)
        });
        Config {
            file: place.file.to_path_buf(),
            folder: place.folder.to_path_buf(),
            name: name.unwrap_or_else(|| folder_name(place.folder)),
            stop_within: stop_within.unwrap_or(defaults::TREE_STOP),
            root: self.supervisor(table, 1),
        }
    }

    /// Reads what every supervisor has; `depth` counts the supervisors down to this one.
    pub(super) fn supervisor(&mut self, table: &Table<'_>, depth: usize) -> Supervisor {
        let strategy = table.get("strategy").and_then(|node| node.word(&mut self.problems));
        let order = table.get("order").and_then(|node| node.word(&mut self.problems));
        let auto_shutdown = table.get("auto_shutdown").and_then(|node| node.word(&mut self.problems));
        let auto_shutdown = auto_shutdown.unwrap_or(AutoShutdown::Never);
        let declared = match table.get("child") {
            Some(node) => self.children(node, depth, auto_shutdown),
            None => {
                self.nothing_to_run(table);
                Vec::new()
            }
        };
        edges::check(&declared, &mut self.edges, &mut self.problems);
        Supervisor {
            strategy: strategy.unwrap_or(Strategy::OneForOne),
            intensity: table.get("intensity").and_then(|node| self.limit(node)),
            order: order.unwrap_or(Order::Declared),
            auto_shutdown,
            children: declared.into_iter().map(super::child::Declared::into_child).collect(),
        }
    }

    /// Records that a supervisor has no children at all.
    pub(super) fn nothing_to_run(&mut self, table: &Table<'_>) {
        let span = table.span.clone();
        let header = super::table::join(&format!("{}.child", table.path), "NAME");
        let header = header.trim_start_matches('.');
        self.problems.push(
            Diagnostic::at(span, &table.path, "nothing to run: there is no child")
                .expected("at least one child")
                .help(format!("add one, as in: [{header}] and below it command = \"sleep 60\"")),
        );
    }

    /// Reads the `stop` of a supervisor.
    pub(super) fn supervisor_stop(
        &mut self,
        node: &Node<'_>,
        no_infinity: &'static str,
    ) -> Option<std::time::Duration> {
        let table = node.table("`stop`", "stop = { within = \"30s\" }", &mut self.problems)?;
        for node in table.nodes.iter().filter(|node| !keys::SUPERVISOR_STOP.contains(&node.key)) {
            self.problems.push(match node.key {
                "signal" => node
                    .key_error("a supervisor cannot have a stop signal")
                    .label("it is no process, so nothing could receive it")
                    .help("put `signal` into the `stop` of the programs below it"),
                _ => node.unknown_key("the `stop` of a supervisor", keys::SUPERVISOR_STOP),
            });
        }
        table.get("within")?.duration(Infinity::Refused(no_infinity), &mut self.problems).flatten()
    }

    /// Reads an `intensity` or a `limit`.
    pub(super) fn limit(&mut self, node: &Node<'_>) -> Option<Limit> {
        let example = format!("{} = {{ restarts = 5, period = \"1m\" }}", node.key);
        let what = format!("`{}`", node.key);
        let table = node.table_of(&what, keys::LIMIT, &example, &mut self.problems)?;
        let give_up = table.get("give_up").and_then(|node| node.word(&mut self.problems));
        let zero =
            "without a period nothing is ever counted together; for no limit write restarts = \"unlimited\"";
        let period = table.get("period").map(|node| (node, node.positive(zero, &mut self.problems)));
        let missing = |key: &str| {
            node.error(format!("`{}` has no `{key}`", node.path))
                .expected(example.clone())
                .help(format!("add `{key}`: a limit is a number of restarts in a period"))
        };
        let Some(restarts) = table.get("restarts") else {
            self.problems.push(missing("restarts"));
            return None;
        };
        let window = if matches!(restarts.value, toml::de::DeValue::String(word) if word == "unlimited") {
            if let Some((period, _)) = period {
                let error = period.key_error("`period` has no effect when restarts are unlimited");
                self.problems.push(error.help("remove it, or write a number of restarts"));
            }
            Window::Unlimited
        } else {
            let or = " or \"unlimited\"";
            let count = restarts.integer(0, defaults::MAX_RESTARTS, or, &mut self.problems);
            if period.is_none() {
                self.problems.push(missing("period"));
            }
            let restarts = u32::try_from(count?).ok()?;
            Window::AtMost { restarts, period: period?.1? }
        };
        Some(Limit { window, give_up: give_up.unwrap_or(GiveUp::Escalate) })
    }

    /// Records it when `name` cannot be a part of a path.
    pub(super) fn check_name(&mut self, name: &str, what: &str, error: Diagnostic) {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let problem = if name.is_empty() {
            "is empty".to_owned()
        } else if name.len() > MAX_NAME_BYTES {
            format!("has {} bytes", name.len())
        } else if let Some(c) = name.chars().find(|&c| !fits(c)) {
            format!("has `{}` in it", c.escape_debug())
        } else {
            return;
        };
        let error = error
            .label(format!("{what} {problem}"))
            .expected(format!("1 to {MAX_NAME_BYTES} letters, digits, `_` and `-`"));
        self.problems.push(if name.contains('.') {
            error.help("dots are reserved for replicas, as in `db.1`; write `-`")
        } else {
            error
        });
    }
}

/// The name of a tree whose file gives none: its folder's, with what no name may have replaced by `-`.
fn folder_name(folder: &Path) -> String {
    let Some(name) = folder.file_name() else { return defaults::NAME.to_owned() };
    let name = name.to_string_lossy();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name: String = name.chars().map(|c| if fits(c) { c } else { '-' }).take(MAX_NAME_BYTES).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { defaults::NAME.to_owned() } else { name.to_owned() }
}

/// What a message calls a child.
pub(super) fn child_called(name: &str) -> String {
    format!("child `{}`", shown(name))
}

/// Reads a text as if it were `liveoak.toml` in `folder`, and its env files by `open`.
pub(crate) fn read_text_with(folder: &Path, text: &str, open: Open<'_>) -> Result<Config, Report> {
    read(&Place { file: Path::new(defaults::FILE), folder, open }, defaults::FILE, text)
}

/// The same with the env files that are there.
#[cfg(test)]
pub(crate) fn read_text(folder: &Path, text: &str) -> Result<Config, Report> {
    read_text_with(folder, text, &super::file::read_text)
}
