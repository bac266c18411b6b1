//! Splits builders into the parts that the engine needs: declarations for the machine, and a body for each child.
//!
//! The machine returns the ids of the new children in pre-order (a supervisor before its children). Bodies are
//! collected in the same order, so each finds its child by position.

use crate::api::child::{Child, ChildKind, Children, GroupParts};
use crate::api::declared_modes::DeclaredModes;
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::engine::driver::{ChildBody, State, TreeInner};
use liveoak_core::{
    ChildDeclaration, ChildForm, ChildId, MAX_DEPTH, Name, NameError, Path, SpecError, SpecProblem,
};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) enum DeclaredBody {
    Leaf(Arc<ChildBody>),
    /// A supervisor, or a group.
    Supervisor {
        runtime: Option<DedicatedRuntime>,
        group: Option<GroupParts>,
    },
}

pub(crate) struct ChildParts {
    pub(crate) declaration: ChildDeclaration,
    /// The bodies of the child and of all children below it, in pre-order.
    pub(crate) bodies: Vec<DeclaredBody>,
    /// The errors: wrong names, and wrong choices of a runtime.
    pub(crate) errors: Vec<SpecError>,
    /// A child that needs a dedicated runtime of one thread above the children that are declared here.
    pub(crate) needs_one_thread: Option<Path>,
    /// The parts that the declaration cannot hold, by the position of the child in `bodies`.
    not_declared: BTreeMap<usize, NotDeclared>,
}

/// The parts of a wrong builder that a declaration cannot hold.
#[derive(Default)]
struct NotDeclared {
    /// The name, if it is wrong.
    name: Option<String>,
    /// The children that are nested too deep.
    too_deep: Children,
    /// `true` if a runtime was chosen for a child that is not a leaf.
    runtime_is_misplaced: bool,
    /// The modes of a supervisor that is not the root.
    modes: DeclaredModes,
}

/// Splits a builder into declaration and bodies. The child will be a child of `parent`, or the root.
pub(crate) fn split(child: Child, parent: Option<&Path>) -> ChildParts {
    let mut split = Split::default();
    let declaration = split.declare(child, parent, Level { depth: 1, one_thread: None });
    let Split { bodies, errors, not_declared, needs_one_thread } = split;
    ChildParts { declaration, bodies, errors, needs_one_thread, not_declared }
}

/// Makes a builder again from its parts, because the child was refused. Each builder has the name that it was given.
pub(crate) fn join(parts: ChildParts, own_name: Name) -> Child {
    let ChildParts { mut declaration, bodies, mut not_declared, errors: _, needs_one_thread: _ } = parts;
    declaration.name = own_name;
    join_one(declaration, &mut (0..).zip(bodies), &mut not_declared)
}

fn join_one(
    declaration: ChildDeclaration,
    bodies: &mut impl Iterator<Item = (usize, DeclaredBody)>,
    not_declared: &mut BTreeMap<usize, NotDeclared>,
) -> Child {
    let ChildDeclaration { name, spec, mut form } = declaration;
    let Some((at, body)) = bodies.next() else { unreachable!("each declared child has a body") };
    let NotDeclared { name: wrong_name, too_deep, runtime_is_misplaced, modes } =
        not_declared.remove(&at).unwrap_or_default();
    let kind = match (&mut form, body) {
        (ChildForm::Supervisor(spec), DeclaredBody::Supervisor { runtime, group: None }) => {
            let mut children = too_deep;
            for child in std::mem::take(&mut spec.children) {
                children.add(join_one(child, bodies, not_declared));
            }
            ChildKind::Supervisor { spec: std::mem::take(spec), children, runtime, modes }
        }
        (ChildForm::Group(spec), DeclaredBody::Supervisor { runtime, group: Some(parts) }) => {
            ChildKind::Group { spec: Box::new(std::mem::take(spec)), parts, runtime }
        }
        (ChildForm::Leaf, DeclaredBody::Leaf(body)) => ChildKind::Leaf(body),
        _ => unreachable!("declarations and bodies have the same order"),
    };
    Child { name: wrong_name.unwrap_or_else(|| name.as_str().to_owned()), spec, kind, runtime_is_misplaced }
}

/// Returns the error of a child that cannot run on its runtime.
pub(crate) fn wrong_runtime(path: Path, problem: &'static str) -> SpecError {
    SpecError { path, field: "runtime", problem: SpecProblem::Refused(problem.into()) }
}

/// Why a child that is not `Send` cannot run at its place.
pub(crate) const NEEDS_ONE_THREAD: &str = "a child that is not `Send` runs on a dedicated runtime of one thread only: \
     give a supervisor above it `dedicated_runtime(DedicatedRuntime::one_thread(..))`";

/// Returns the error of a name that a child at `path` cannot have.
pub(crate) fn wrong_name(path: Path, error: NameError) -> SpecError {
    SpecError { path, field: "name", problem: SpecProblem::Name(error) }
}

/// A builder that is being split.
#[derive(Default)]
struct Split {
    bodies: Vec<DeclaredBody>,
    errors: Vec<SpecError>,
    not_declared: BTreeMap<usize, NotDeclared>,
    needs_one_thread: Option<Path>,
}

/// Where a child is declared.
#[derive(Clone, Copy)]
struct Level {
    /// How many levels it is below the parent, or the number of its level in the tree.
    depth: usize,
    /// Whether the nearest dedicated runtime that is declared above it has one thread only.
    one_thread: Option<bool>,
}

impl Split {
    /// Declares a child. Children that are nested too deep are left
    /// out, because the check of the specs refuses their supervisor anyway.
    fn declare(&mut self, child: Child, parent: Option<&Path>, level: Level) -> ChildDeclaration {
        let path = parent.map_or_else(|| Path::new(&child.name), |parent| parent.join(&child.name));
        let at = self.bodies.len();
        let name = Name::new(child.name.as_str()).unwrap_or_else(|error| {
            self.errors.push(wrong_name(path.clone(), error));
            self.not_declared.entry(at).or_default().name = Some(child.name);
            Name::new("unnamed").unwrap_or_else(|_| unreachable!("`unnamed` is a name"))
        });
        if child.runtime_is_misplaced {
            let problem = "a runtime is chosen for a task, thread, service or program; a supervisor or a group has a \
                 `dedicated_runtime`";
            self.errors.push(wrong_runtime(path.clone(), problem));
            self.not_declared.entry(at).or_default().runtime_is_misplaced = true;
        }
        let form = match child.kind {
            ChildKind::Leaf(body) => {
                self.check_runtime(&path, &body, level);
                if child.spec.poll_limit.is_some() && !body.has_polls() {
                    let problem = "a thread has no polls to watch; expected no limit, or a task".into();
                    let problem = SpecProblem::Refused(problem);
                    self.errors.push(SpecError { path: path.clone(), field: "poll_limit", problem });
                }
                self.bodies.push(DeclaredBody::Leaf(body));
                ChildForm::Leaf
            }
            ChildKind::Supervisor { mut spec, children, runtime, modes } => {
                spec.dedicated_runtime = runtime.is_some();
                if !modes.is_empty() {
                    self.errors.push(DeclaredModes::misplaced(path.clone()));
                    self.not_declared.entry(at).or_default().modes = modes;
                }
                let one_thread = runtime.as_ref().map(DedicatedRuntime::is_one_thread).or(level.one_thread);
                let below = Level { depth: level.depth + 1, one_thread };
                self.bodies.push(DeclaredBody::Supervisor { runtime, group: None });
                if level.depth <= MAX_DEPTH {
                    let declare = |child| self.declare(child, Some(&path), below);
                    spec.children = children.into_vec().into_iter().map(declare).collect();
                } else {
                    self.not_declared.entry(at).or_default().too_deep = children;
                }
                ChildForm::Supervisor(spec)
            }
            ChildKind::Group { mut spec, parts, runtime } => {
                spec.dedicated_runtime = runtime.is_some();
                self.bodies.push(DeclaredBody::Supervisor { runtime, group: Some(parts) });
                ChildForm::Group(*spec)
            }
        };
        ChildDeclaration { name, spec: child.spec, form }
    }

    fn check_runtime(&mut self, path: &Path, body: &Arc<ChildBody>, level: Level) {
        match (body.needs_one_thread(), body.runtime(), level.one_thread) {
            (false, ..) | (true, None, Some(true)) => {}
            (true, None, None) => drop(self.needs_one_thread.get_or_insert_with(|| path.clone())),
            (true, Some(_), _) | (true, None, Some(false)) => {
                self.errors.push(wrong_runtime(path.clone(), NEEDS_ONE_THREAD));
            }
        }
    }
}

/// Stores the bodies of new children, by the ids that the machine returned. Returns the bodies of children that the
/// machine has already removed again; the caller drops them outside the lock.
pub(crate) fn install(
    state: &mut State,
    tree: &Arc<TreeInner>,
    ids: Vec<ChildId>,
    bodies: Vec<DeclaredBody>,
) -> Vec<DeclaredBody> {
    let mut unused = Vec::new();
    for (id, body) in ids.into_iter().zip(bodies) {
        match body {
            body if state.machine.path(id).is_none() => unused.push(body),
            DeclaredBody::Leaf(body) => state.set_declared_leaf(id, body),
            DeclaredBody::Supervisor { runtime, group } => {
                let member_maker = group.map(|group| {
                    group.address.set(tree, id);
                    group.member_maker
                });
                state.set_supervisor(id, runtime, member_maker);
            }
        }
    }
    unused
}
