//! Splits builders into the parts that the engine needs: declarations for the machine, and a body for each child.
//!
//! The machine returns the ids of the new children in pre-order (a supervisor before its children). Bodies are
//! collected in the same order, so each finds its child by position.

use crate::api::child::{Child, ChildKind, GroupParts};
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::engine::driver::{ChildBody, State, TreeInner};
use liveoak_core::{
    ChildDeclaration, ChildForm, ChildId, MAX_DEPTH, Name, NameError, Path, SpecError, SpecProblem,
};
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
    /// The names that are wrong.
    pub(crate) errors: Vec<SpecError>,
}

/// Splits a builder into declaration and bodies. The child will stand below `parent`, or be the root.
pub(crate) fn split(child: Child, parent: Option<&Path>) -> ChildParts {
    let mut bodies = Vec::new();
    let mut errors = Vec::new();
    let declaration = declare(child, parent, 1, &mut bodies, &mut errors);
    ChildParts { declaration, bodies, errors }
}

/// Returns the error of a name that a child at `path` cannot have.
pub(crate) fn wrong_name(path: Path, error: NameError) -> SpecError {
    SpecError { path, field: "name", problem: SpecProblem::Name(error) }
}

/// Declares a child that is `depth` levels below the parent, or is the root. Children that are nested too deep are left
/// out, because the check of the specs refuses their supervisor anyway.
fn declare(
    child: Child,
    parent: Option<&Path>,
    depth: usize,
    bodies: &mut Vec<DeclaredBody>,
    errors: &mut Vec<SpecError>,
) -> ChildDeclaration {
    let path = parent.map_or_else(|| Path::new(&child.name), |parent| parent.join(&child.name));
    let name = Name::new(child.name).unwrap_or_else(|error| {
        errors.push(wrong_name(path.clone(), error));
        Name::new("unnamed").unwrap_or_else(|_| unreachable!("`unnamed` is a name"))
    });
    if let Some(stop_within) = child.stop_within_for_service {
        let _ = stop_within.set(child.spec.stop_within);
    }
    let form = match child.kind {
        ChildKind::Leaf(body) => {
            bodies.push(DeclaredBody::Leaf(body));
            ChildForm::Leaf
        }
        ChildKind::Supervisor { mut spec, children, runtime } => {
            spec.dedicated_runtime = runtime.is_some();
            bodies.push(DeclaredBody::Supervisor { runtime, group: None });
            if depth <= MAX_DEPTH {
                let declare = |child| declare(child, Some(&path), depth + 1, bodies, errors);
                spec.children = children.into_vec().into_iter().map(declare).collect();
            }
            ChildForm::Supervisor(spec)
        }
        ChildKind::Group { mut spec, parts, runtime } => {
            spec.dedicated_runtime = runtime.is_some();
            bodies.push(DeclaredBody::Supervisor { runtime, group: Some(parts) });
            ChildForm::Group(*spec)
        }
    };
    ChildDeclaration { name, spec: child.spec, form }
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
            DeclaredBody::Leaf(body) => state.set_leaf(id, body),
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
