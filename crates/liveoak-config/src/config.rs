//! The content of a file that has passed every check: the specs of `liveoak-core` and `liveoak-process`, with the lines and
//! replica counts of the file.

use crate::args::Args;
use crate::kinds::Kind;
use crate::source::{is_stdin, shown_name};
use liveoak_core::{
    ChildDeclaration, ChildForm, ChildSpec, DeclaredAt, Edge, Mode, Name, Need, Path, SpecWarning,
    SupervisorSpec,
};
use liveoak_process::{CommandLine, Probe};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A whole file, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file as the user named it; `-` is the standard input.
    pub file: PathBuf,
    /// The absolute folder of the file, against which its relative paths were resolved. For the standard input and for a
    /// pipe: the working directory.
    pub folder: PathBuf,
    /// The tree's name, the first part of every path.
    pub name: Name,
    /// How the root is supervised: its `stop_within` is the budget for the stop of the whole tree.
    pub spec: ChildSpec,
    /// The root supervisor.
    pub root: SupervisorConfig,
    /// The modes, in the order of the file. Their patterns are paths without the name of the tree.
    pub modes: Vec<Mode>,
    /// The warnings about values that are allowed but probably mistakes: at most 50, and one of the tree that counts the
    /// others.
    pub value_warnings: Vec<ValueWarning>,
}

/// A value of the file that is allowed but probably a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueWarning {
    /// The path of the child.
    pub child: Path,
    /// The key, dotted: `env.PATH`.
    pub field: String,
    /// What is probably wrong, and what to do.
    pub text: String,
}

impl std::fmt::Display for ValueWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.child, self.field, self.text)
    }
}

/// A supervisor and its children.
#[derive(Clone, Debug, PartialEq)]
pub struct SupervisorConfig {
    /// The rules of the supervisor. `spec.children` is always empty; use `children`.
    pub spec: SupervisorSpec,
    /// The children, in declared order; names are unique.
    pub children: Vec<ChildConfig>,
}

/// One child: a program, a supervisor, or a child of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildConfig {
    /// The name, unique among its siblings.
    pub name: Name,
    /// The line of the file that declares the child, counted from 1.
    pub line: usize,
    /// How the child is supervised. Its `after` names siblings as the file does: a replica set by the name of the set.
    pub spec: ChildSpec,
    /// `true` if its replicas have numbers in their names, also if there is only one left.
    pub(crate) numbered: bool,
    /// The program or the supervisor.
    pub form: Form,
}

/// The kind of a child.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// A program that is run as a process.
    Program(Box<ProgramConfig>),
    /// A nested supervisor.
    Supervisor(SupervisorConfig),
    /// A child of a kind, which only a program with this kind can make.
    Kind(Box<KindConfig>),
}

/// A child of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct KindConfig {
    /// The kind.
    pub kind: Kind,
    /// Its arguments.
    pub args: Args,
    /// How long it may take to stop, if the file says so. Otherwise the kind decides.
    pub stop_within: Option<Duration>,
    /// Whether it starts only when it is asked for, if the file says so.
    pub manual: Option<bool>,
    /// How long it is not ready any more before it is asked to stop, if the file says so.
    pub unready_for: Option<Duration>,
    /// The number of replicas, as in [`ProgramConfig::replicas`].
    pub replicas: u16,
    /// The arguments of the second replica and of those after it, if `{replica}` makes them different from those of the
    /// first one; else empty.
    pub others: Vec<Args>,
}

impl KindConfig {
    /// Returns the replica with this number, counted from 1, as a child without replicas.
    fn of_replica(&self, number: u16) -> Self {
        let other = number.checked_sub(2).and_then(|index| self.others.get(usize::from(index)));
        let args = other.unwrap_or(&self.args).clone();
        Self { args, replicas: 1, others: Vec::new(), ..self.clone() }
    }
}

/// A program that is run as a process.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramConfig {
    /// The command line, with its folder, variables (those of `env_file` merged in), successful exit codes and stop
    /// signal.
    pub command: CommandLine,
    /// The readiness probe. `None`: ready as soon as it runs.
    pub ready: Option<Probe>,
    /// The probe of each check of the child's spec.
    pub checks: Vec<Probe>,
    /// The number of replicas, at least 1. Above 1 they are named `NAME.1`, `NAME.2`, ...
    pub replicas: u16,
    /// The number of this replica, from 1. Before the tree is [expanded](Config::expanded), this is the first replica.
    pub replica: u16,
    /// The second replica and those after it, if `{replica}` makes them different from the first one; else empty.
    pub others: Vec<ReplicaConfig>,
}

/// The parts of a program that can differ between its replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaConfig {
    /// The command line.
    pub command: CommandLine,
    /// The readiness probe.
    pub ready: Option<Probe>,
    /// The probe of each check of the child's spec.
    pub checks: Vec<Probe>,
}

impl ProgramConfig {
    /// Returns the replica with this number, counted from 1, as a program without replicas.
    #[must_use]
    pub fn of_replica(&self, number: u16) -> Self {
        let other = number.checked_sub(2).and_then(|index| self.others.get(usize::from(index)));
        let own = (&self.command, &self.ready, &self.checks);
        let (command, ready, checks) =
            other.map_or(own, |other| (&other.command, &other.ready, &other.checks));
        let (command, ready, checks) = (command.clone(), ready.clone(), checks.clone());
        Self { command, ready, checks, replicas: 1, replica: number, others: Vec::new() }
    }
}

impl Config {
    /// Returns the same tree with every replica set `db` replaced by `db.1`, `db.2`, ... in its place, and every edge
    /// to the set replaced by one edge to each of them. The replicas of a set are one place in the order. In the result all
    /// `replicas` are 1.
    #[must_use]
    pub fn expanded(&self) -> Self {
        Self { root: expanded(&self.root), ..self.clone() }
    }

    /// Notes in each spec the line of the file that declares the child.
    pub(crate) fn note_places(&mut self) {
        let file: Arc<str> = self.shown_file().into();
        self.spec.declared_at = DeclaredAt::file(Arc::clone(&file), 1);
        let mut open = vec![&mut self.root];
        while let Some(supervisor) = open.pop() {
            for child in &mut supervisor.children {
                child.spec.declared_at = DeclaredAt::file(Arc::clone(&file), child.line);
                if let Form::Supervisor(nested) = &mut child.form {
                    open.push(nested);
                }
            }
        }
    }

    /// Returns the name of the file in messages.
    #[must_use]
    pub fn shown_file(&self) -> String {
        shown_name(&self.file)
    }

    /// Returns `true` if the file is the standard input.
    #[must_use]
    pub fn is_stdin(&self) -> bool {
        is_stdin(&self.file)
    }

    /// Returns the warnings about specs that are allowed but probably mistakes.
    #[must_use]
    pub fn warnings(&self) -> Vec<SpecWarning> {
        self.expanded().declaration().warnings()
    }

    /// Returns the warnings about command lines: the path of each program with one, and the sentence.
    #[must_use]
    pub fn command_warnings(&self) -> Vec<(Path, &'static str)> {
        let mut found = Vec::new();
        add_command_warnings(&self.root, &Path::new(self.name.as_str()), &mut found);
        found
    }

    /// Returns the specs of the whole tree, without command lines and probes. The core checks them.
    #[must_use]
    pub fn declaration(&self) -> ChildDeclaration {
        let form = ChildForm::Supervisor(self.root.declaration());
        ChildDeclaration { name: self.name.clone(), spec: self.spec.clone(), form }
    }
}

fn add_command_warnings(supervisor: &SupervisorConfig, above: &Path, found: &mut Vec<(Path, &'static str)>) {
    for child in &supervisor.children {
        let path = above.join(child.name.as_str());
        match &child.form {
            Form::Program(program) => found.extend(program.command.warning().map(|warning| (path, warning))),
            Form::Supervisor(supervisor) => add_command_warnings(supervisor, &path, found),
            Form::Kind(_) => {}
        }
    }
}

impl SupervisorConfig {
    fn declaration(&self) -> SupervisorSpec {
        let of_child = |child: &ChildConfig| ChildDeclaration {
            name: child.name.clone(),
            spec: child.spec.clone(),
            form: match &child.form {
                Form::Program(_) | Form::Kind(_) => ChildForm::Leaf,
                Form::Supervisor(supervisor) => ChildForm::Supervisor(supervisor.declaration()),
            },
        };
        SupervisorSpec { children: self.children.iter().map(of_child).collect(), ..self.spec.clone() }
    }
}

impl ChildConfig {
    /// Returns the number of replicas; 1 for a supervisor.
    pub(crate) fn replicas(&self) -> u16 {
        match &self.form {
            Form::Program(program) => program.replicas,
            Form::Kind(kind) => kind.replicas,
            Form::Supervisor(_) => 1,
        }
    }

    /// Returns the names of the children in the expanded tree: the child's own name, or the names of its replicas.
    fn instances(&self) -> Vec<Name> {
        match self.replicas() {
            1 if !self.numbered => vec![self.name.clone()],
            // A name in the file has at most 64 bytes. So the number fits into the longer names of the core.
            many => {
                (1..=many).filter_map(|number| Name::new(format!("{}.{number}", self.name)).ok()).collect()
            }
        }
    }
}

fn expanded(supervisor: &SupervisorConfig) -> SupervisorConfig {
    let instances: HashMap<&str, Vec<Name>> =
        supervisor.children.iter().map(|child| (child.name.as_str(), child.instances())).collect();
    let mut children = Vec::new();
    for child in &supervisor.children {
        let edges = child.spec.after.iter().flat_map(|edge| {
            let names = instances.get(edge.child.as_str()).into_iter().flatten();
            names.map(|name| Edge { child: name.clone(), condition: edge.condition })
        });
        let needs = child.spec.needs.iter().flat_map(|need| {
            let names = instances.get(need.child.as_str()).into_iter().flatten();
            names.map(|name| Need { child: name.clone(), grace: need.grace })
        });
        // In a tree that is expanded already, no child is numbered any more.
        let replica_of =
            if child.numbered { Some(child.name.clone()) } else { child.spec.replica_of.clone() };
        let spec =
            ChildSpec { after: edges.collect(), needs: needs.collect(), replica_of, ..child.spec.clone() };
        for (number, name) in (1..).zip(&instances[child.name.as_str()]) {
            let form = match &child.form {
                Form::Supervisor(supervisor) => Form::Supervisor(expanded(supervisor)),
                Form::Program(program) if !child.numbered => Form::Program(program.clone()),
                Form::Program(program) => Form::Program(Box::new(program.of_replica(number))),
                Form::Kind(kind) => Form::Kind(Box::new(kind.of_replica(number))),
            };
            let (name, spec) = (name.clone(), spec.clone());
            children.push(ChildConfig { name, line: child.line, spec, numbered: false, form });
        }
    }
    SupervisorConfig { spec: supervisor.spec.clone(), children }
}
