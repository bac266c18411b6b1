//! One `[child.NAME]`: what kind it is, the keys that both kinds have, and which keys contradict each other.

use toml::de::DeValue;

use super::defaults::{self, MAX_CHILDREN, MAX_DEPTH};
use super::diagnostic::Span;
use super::keys;
use super::read::{Reader, child_called};
use super::table::{Node, Table, join, shown};
use super::values::{AutoShutdown, Condition, Restart};
use super::{Backoff, Child, Edge, Kind};

/// A child as declared, with the places that the checks across siblings point at.
pub(super) struct Declared {
    /// The child; its `after` is filled in by [`Declared::into_child`].
    child: Child,
    /// Where its name stands.
    pub(super) name_span: Span,
    /// Where its restart policy stands; the name if it is the default.
    pub(super) restart_span: Span,
    /// Its `after`, in the order of the file.
    pub(super) edges: Vec<DeclaredEdge>,
}

impl Declared {
    /// The child's name.
    pub(super) fn name(&self) -> &str {
        &self.child.name
    }

    /// The child's restart policy.
    pub(super) fn restart(&self) -> Restart {
        self.child.restart
    }

    /// How many of it run.
    pub(super) fn replicas(&self) -> u64 {
        match &self.child.kind {
            Kind::Process(process) => u64::from(process.replicas),
            Kind::Supervisor { .. } => 1,
        }
    }

    /// Leaves the places behind.
    pub(super) fn into_child(self) -> Child {
        Child { after: self.edges.into_iter().map(|declared| declared.edge).collect(), ..self.child }
    }
}

/// An `after` edge and where it stands.
pub(super) struct DeclaredEdge {
    /// The edge.
    pub(super) edge: Edge,
    /// Where its name stands.
    pub(super) span: Span,
    /// The keys that lead to it.
    pub(super) path: String,
}

impl Reader<'_> {
    /// Reads a `child` table: the children of a supervisor, in declared order.
    pub(super) fn children(&mut self, node: &Node<'_>, depth: usize, parent: AutoShutdown) -> Vec<Declared> {
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
        table.nodes.iter().filter_map(|node| self.child(node, depth, parent)).collect()
    }

    fn child(&mut self, node: &Node<'_>, depth: usize, parent: AutoShutdown) -> Option<Declared> {
        let what = child_called(node.key);
        self.check_name(node.key, "this name", node.key_error("this cannot be a child's name"));
        let Some(table) = node.table(&what, "[child.db]", &mut self.problems) else {
            self.count(1, node);
            return None;
        };
        let is_supervisor = self.decide_kind(node, &table);
        let (restart, restart_span) = match table.get("restart") {
            Some(restart) => (restart.word(&mut self.problems), restart.span.clone()),
            None => (None, node.key_span.clone()),
        };
        let restart = restart.unwrap_or(Restart::Permanent);
        let significant = self.significant(&table, restart, parent);
        let kind = if is_supervisor {
            self.count(1, node);
            let no_infinity = "leave `within` out: then only the budgets around this supervisor count";
            let stop = table.get("stop").and_then(|node| self.supervisor_stop(node, no_infinity));
            Kind::Supervisor { supervisor: self.supervisor(&table, depth + 1), stop_within: stop }
        } else {
            let process = self.process(&table);
            self.count(u64::from(process.replicas), node);
            Kind::Process(Box::new(process))
        };
        let child = Child {
            name: node.key.to_owned(),
            line: self.line(node.key_span.start),
            restart,
            backoff: self.backoff(&table),
            limit: table.get("limit").and_then(|node| self.limit(node)),
            after: Vec::new(),
            significant,
            kind,
        };
        let edges = table.get("after").map(|node| self.after(node)).unwrap_or_default();
        Some(Declared { child, name_span: node.key_span.clone(), restart_span, edges })
    }

    /// Counts children, and records it once when they are too many.
    fn count(&mut self, more: u64, node: &Node<'_>) {
        let before = self.children;
        self.children += more;
        if before <= MAX_CHILDREN && self.children > MAX_CHILDREN {
            let error = node.key_error("this file declares too many children");
            let error = error.label(format!("the {}th and following", MAX_CHILDREN + 1));
            self.problems.push(error.expected(format!("at most {MAX_CHILDREN}, every replica counted")));
        }
    }

    /// Tells a program from a supervisor, and records every key that contradicts the kind.
    fn decide_kind(&mut self, node: &Node<'_>, table: &Table<'_>) -> bool {
        let what = child_called(node.key);
        let runs = table.get("command").or_else(|| table.get("shell"));
        let unknown = |node: &&Node<'_>| !keys::any_child().contains(&node.key);
        let (known, foreign): (&[&[&'static str]], &[&str]) = match (runs, table.get("child")) {
            (Some(runs), Some(owns)) => {
                let error = runs.key_error(format!("{what} has both `{}` and children", runs.key));
                let error = error
                    .label("this makes it a program")
                    .related(owns.key_span.clone(), "this makes it a supervisor");
                self.problems.push(error.help("move the program into a child of its own"));
                (&[keys::PROCESS_ONLY, keys::SUPERVISOR_ONLY, keys::COMMON], &[])
            }
            (Some(_), None) => (&[keys::PROCESS_ONLY, keys::COMMON], keys::SUPERVISOR_ONLY),
            (None, Some(_)) => (&[keys::SUPERVISOR_ONLY, keys::COMMON], keys::PROCESS_ONLY),
            (None, None) => {
                let is_slip = |key| keys::near_miss(key, ["command", "shell", "child"]).is_some();
                if !table.nodes.iter().filter(unknown).any(|node| is_slip(node.key)) {
                    self.nothing_in(node, table);
                }
                (&[keys::PROCESS_ONLY, keys::SUPERVISOR_ONLY, keys::COMMON], &[])
            }
        };
        let kind = if runs.is_some() { "a child that runs a program" } else { "a supervisor" };
        let kind = if foreign.is_empty() { "a child" } else { kind };
        for key in table.nodes.iter().filter(unknown) {
            self.problems.push(key.unknown_key(kind, &known.concat()));
        }
        for key in table.nodes.iter().filter(|node| foreign.contains(&node.key)) {
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

    /// Records a child that neither runs anything nor has children.
    fn nothing_in(&mut self, node: &Node<'_>, table: &Table<'_>) {
        let of_supervisor = table.nodes.iter().any(|node| keys::SUPERVISOR_ONLY.contains(&node.key));
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

    fn significant(&mut self, table: &Table<'_>, restart: Restart, parent: AutoShutdown) -> bool {
        let Some(node) = table.get("significant") else { return false };
        let significant = node.boolean("significant = true", &mut self.problems).unwrap_or(false);
        if significant && restart == Restart::Permanent {
            let error = node.error("a permanent child cannot be significant");
            let error = error.label("it is always restarted, so its end never counts");
            self.problems.push(
                error.help("make it restart = \"transient\" or \"temporary\", or remove `significant`"),
            );
        }
        if significant && parent == AutoShutdown::Never {
            let error = node.error("`significant` has no effect under auto_shutdown = \"never\"");
            let error = error.label("no end of a child ends this child's supervisor");
            self.problems
                .push(error.help("set auto_shutdown = \"any-significant\" on the supervisor around it"));
        }
        significant
    }

    fn backoff(&mut self, table: &Table<'_>) -> Option<Backoff> {
        let default = Backoff {
            from: defaults::BACKOFF_FROM,
            to: defaults::BACKOFF_TO,
            reset_after: defaults::BACKOFF_RESET_AFTER,
        };
        let Some(node) = table.get("backoff") else { return Some(default) };
        let example = "backoff = { from = \"100ms\", to = \"30s\" }";
        match node.value {
            DeValue::Boolean(false) => return None,
            DeValue::Table(_) => {}
            _ => {
                let error = node.wrong_type("a table or false", example);
                self.problems.push(error.help("leave `backoff` out for the default, write false for none"));
                return Some(default);
            }
        }
        let table = node.table_of("`backoff`", keys::BACKOFF, example, &mut self.problems)?;
        let mut time = |key: &str, why: &str| table.get(key)?.positive(why, &mut self.problems);
        let from = time("from", "for no backoff at all write backoff = false").unwrap_or(default.from);
        let to = time("to", "for no backoff at all write backoff = false").unwrap_or(default.to);
        let reset_after = time("reset_after", "a run of no length would always reset the backoff");
        if from > to {
            let shown = super::values::show;
            let error = node.error("the backoff begins above its end");
            let error = error.label(format!("from {} to {}", shown(from), shown(to)));
            self.problems.push(
                error
                    .expected("`from` not above `to`")
                    .help(format!("the default of `to` is {}", shown(default.to))),
            );
        }
        Some(Backoff { from, to, reset_after: reset_after.unwrap_or(default.reset_after) })
    }

    /// Reads `after`: a table of name and condition, or an array of names that must be ready.
    fn after(&mut self, node: &Node<'_>) -> Vec<DeclaredEdge> {
        let example = "after = { cache = \"ready\" }";
        if let Some(names) = node.elements() {
            return names.iter().filter_map(|name| self.after_ready(name)).collect();
        }
        if !matches!(node.value, DeValue::Table(_)) {
            let error = node.wrong_type("a table or an array", example);
            self.problems.push(match node.value {
                DeValue::String(name) => error.help(format!("write [\"{}\"]", shown(name))),
                _ => error,
            });
            return Vec::new();
        }
        let Some(table) = node.table("`after`", example, &mut self.problems) else { return Vec::new() };
        let edge = |node: &Node<'_>| DeclaredEdge {
            edge: Edge {
                name: node.key.to_owned(),
                condition: node.word(&mut self.problems).unwrap_or(Condition::Ready),
            },
            span: node.key_span.clone(),
            path: node.path.clone(),
        };
        table.nodes.iter().map(edge).collect()
    }

    fn after_ready(&mut self, node: &Node<'_>) -> Option<DeclaredEdge> {
        let name = node.string("after = [\"cache\"]", &mut self.problems)?;
        Some(DeclaredEdge {
            edge: Edge { name: name.to_owned(), condition: Condition::Ready },
            span: node.span.clone(),
            path: node.path.clone(),
        })
    }
}

/// The path of the table that holds `child`.
fn parent_path(child: &str) -> String {
    child.strip_suffix(".child").unwrap_or_default().to_owned()
}
