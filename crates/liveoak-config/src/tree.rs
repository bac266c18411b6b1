//! Reads the tree: the top level of the file, every supervisor and every child. Finds keys that contradict each other.

use crate::bounds::{FALLBACK_NAME, MAX_CHILDREN, MAX_DEPTH, MAX_EDGES, MAX_NAME_BYTES, MAX_REPLICAS};
use crate::config::{ChildConfig, Config, Form, SupervisorConfig};
use crate::diagnostic::{Diagnostic, Error, Span};
use crate::keys::{FIRST_START, KIND, OF_CHILD, PROGRAM, ROOT, SUPERVISOR, SUPERVISOR_STOP, any_child};
use crate::kind::not_of_a_kind;
use crate::other_words;
use crate::reader::{Places, Reader, fits_name};
use crate::table::{Node, Table};
use crate::text::{child_called, join, near_miss};
use crate::types::Keys;
use liveoak_core::{ChildSpec, FirstStart, Path as TreePath, SupervisorSpec};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// What a child is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nature {
    Program,
    Supervisor,
    Kind,
}

impl Nature {
    /// Returns the keys of such a child.
    const fn keys(self) -> &'static Keys {
        match self {
            Self::Program => &PROGRAM,
            Self::Supervisor => &SUPERVISOR,
            Self::Kind => &KIND,
        }
    }

    /// Returns what such a child is, to follow "this makes it".
    const fn called(self) -> &'static str {
        match self {
            Self::Program => "a program",
            Self::Supervisor => "a supervisor",
            Self::Kind => "a child of a kind",
        }
    }

    /// Returns what such a child is, to follow "not a key of".
    const fn described(self) -> &'static str {
        match self {
            Self::Program => "a child that runs a program",
            _ => self.called(),
        }
    }
}

impl Reader<'_> {
    /// Reads the file's top level. Records an error for a wrong value and returns a placeholder.
    pub(crate) fn root(&mut self, file: &Path, table: &Table<'_>) -> Config {
        for node in table.nodes.iter().filter(|node| !ROOT.has(node.key)) {
            let error = node.unknown_key("the file's top level", &ROOT.names(), ROOT.others);
            let error = error.help_if(help_for_child_key(node.key)).help_if(help_for_child_table(node));
            self.problems.push(error);
        }
        let given = self.value(table, "name", |node| node.string("name = \"shop\""));
        if let (Some(name), Some(node)) = (given, table.get("name")) {
            self.check_name(name, "the tree's name", node.error("this cannot be a name"));
        }
        let name = given.map_or_else(|| folder_name(self.folder), str::to_owned);
        let name = self.name(&name);
        let mut spec = ChildSpec::of_root();
        let no_infinity = "give the tree a budget; only programs may have \"infinity\"";
        self.supervisor_stop(table, no_infinity, &mut spec);
        let path = TreePath::new(name.as_str());
        self.places.insert(path.clone(), Places::new(table, table.span.clone()));
        let root = self.supervisor(table, &path, 1, FIRST_START);
        self.check_readers_of_stdin();
        let value_warnings = self.value_warnings(&path);
        let (file, folder) = (file.to_path_buf(), self.folder.to_path_buf());
        let config = Config { file, folder, name, spec, root, modes: Vec::new(), value_warnings };
        let modes = self.modes(table, &config);
        Config { modes, ..config }
    }

    /// Reads the keys of a supervisor. `depth` counts the supervisors from the root to this one. `first_start` is the default.
    fn supervisor(
        &mut self,
        table: &Table<'_>,
        path: &TreePath,
        depth: usize,
        first_start: FirstStart,
    ) -> SupervisorConfig {
        let mut spec = SupervisorSpec {
            first_start: self.value(table, "first_start", Node::word).unwrap_or(first_start),
            strategy: self.word(table, "strategy"),
            order: self.word(table, "order"),
            auto_shutdown: self.word(table, "auto_shutdown"),
            intensity: table.get("intensity").and_then(|node| self.limit(node)),
            max_starting: self.value(table, "max_starting", |node| node.integer(1, MAX_CHILDREN, "")),
            ..SupervisorSpec::default()
        };
        let mut defaults = self.merged_defaults(table);
        defaults.has_intensity = table.get("intensity").is_some();
        spec.defaults =
            (defaults.of_specs != liveoak_core::Defaults::default()).then(|| Arc::new(defaults.of_specs));
        let above = std::mem::replace(&mut self.defaults, defaults);
        let children = match table.get("child") {
            Some(node) => self.children(node, table, path, (depth, spec.first_start)),
            None => self.record_no_children(table, table.span.clone()),
        };
        self.defaults = above;
        self.count_edges(path, &children);
        if let Some(places) = self.places.get_mut(path) {
            places.children = children.iter().map(|child| child.name.clone()).collect();
        }
        SupervisorConfig { spec, children }
    }

    /// Records the error that a supervisor has no children, and returns an empty list.
    fn record_no_children(&mut self, table: &Table<'_>, span: Span) -> Vec<ChildConfig> {
        // A program under the wrong header has an error of its own.
        if table.path.is_empty() && table.nodes.iter().any(|node| help_for_child_table(node).is_some()) {
            return Vec::new();
        }
        let header = join(&format!("{}.child", table.path), "NAME");
        let help = format!(
            "add one, as in: [{}] and below it command = \"sleep 60\"",
            header.trim_start_matches('.')
        );
        let error = Diagnostic::at(span, &table.path, "nothing to run: there is no child");
        self.problems.push(error.expected("at least one child").help(help));
        Vec::new()
    }

    /// Reads the stop budget of a supervisor into `spec`. `"infinity"` is refused, with `no_infinity` as the advice.
    fn supervisor_stop(&mut self, table: &Table<'_>, no_infinity: &str, spec: &mut ChildSpec) {
        let stop = self.value(table, "stop", |node| node.table("`stop`", "stop = { within = \"30s\" }"));
        let Some(stop) = stop else { return };
        for node in stop.nodes.iter().filter(|node| !SUPERVISOR_STOP.has(node.key)) {
            self.problems.push(match node.key {
                "signal" => node
                    .key_error("a supervisor cannot have a stop signal")
                    .label("it is not a process, so it cannot receive one")
                    .help("put `signal` into the `stop` of the programs below it"),
                "ask" => node
                    .key_error("a supervisor cannot have `ask` in its `stop`")
                    .label("it is not a process, so it receives no signal")
                    .help("put `ask` into the `stop` of the programs below it"),
                _ => node.unknown_key(
                    "the `stop` of a supervisor",
                    &SUPERVISOR_STOP.names(),
                    SUPERVISOR_STOP.others,
                ),
            });
        }
        let within = self.value(&stop, "within", |node| node.duration(Some(no_infinity)));
        if let Some(within) = within {
            spec.set_stop_within(within);
        }
        self.kill_wait(&stop, spec);
    }

    /// Reads the `child` table of a supervisor: its children, in declared order.
    fn children(
        &mut self,
        node: &Node<'_>,
        owner: &Table<'_>,
        path: &TreePath,
        (depth, first_start): (usize, FirstStart),
    ) -> Vec<ChildConfig> {
        let example = "[child.db] and below it command = \"redis-server\"";
        let Some(table) = self.record(node.table("`child`", example)) else { return Vec::new() };
        if depth > MAX_DEPTH {
            let error = node.key_error("supervisors are nested too deeply");
            let help = "remove supervisors whose only child is a supervisor";
            self.problems.push(error.expected(format!("at most {MAX_DEPTH} levels")).help(help));
            return Vec::new();
        }
        if table.nodes.is_empty() {
            return self.record_no_children(owner, table.span);
        }
        table.nodes.iter().filter_map(|node| self.child(node, path, (depth, first_start))).collect()
    }

    fn child(
        &mut self,
        node: &Node<'_>,
        above: &TreePath,
        (depth, first_start): (usize, FirstStart),
    ) -> Option<ChildConfig> {
        self.check_name(node.key, "this name", node.key_error("this cannot be a child's name"));
        let Some(table) = self.record(node.table(&child_called(node.key), "[child.db]")) else {
            self.count_children(1, node);
            return None;
        };
        let name = self.name(node.key);
        let path = above.join(name.as_str());
        let nature = self.nature(node, &table);
        let is_supervisor = nature == Nature::Supervisor;
        let mut spec = if is_supervisor { ChildSpec::of_supervisor() } else { ChildSpec::default() };
        self.description(&table, is_supervisor, &mut spec);
        self.defaults.resolve(&mut spec, is_supervisor);
        let mut places = Places::new(&table, node.key_span.clone());
        places.edges = self.supervision(&table, &mut spec);
        // Inserted before `supervisor` is called, which adds the names of the children to this entry.
        self.places.insert(path.clone(), places);
        let form = if is_supervisor {
            self.count_children(1, node);
            let no_infinity = "leave `within` out: then only the budgets of the supervisors above count";
            self.supervisor_stop(&table, no_infinity, &mut spec);
            Form::Supervisor(self.supervisor(&table, &path, depth + 1, first_start))
        } else {
            let (form, replicas) = match nature {
                Nature::Kind => self.of_kind(&table, &mut spec),
                _ => {
                    let program = self.program(&table, &mut spec);
                    let replicas = program.replicas;
                    (Form::Program(Box::new(program)), replicas)
                }
            };
            self.count_children(replicas, node);
            form
        };
        // The keys of the child may leave a `give_up` or the times of checks open. Its role, its criticality or the
        // file sets them.
        self.defaults.resolve(&mut spec, is_supervisor);
        let line = self.line(node.key_span.start);
        let mut child = ChildConfig { name, line, spec, numbered: false, form };
        // A set that was made smaller keeps the names of its replicas.
        let declared = table.get("replicas").and_then(|node| node.integer::<u16>(1, MAX_REPLICAS, "").ok());
        child.numbered = child.replicas().max(declared.unwrap_or(1)) > 1;
        Some(child)
    }

    /// Counts children, and records an error once when there are too many.
    fn count_children(&mut self, more: u16, node: &Node<'_>) {
        let before = self.children;
        self.children += u64::from(more);
        if before <= MAX_CHILDREN && self.children > MAX_CHILDREN {
            let error = node.key_error("this file declares too many children");
            let error = error.label(format!("the {}th and following", MAX_CHILDREN + 1));
            self.problems.push(error.expected(format!("at most {MAX_CHILDREN}, every replica counted")));
        }
    }

    /// Counts the edges between siblings, and records an error once when there are too many.
    fn count_edges(&mut self, path: &TreePath, siblings: &[ChildConfig]) {
        let replicas: HashMap<&str, u64> =
            siblings.iter().map(|child| (child.name.as_str(), u64::from(child.replicas()))).collect();
        for child in siblings {
            for edge in child.spec.after.iter().filter(|edge| edge.child != child.name) {
                let Some(target) = replicas.get(edge.child.as_str()) else { continue };
                let more = u64::from(child.replicas()) * target;
                let before = self.edges;
                self.edges += more;
                let places = self.places.get(&path.join(child.name.as_str()));
                if before <= MAX_EDGES
                    && self.edges > MAX_EDGES
                    && let Some(place) = places.and_then(|places| places.edge(edge.child.as_str()))
                {
                    let message = "this file declares too many `after` edges";
                    let error = Diagnostic::at(place.span.clone(), &place.path, message)
                        .label(format!("this one stands for {more}"))
                        .expected(format!("at most {MAX_EDGES}, counted between all replicas"))
                        .help("put a child between both sets: it waits for the first one, and the second one waits for it");
                    self.problems.push(error);
                }
            }
        }
    }

    /// Returns what a child is; records an error for every key that only others have.
    fn nature(&mut self, node: &Node<'_>, table: &Table<'_>) -> Nature {
        let what = child_called(node.key);
        let known = any_child();
        let is_unknown = |node: &Node<'_>| !known.contains(&node.key);
        let runs = table.get("command").or_else(|| table.get("shell"));
        let causes = [
            (Nature::Program, runs),
            (Nature::Supervisor, table.get("child")),
            (Nature::Kind, table.get("kind")),
        ];
        let causes: Vec<(Nature, &Node<'_>)> =
            causes.into_iter().filter_map(|(nature, node)| Some((nature, node?))).collect();
        let decided = match causes.as_slice() {
            [] => {
                let is_similar = |node: &Node<'_>| {
                    near_miss(node.key, ["command", "shell", "child", "kind"]).is_some()
                        || other_words::means_command(node.key)
                };
                if !table.nodes.iter().any(|node| is_unknown(node) && is_similar(node)) {
                    self.record_nothing_to_run(node, table);
                }
                None
            }
            [one] => Some(*one),
            [(first, first_key), (second, second_key), ..] => {
                let both = match second {
                    Nature::Supervisor => "children".to_owned(),
                    _ => format!("`{}`", second_key.key),
                };
                let error = first_key.key_error(format!("{what} has both `{}` and {both}", first_key.key));
                let error = error.label(format!("this makes it {}", first.called()));
                let error =
                    error.related(second_key.key_span.clone(), format!("this makes it {}", second.called()));
                self.problems.push(error.help(match (first, second) {
                    (Nature::Program, Nature::Supervisor) => "move the program into a child of its own",
                    (Nature::Program, _) => "keep one of the two",
                    _ => "move the child of a kind into a child of its own",
                }));
                None
            }
        };
        for key in &table.nodes {
            match decided {
                _ if is_unknown(key) => {
                    let (of, known, others) = match decided {
                        None => ("a child", known.clone(), OF_CHILD),
                        Some((nature, _)) => {
                            (nature.described(), nature.keys().names(), nature.keys().others)
                        }
                    };
                    self.problems.push(key.unknown_key(of, &known, others));
                }
                Some((nature, cause)) if !nature.keys().has(key.key) => {
                    self.problems.push(match nature {
                        Nature::Kind => not_of_a_kind(&what, key, cause),
                        _ => contradiction(&what, key, cause),
                    });
                }
                _ => {}
            }
        }
        causes.first().map_or(Nature::Program, |(nature, _)| *nature)
    }

    /// Records that a child has neither a program nor children.
    fn record_nothing_to_run(&mut self, node: &Node<'_>, table: &Table<'_>) {
        let of_supervisor = table.nodes.iter().any(|node| SUPERVISOR.has(node.key) && !PROGRAM.has(node.key));
        let error = node.error(format!("{} has nothing to run", child_called(node.key)));
        if let Some(args) = table.get("args") {
            let error = args.key_error(format!("{} has `args`, but no `kind`", child_called(node.key)));
            let advice = other_words::advice("args", OF_CHILD, &any_child()).unwrap_or_default();
            self.problems
                .push(error.expected("`kind`, the name of a kind of a library program").help(advice));
            return;
        }
        let error = error.label("no `command`, no `shell` and no children");
        self.problems.push(if of_supervisor {
            let header = join(&format!("{}.child", node.path), "NAME");
            error.expected("children, as a supervisor has").help(format!("add one, as in: [{header}]"))
        } else {
            error
                .expected("what to run")
                .help("add it, as in: command = [\"redis-server\", \"--port\", \"7000\"]")
        });
    }
}

/// Returns the advice for a key of a child, or another tool's word for one, at the top level of the file.
fn help_for_child_key(key: &str) -> Option<String> {
    let is_known = any_child().contains(&key);
    // A word that also stands for a key of the top level keeps that meaning.
    let at_root = || other_words::advice(key, ROOT.others, &ROOT.names());
    let known = any_child();
    let other = || other_words::advice(key, OF_CHILD, &known).filter(|_| at_root().is_none());
    match other() {
        _ if is_known => Some(format!("`{key}` is a key of a child: put it under a [child.NAME] header")),
        other => other.map(|advice| format!("under a [child.NAME] header, {advice}")),
    }
}

/// Returns the advice for a table at the top level of the file that looks like a child, or like a table of children.
fn help_for_child_table(node: &Node<'_>) -> Option<String> {
    let DeValue::Table(table) = node.value else { return None };
    let runs = |table: &DeTable<'_>| {
        let is_key =
            |key: &str| matches!(key, "command" | "shell" | "child") || other_words::means_command(key);
        table.keys().any(|key| is_key(key.get_ref()))
    };
    if ROOT.has(node.key) {
        return None;
    }
    if runs(table) {
        return Some(format!("write its header as [{}]", join("child", node.key)));
    }
    let (name, _) = table.iter().find(|(_, value)| value.get_ref().as_table().is_some_and(runs))?;
    Some(format!(
        "write the header [{}] as [{}]",
        join(node.key, name.get_ref()),
        join("child", name.get_ref())
    ))
}

/// Returns the error for a key of the other kind; `cause` is the key that made it a program or a supervisor.
fn contradiction(what: &str, key: &Node<'_>, cause: &Node<'_>) -> Error {
    let name = key.key;
    if name == "args" {
        let error = key.key_error(format!("`args` is a key of kinds, but {what} is of no kind"));
        let error = error.label("no effect here").related(cause.key_span.clone(), "this decides what it is");
        return error.help(other_words::advice(name, OF_CHILD, &any_child()).unwrap_or("remove it"));
    }
    let (other, this, label) = match cause.key {
        "child" => ("programs", "is a supervisor", "these children make it a supervisor"),
        _ => ("supervisors", "runs a program", "this makes it a program"),
    };
    let help = match (cause.key, name) {
        ("child", "ready") => {
            "a supervisor is ready when its children are; put `ready` on one of them".to_owned()
        }
        ("child", _) => format!("put `{name}` on the programs below this supervisor"),
        _ => format!("remove `{name}`, or put it on the supervisor around this child"),
    };
    let error = key.key_error(format!("`{name}` is a key of {other}, but {what} {this}"));
    error.label("no effect here").related(cause.key_span.clone(), label).help(help)
}

/// Returns the name of a tree whose file gives none: the folder's name, with each forbidden character replaced by `-`.
fn folder_name(folder: &Path) -> String {
    let Some(name) = folder.file_name() else { return FALLBACK_NAME.to_owned() };
    let name = name.to_string_lossy();
    let name: String =
        name.chars().map(|c| if fits_name(c) { c } else { '-' }).take(MAX_NAME_BYTES).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { FALLBACK_NAME.to_owned() } else { name.to_owned() }
}
