//! Modes: named sets of children that shall run.

use crate::{ChildDeclaration, ChildForm, Glob, Name, Path};

/// A named set of children that shall run. What they come after comes along, and so do the supervisors above them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// The name.
    pub name: Name,
    /// Patterns for the paths of the children, without the name of the root: `camera`, `motors/*`. A supervisor stands for
    /// all children below it, and the name of a replica set for all its replicas.
    pub run: Vec<Glob>,
}

impl Mode {
    /// Returns `true` if a pattern matches a child. `path` is the path of the child without the root.
    pub(crate) fn names(&self, path: &Path, replica_of: Option<&Name>) -> bool {
        self.run.iter().any(|pattern| matches(pattern, path, replica_of))
    }

    /// Returns the patterns that match no declared child below `root`.
    #[must_use]
    pub fn unmatched(&self, root: &ChildDeclaration) -> Vec<&Glob> {
        self.run.iter().filter(|pattern| !matches_below(pattern, root, None)).collect()
    }
}

fn matches(pattern: &Glob, path: &Path, replica_of: Option<&Name>) -> bool {
    pattern.matches(path) || replica_of.is_some_and(|set| pattern.matches(&in_place(path, set)))
}

/// Returns the path of a replica with the name of its set in the place of its own.
fn in_place(path: &Path, set: &Name) -> Path {
    let names: Vec<&str> = path.names().collect();
    let above = names[..names.len().saturating_sub(1)].iter();
    below(above.fold(None, |above, name| Some(below(above.as_ref(), name))).as_ref(), set.as_str())
}

/// Returns the path of a child, without the root. `above` is the path of its supervisor, `None` for the root.
pub(crate) fn below(above: Option<&Path>, name: &str) -> Path {
    above.map_or_else(|| Path::new(name), |above| above.join(name))
}

fn matches_below(pattern: &Glob, supervisor: &ChildDeclaration, above: Option<&Path>) -> bool {
    let ChildForm::Supervisor(spec) = &supervisor.form else { return false };
    spec.children.iter().any(|child| {
        let path = below(above, child.name.as_str());
        matches(pattern, &path, child.spec.replica_of.as_ref()) || matches_below(pattern, child, Some(&path))
    })
}
