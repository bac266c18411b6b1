//! Whether an intensity can be exceeded at all. The backoffs of the children can spread the failures so far that too few of
//! them fall into its period.
//!
//! The arithmetic assumes that each child always fails immediately, and that each delay is as long as the backoff allows.

use super::{ChildDeclaration, ChildForm, Limit, Restart, SupervisorSpec};
use crate::{Backoff, Name, Path};
use std::fmt;
use std::time::Duration;

/// A warning about a spec that is allowed, but probably a mistake. It prints as `path: field: sentence`.
///
/// A child without a `limit` relies on the intensity of its supervisor. If the backoff of the child keeps the child from
/// exceeding the intensity alone, the child may be restarted for ever. All children with the same backoff share one
/// warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecWarning {
    /// The supervisor.
    pub path: Path,
    /// The name of the field in the spec.
    pub field: &'static str,
    /// The children that cannot exceed the intensity alone. Never empty.
    pub children: Vec<Name>,
    /// The backoff of each of them.
    pub backoff: Backoff,
    /// How often such a child fails within the period at least, if it always fails immediately.
    pub failures: u64,
    /// The intensity.
    pub intensity: Limit,
}

/// How many children a warning names.
const MAX_NAMED: usize = 12;

impl fmt::Display for SpecWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, field, children, backoff, failures, intensity } = self;
        let named: Vec<&str> = children.iter().take(MAX_NAMED).map(Name::as_str).collect();
        write!(f, "{path}: {field}: {}", named.join(", "))?;
        if children.len() > MAX_NAMED {
            write!(f, " and {} more", children.len() - MAX_NAMED)?;
        }
        let (from, to, period, restarts) = (backoff.from, backoff.to, intensity.period, intensity.restarts);
        write!(
            f,
            ": such a child alone may never exceed it: if it always fails immediately, with a backoff from {from:?} to \
             {to:?}, it may fail only {failures} times within {period:?}, and {restarts} restarts are allowed; give it \
             a limit of its own"
        )
    }
}

impl ChildDeclaration {
    /// Returns the warnings about the declared tree.
    #[must_use]
    pub fn warnings(&self) -> Vec<SpecWarning> {
        let mut warnings = Vec::new();
        self.resolved().add_warnings(&Path::new(self.name.as_str()), &mut warnings);
        warnings
    }

    fn add_warnings(&self, path: &Path, warnings: &mut Vec<SpecWarning>) {
        let ChildForm::Supervisor(spec) = &self.form else { return };
        if let Some(intensity) = spec.intensity {
            // A child whose own limit ends its restarts needs no warning.
            let lonely = restartable(spec).filter(|child| child.spec.limit.is_none());
            for child in lonely {
                let Some(backoff) = child.spec.backoff else { continue };
                let failures = backoff.failures_within(intensity.period);
                if failures > u64::from(intensity.restarts) || intensity.restarts == Limit::UNLIMITED {
                    continue;
                }
                let same = |other: &&mut SpecWarning| other.path == *path && other.backoff == backoff;
                match warnings.iter_mut().find(same) {
                    Some(warning) => warning.children.push(child.name.clone()),
                    None => warnings.push(SpecWarning {
                        path: path.clone(),
                        field: "intensity",
                        children: vec![child.name.clone()],
                        backoff,
                        failures,
                        intensity,
                    }),
                }
            }
        }
        for child in &spec.children {
            child.add_warnings(&path.join(child.name.as_str()), warnings);
        }
    }
}

/// Returns how often all restartable children of a supervisor together fail within the period of its intensity. Returns
/// `None` if that is often enough to exceed the intensity. Otherwise the intensity has no effect.
///
/// Also returns `None` for a supervisor without restartable children, because restartable children may be added later.
pub(crate) fn out_of_reach(spec: &SupervisorSpec) -> Option<u64> {
    let intensity = spec.intensity.filter(|limit| limit.restarts != Limit::UNLIMITED)?;
    let failures = |child: &ChildDeclaration| failures_of(child, intensity.period);
    let together = restartable(spec).map(failures).reduce(u64::saturating_add)?;
    (together <= u64::from(intensity.restarts)).then_some(together)
}

fn restartable(spec: &SupervisorSpec) -> impl Iterator<Item = &ChildDeclaration> {
    spec.children.iter().filter(|child| child.spec.restart != Restart::Temporary)
}

fn failures_of(child: &ChildDeclaration, period: Duration) -> u64 {
    child.spec.backoff.map_or(u64::MAX, |backoff| backoff.failures_within(period))
}
