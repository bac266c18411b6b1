//! The modes of a tree as they are declared, and their check.

use liveoak_core::{ChildDeclaration, Glob, Mode, Name, Path, SpecError, SpecProblem};
use std::fmt;

/// The modes of a supervisor, before they are checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeclaredModes {
    /// The name and the patterns of each.
    modes: Vec<(String, Vec<String>)>,
    /// The mode in which the tree starts.
    first: Option<String>,
}

impl DeclaredModes {
    pub(crate) fn add(&mut self, name: String, run: Vec<String>) {
        self.modes.push((name, run));
    }

    pub(crate) fn start_in(&mut self, mode: String) {
        self.first = Some(mode);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.modes.is_empty() && self.first.is_none()
    }

    /// Returns the error of a supervisor that has modes and is not the root.
    pub(crate) fn misplaced(path: Path) -> SpecError {
        wrong(
            path,
            "modes belong to the root of a tree: declare them there, with the path of each child".to_owned(),
        )
    }

    /// Returns the modes of the tree that `root` declares, and the one in which the tree starts. Everything that is wrong
    /// is added to `errors`.
    pub(crate) fn check(
        self,
        root: &ChildDeclaration,
        errors: &mut Vec<SpecError>,
    ) -> (Vec<Mode>, Option<Name>) {
        let path = Path::new(root.name.as_str());
        let mut checked: Vec<Mode> = Vec::new();
        for (name, run) in self.modes {
            let mut refuse = |why: String| errors.push(wrong(path.clone(), format!("mode {name:?}: {why}")));
            let globs = run.into_iter().filter_map(|pattern| match Glob::new(pattern) {
                Ok(glob) => Some(glob),
                Err(error) => {
                    refuse(error.to_string());
                    None
                }
            });
            let globs = globs.collect();
            let name = match Name::new(name.as_str()) {
                Ok(name) => name,
                Err(error) => {
                    refuse(error.to_string());
                    continue;
                }
            };
            if checked.iter().any(|mode| mode.name == name) {
                refuse("there are two modes of this name".to_owned());
                continue;
            }
            let mode = Mode { name, run: globs };
            for pattern in mode.unmatched(root) {
                refuse(format!("the pattern `{pattern}` matches no declared child"));
            }
            checked.push(mode);
        }
        let first = self.first.and_then(|first| {
            let known = checked.iter().find(|mode| mode.name.as_str() == first);
            if known.is_none() {
                let unknown = UnknownMode { name: first, known: names(&checked) };
                errors.push(wrong(path, unknown.to_string()));
            }
            known.map(|mode| mode.name.clone())
        });
        (checked, first)
    }
}

fn wrong(path: Path, why: String) -> SpecError {
    SpecError { path, field: "mode", problem: SpecProblem::Refused(why.into()) }
}

pub(crate) fn names(modes: &[Mode]) -> Vec<Name> {
    modes.iter().map(|mode| mode.name.clone()).collect()
}

/// The tree has no mode of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMode {
    /// The name that was asked for.
    pub name: String,
    /// The names of the modes of the tree.
    pub known: Vec<Name>,
}

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no mode `{}`", self.name)?;
        match self.known.as_slice() {
            [] => f.write_str("; the tree has no modes"),
            [first, more @ ..] => {
                write!(f, "; the modes are `{first}`")?;
                more.iter().try_for_each(|name| write!(f, ", `{name}`"))
            }
        }
    }
}

impl std::error::Error for UnknownMode {}
