//! The tree: the file's top level, every supervisor and every child in it, and which keys contradict each other.

use crate::bounds::{MAX_CHILDREN, MAX_DEPTH, MAX_EDGES, MAX_NAME_BYTES, NAME};
use crate::config::{Child, Config, Form, Supervisor};
use crate::diagnostic::Diagnostic;
use crate::keys::{PROGRAM, ROOT, SUPERVISOR, SUPERVISOR_STOP, any_child};
use crate::reader::{Places, Reader, fits_name};
use crate::table::{Node, Table};
use crate::text::{child_called, join, near_miss};
use crate::types::Keys;
use liveoak_core::{ChildSpec, Path as TreePath, SupervisorSpec};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

impl Reader<'_> {
    /// Reads the file's top level. Wrong values are recorded and stand-ins returned.
    pub(crate) fn root(&mut self, file: &Path, table: &Table<'_>) -> Config {
        for node in table.nodes.iter().filter(|node| !ROOT.has(node.key)) {
            let error = node.unknown_key("the file's top level", &ROOT.names());
            self.problems.push(if any_child().contains(&node.key) {
                error.help(format!("`{0}` is a key of a child: put it under a [child.NAME] header", node.key))
            } else {
                error
            });
        }
        let name = table.get("name").and_then(|node| {
            let name = node.string("name = \"shop\"", &mut self.problems)?;
            self.check_name(name, "the tree's name", node.error("this cannot be a name"));
            Some(name.to_owned())
        });
        let name = self.name(&name.unwrap_or_else(|| folder_name(self.folder)));
        let mut spec = ChildSpec::of_root();
        if let Some(node) = table.get("stop") {
            let no_infinity =
                "the stop of a tree always has a budget; children may wait for ever only within it";
            spec.stop_within = self.supervisor_stop(node, no_infinity).unwrap_or(spec.stop_within);
        }
        let path = TreePath::new(name.as_str());
        self.places.insert(path.clone(), Places::new(table, &ROOT, table.span.clone()));
        let root = self.supervisor(table, &path, 1);
        Config { file: file.to_path_buf(), folder: self.folder.to_path_buf(), name, spec, root }
    }

    /// Reads what every supervisor has; `depth` counts the supervisors down to this one.
    fn supervisor(&mut self, table: &Table<'_>, path: &TreePath, depth: usize) -> Supervisor {
        let spec = SupervisorSpec {
            strategy: table.word("strategy", &mut self.problems).unwrap_or_default(),
            order: table.word("order", &mut self.problems).unwrap_or_default(),
            auto_shutdown: table.word("auto_shutdown", &mut self.problems).unwrap_or_default(),
            intensity: table.get("intensity").and_then(|node| self.limit(node)),
            ..SupervisorSpec::default()
        };
        let children = match table.get("child") {
            Some(node) => self.children(node, path, depth),
            None => {
                self.nothing_to_run(table);
                Vec::new()
            }
        };
        self.count_edges(path, &children);
        if let Some(places) = self.places.get_mut(path) {
            places.children = children.iter().map(|child| child.name.clone()).collect();
        }
        Supervisor { spec, children }
    }

    /// Records that a supervisor has no children at all.
    fn nothing_to_run(&mut self, table: &Table<'_>) {
        let span = table.span.clone();
        let header = join(&format!("{}.child", table.path), "NAME");
        let header = header.trim_start_matches('.');
        self.problems.push(
            Diagnostic::at(span, &table.path, "nothing to run: there is no child")
                .expected("at least one child")
                .help(format!("add one, as in: [{header}] and below it command = \"sleep 60\"")),
        );
    }

    /// Reads the `stop` of a supervisor.
    fn supervisor_stop(&mut self, node: &Node<'_>, no_infinity: &'static str) -> Option<Duration> {
        let table = node.table("`stop`", "stop = { within = \"30s\" }", &mut self.problems)?;
        for node in table.nodes.iter().filter(|node| !SUPERVISOR_STOP.has(node.key)) {
            self.problems.push(match node.key {
                "signal" => node
                    .key_error("a supervisor cannot have a stop signal")
                    .label("it is no process, so it cannot receive one")
                    .help("put `signal` into the `stop` of the programs below it"),
                _ => node.unknown_key("the `stop` of a supervisor", &SUPERVISOR_STOP.names()),
            });
        }
        self.budget(&table, no_infinity)
    }

    /// Reads a `child` table: the children of a supervisor, in declared order.
    fn children(&mut self, node: &Node<'_>, path: &TreePath, depth: usize) -> Vec<Child> {
        let example = "[child.db] and below it command = \"redis-server\"";
        let Some(table) = node.table("`child`", example, &mut self.problems) else { return Vec::new() };
        if depth > MAX_DEPTH {
            let error = node.key_error("supervisors are nested too deeply");
            let help = "supervisors that only hold one another can be made one";
            self.problems.push(error.expected(format!("at most {MAX_DEPTH} levels")).help(help));
            return Vec::new();
        }
        if table.nodes.is_empty() {
            self.nothing_to_run(&Table { path: parent_path(&table.path), ..table });
            return Vec::new();
        }
        table.nodes.iter().filter_map(|node| self.child(node, path, depth)).collect()
    }

    fn child(&mut self, node: &Node<'_>, above: &TreePath, depth: usize) -> Option<Child> {
        self.check_name(node.key, "this name", node.key_error("this cannot be a child's name"));
        let Some(table) = node.table(&child_called(node.key), "[child.db]", &mut self.problems) else {
            self.count_children(1, node);
            return None;
        };
        let name = self.name(node.key);
        let path = above.join(name.as_str());
        let is_supervisor = self.decide_kind(node, &table);
        let (keys, mut spec) = match is_supervisor {
            true => (&SUPERVISOR, ChildSpec::of_supervisor()),
            false => (&PROGRAM, ChildSpec::default()),
        };
        let mut places = Places::new(&table, keys, node.key_span.clone());
        places.edges = self.supervision(&table, &mut spec);
        // The places stand there before the children are read: reading them fills in their names.
        self.places.insert(path.clone(), places);
        let form = if is_supervisor {
            self.count_children(1, node);
            let no_infinity = "leave `within` out: then only the budgets around this supervisor count";
            let stop = table.get("stop").and_then(|node| self.supervisor_stop(node, no_infinity));
            spec.stop_within = stop.unwrap_or(spec.stop_within);
            Form::Supervisor(self.supervisor(&table, &path, depth + 1))
        } else {
            let program = self.program(&table, &mut spec);
            self.count_children(program.replicas, node);
            Form::Program(Box::new(program))
        };
        Some(Child { name, line: self.line(node.key_span.start), spec, form })
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
    fn count_edges(&mut self, path: &TreePath, siblings: &[Child]) {
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
                    let error = Diagnostic::at(place.span.clone(), &place.keys, message)
                        .label(format!("this one stands for {more}"))
                        .expected(format!("at most {MAX_EDGES}, counted between all replicas"))
                        .help("let one child stand between two large sets: it waits for one, the other waits for it");
                    self.problems.push(error);
                }
            }
        }
    }

    /// Tells a program from a supervisor, and records every key that contradicts the kind.
    fn decide_kind(&mut self, node: &Node<'_>, table: &Table<'_>) -> bool {
        let what = child_called(node.key);
        let runs = table.get("command").or_else(|| table.get("shell"));
        let unknown = |node: &&Node<'_>| !PROGRAM.has(node.key) && !SUPERVISOR.has(node.key);
        let (known, foreign): (Option<&Keys>, Option<&Keys>) = match (runs, table.get("child")) {
            (Some(runs), Some(owns)) => {
                let error = runs.key_error(format!("{what} has both `{}` and children", runs.key));
                let error = error
                    .label("this makes it a program")
                    .related(owns.key_span.clone(), "this makes it a supervisor");
                self.problems.push(error.help("move the program into a child of its own"));
                (None, None)
            }
            (Some(_), None) => (Some(&PROGRAM), Some(&SUPERVISOR)),
            (None, Some(_)) => (Some(&SUPERVISOR), Some(&PROGRAM)),
            (None, None) => {
                let is_slip = |key| near_miss(key, ["command", "shell", "child"]).is_some();
                if !table.nodes.iter().filter(unknown).any(|node| is_slip(node.key)) {
                    self.nothing_to_do(node, table);
                }
                (None, None)
            }
        };
        let kind = if runs.is_some() { "a child that runs a program" } else { "a supervisor" };
        let kind = if known.is_none() { "a child" } else { kind };
        for key in table.nodes.iter().filter(unknown) {
            self.problems.push(key.unknown_key(kind, &known.map_or_else(any_child, Keys::names)));
        }
        let is_foreign = |node: &&Node<'_>| {
            foreign.is_some_and(|keys| keys.has(node.key)) && known.is_some_and(|keys| !keys.has(node.key))
        };
        for key in table.nodes.iter().filter(is_foreign) {
            self.contradiction(&what, key, runs.or_else(|| table.get("child")));
        }
        runs.is_none() && table.get("child").is_some()
    }

    /// Records a key of the other kind; `kind` is the key that decided this one.
    fn contradiction(&mut self, what: &str, key: &Node<'_>, kind: Option<&Node<'_>>) {
        let Some(kind) = kind else { return };
        let name = key.key;
        let error = if kind.key == "child" {
            let help = match name {
                "ready" => {
                    "a supervisor is ready when its children are; put `ready` on one of them".to_owned()
                }
                _ => format!("put `{name}` on the programs below this supervisor"),
            };
            key.key_error(format!("`{name}` is a key of programs, but {what} is a supervisor"))
                .label("no effect here")
                .related(kind.key_span.clone(), "these children make it a supervisor")
                .help(help)
        } else {
            key.key_error(format!("`{name}` is a key of supervisors, but {what} runs a program"))
                .label("no effect here")
                .related(kind.key_span.clone(), "this makes it a program")
                .help(format!("remove `{name}`, or put it on the supervisor around this child"))
        };
        self.problems.push(error);
    }

    /// Records that a child has neither a program nor children.
    fn nothing_to_do(&mut self, node: &Node<'_>, table: &Table<'_>) {
        let of_supervisor = table.nodes.iter().any(|node| SUPERVISOR.has(node.key) && !PROGRAM.has(node.key));
        let error = node.error(format!("{} has nothing to run", child_called(node.key)));
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

/// Returns the path of the table that holds `child`.
fn parent_path(child: &str) -> String {
    child.strip_suffix(".child").unwrap_or_default().to_owned()
}

/// Returns the name of a tree whose file gives none: its folder's, with what no name may have replaced by `-`.
fn folder_name(folder: &Path) -> String {
    let Some(name) = folder.file_name() else { return NAME.to_owned() };
    let name = name.to_string_lossy();
    let name: String =
        name.chars().map(|c| if fits_name(c) { c } else { '-' }).take(MAX_NAME_BYTES).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { NAME.to_owned() } else { name.to_owned() }
}
