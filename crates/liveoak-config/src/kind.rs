//! The keys of a child of a kind: `kind` and `args`.

use crate::args::Args;
use crate::bounds::MAX_CHILDREN;
use crate::config::{Form, KindConfig, ProgramConfig};
use crate::diagnostic::{Diagnostic, Error};
use crate::fault::{Fault, Problem, Step, path_of};
use crate::keys::{KIND_STOP, any_child};
use crate::kinds::Kind;
use crate::reader::Reader;
use crate::replica::Filled;
use crate::table::{Node, Table};
use crate::text::{escaped, near_miss, one_of};
use liveoak_core::{ChildSpec, Ready};
use liveoak_process::CommandLine;
use serde_json::{Map, Number, Value};
use std::time::Duration;
use toml::de::DeValue;

const ARGS_EXAMPLE: &str = "args = { device = \"/dev/video0\" }";

impl Reader<'_> {
    /// Reads a child of a kind, and returns its number of replicas too. Records an error for a wrong value; if there is no
    /// such kind, returns a placeholder.
    pub(crate) fn of_kind(&mut self, table: &Table<'_>, spec: &mut ChildSpec) -> (Form, u16) {
        let replicas = self.replicas(table);
        // The kind decides when the child is ready.
        spec.ready = Ready::Reported;
        self.check_replica_words(table, replicas);
        let (stop_within, unready_for) = self.kind_stop(table);
        if let Some(within) = stop_within {
            spec.set_stop_within(within);
        }
        // Without `within` the kind decides how long the stop may take, so the start compares the two.
        let fits = |time: &Duration| stop_within.is_some() || *time < spec.stop_within;
        if let Some(time) = unready_for.filter(fits) {
            spec.set_unready_for(time);
        }
        let manual = table.get("start").map(|_| spec.manual);
        let kind = table.get("kind").and_then(|node| self.known_kind(node));
        let before = self.problems.count();
        let args = self.args(table, kind.as_ref(), (1, replicas));
        let mut others = Vec::new();
        for number in 2..=replicas {
            // As for programs: arguments that are the same for all replicas are read once, so their errors are shown once.
            let differ = Filled::new(table, number, replicas).has_any();
            if !differ || self.problems.count() > before || self.children > MAX_CHILDREN {
                break;
            }
            others.push(self.args(table, kind.as_ref(), (number, replicas)));
        }
        let form = match kind {
            Some(kind) => Form::Kind(Box::new(KindConfig {
                kind,
                args,
                stop_within,
                manual,
                unready_for,
                replicas,
                others,
            })),
            None => {
                let command = CommandLine::new("");
                Form::Program(Box::new(ProgramConfig {
                    command,
                    ready: None,
                    checks: Vec::new(),
                    replicas,
                    replica: 1,
                    others: Vec::new(),
                }))
            }
        };
        (form, replicas)
    }

    /// Reads the `stop` of a kind: `within` and `unready_for`.
    fn kind_stop(&mut self, table: &Table<'_>) -> (Option<Duration>, Option<Duration>) {
        let example = "stop = { within = \"5s\" }";
        let stop = table
            .get("stop")
            .and_then(|node| self.table_of(node, "the `stop` of a kind", &KIND_STOP, example));
        let Some(stop) = stop else { return (None, None) };
        (
            self.value(&stop, "within", |node| node.duration(None)),
            self.value(&stop, "unready_for", Node::finite),
        )
    }

    /// Returns the kind that a file names, or records why it cannot be used.
    fn known_kind(&mut self, node: &Node<'_>) -> Option<Kind> {
        let name = self.record(node.filled("kind = \"camera\""))?;
        let Some(kinds) = self.kinds else {
            let error = node.key_error("`kind` needs a library program");
            let error = error.label("`liveoak` itself has no kinds");
            let help =
                "start the program that has this kind; it reads this file. Or give the child a `command`";
            self.problems.push(error.help(help));
            return None;
        };
        if let Some(kind) = kinds.get(name) {
            return Some(kind.clone());
        }
        let near = near_miss(name, kinds.names()).map(|near| format!("did you mean \"{near}\"?"));
        let error = node.error(format!("there is no kind `{}`", escaped(name)));
        let error = error.label("no kind of this program").help_if(near);
        self.problems.push(match kinds.names().next() {
            None => error.help("this program has no kinds; add one before the file is read"),
            Some(_) => error.expected(one_of(kinds.names())),
        });
        None
    }

    /// Reads the arguments of the replica `number` of `replicas`, and records what is wrong with them.
    fn args(&mut self, table: &Table<'_>, kind: Option<&Kind>, (number, replicas): (u16, u16)) -> Args {
        let filled = Filled::new(table, number, replicas);
        let table = filled.table(table);
        let node = table.get("args");
        let mut args = Args::default();
        if let Some(node) = node {
            let before = self.problems.count();
            let Some(_) = self.record(node.table("`args`", ARGS_EXAMPLE)) else { return args };
            if let Some(Value::Object(values)) = self.plain_value(node) {
                args = Args(values);
            }
            // The type of the kind would complain about what could not be read.
            if self.problems.count() > before {
                return args;
            }
        }
        for fault in kind.iter().flat_map(|kind| kind.faults(&args)) {
            let error = match (node, table.get("kind")) {
                (Some(node), _) => at_fault(node, &fault),
                (None, Some(kind)) => without_args(kind, &fault),
                (None, None) => continue,
            };
            self.problems.push(error);
        }
        args
    }

    /// Returns a value of the file as a plain value, or records why it has no such form.
    fn plain_value(&mut self, node: &Node<'_>) -> Option<Value> {
        Some(match node.value {
            DeValue::String(text) => Value::String(text.clone().into_owned()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(moment) => Value::String(moment.to_string()),
            DeValue::Integer(digits) => {
                let (text, radix) = (digits.as_str(), digits.radix());
                let signed = i64::from_str_radix(text, radix).ok().map(Number::from);
                let number = signed.or_else(|| u64::from_str_radix(text, radix).ok().map(Number::from));
                match number {
                    Some(number) => Value::Number(number),
                    None => {
                        let error = node.error(format!("`{}` is out of range", node.path));
                        self.problems.push(error.expected("a number of at most 64 bits"));
                        return None;
                    }
                }
            }
            DeValue::Float(digits) => match digits.as_str().parse().ok().and_then(Number::from_f64) {
                Some(number) => Value::Number(number),
                None => {
                    let error = node.error(format!("`{}` is no finite number", node.path));
                    let help = "leave it out, or write a number; `inf` and `nan` cannot be given to a kind";
                    self.problems.push(error.help(help));
                    return None;
                }
            },
            DeValue::Array(_) => {
                let elements = node.elements().unwrap_or_default();
                Value::Array(elements.iter().filter_map(|element| self.plain_value(element)).collect())
            }
            DeValue::Table(table) => {
                let table = Table::new(node.path.clone(), node.span.clone(), table);
                let entry = |node: &Node<'_>| Some((node.key.to_owned(), self.plain_value(node)?));
                Value::Object(table.nodes.iter().filter_map(entry).collect::<Map<_, _>>())
            }
        })
    }
}

/// Returns the error for what is wrong with the arguments at `args`, at its place.
fn at_fault(args: &Node<'_>, fault: &Fault) -> Error {
    let mut at = args.clone();
    for step in fault.steps() {
        let next = match (step, at.value) {
            (Step::Key(key), DeValue::Table(table)) => {
                Table::new(at.path.clone(), at.span.clone(), table).get(key).cloned()
            }
            (Step::Index(index), DeValue::Array(_)) => {
                at.elements().and_then(|elements| elements.get(*index).cloned())
            }
            _ => None,
        };
        let Some(next) = next else { break };
        at = next;
    }
    let message = match &fault.problem {
        Problem::Key { .. } => format!("unknown key `{}`", escaped(at.key)),
        problem => problem.message(&at.path),
    };
    let (span, label) = match &fault.problem {
        Problem::Key { .. } => (at.key_span, "not a key of this kind".to_owned()),
        Problem::Type { found, .. } | Problem::Inside { found, .. } => (at.span, format!("found {found}")),
        Problem::Word { .. } => (at.span, "not one of the words for it".to_owned()),
        _ => (at.span, String::new()),
    };
    let error = Diagnostic::at(span, at.path, message).label(label);
    let error = fault.problem.expected().into_iter().fold(error, |error, expected| error.expected(expected));
    error.help_if(fault.problem.help())
}

/// Returns the error for arguments that the file leaves out, at the name of the kind.
fn without_args(kind: &Node<'_>, fault: &Fault) -> Error {
    let message = match &fault.problem {
        Problem::Missing(key) => format!("this kind needs `{key}` in `args`"),
        problem => problem.message(&path_of("args", fault.steps())),
    };
    kind.error(message).help(format!("add it, as in: {ARGS_EXAMPLE}")).help_if(match &fault.problem {
        Problem::Missing(key) => Some(format!("add args = {{ {key} = ... }}")),
        _ => None,
    })
}

/// Returns the error for a key that a child of a kind cannot have, because of its `kind`.
pub(crate) fn not_of_a_kind(what: &str, key: &Node<'_>, cause: &Node<'_>) -> Error {
    let of = if crate::keys::PROGRAM.has(key.key) { "programs" } else { "supervisors" };
    debug_assert!(any_child().contains(&key.key));
    let error = key.key_error(format!("`{}` is a key of {of}, but {what} is of a kind", key.key));
    error
        .label("no effect here")
        .related(cause.key_span.clone(), "this makes it a child of a kind")
        .help(format!("remove `{}`, or let the kind take it in `args`", key.key))
}
