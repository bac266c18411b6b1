//! All rules about specs, applied to a whole tree before anything starts. Source: OTP rows C8 and C9.

use super::{
    AutoShutdown, ChildDeclaration, ChildForm, ChildSpec, Condition, GroupSpec, Limit, Ready, Restart,
    SupervisorSpec, start_order,
};
use crate::{Name, Path};
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The child (or supervisor) whose spec is wrong.
    pub path: Path,
    /// The field, as it is called in the spec.
    pub field: &'static str,
    /// What is wrong, with the value, and what was expected.
    pub message: String,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.path, self.field, self.message)
    }
}

/// Everything that is wrong with a tree's spec. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecErrors(pub Vec<SpecError>);

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for SpecErrors {}

/// The deepest nesting of supervisors. Far beyond any sensible tree; bounds recursion.
const MAX_DEPTH: usize = 64;

/// The most children that one supervisor may have, declared and added together. Each is looked at when another starts or
/// stops; more of a kind are members of a group, which has a bound of its own. A declaration with more is a spec error, and one
/// more at run time is refused as [`Refusal::Full`](crate::Refusal::Full).
pub const MAX_CHILDREN: usize = 10_000;

impl SupervisorSpec {
    /// Applies all rules to the tree called `name`.
    ///
    /// # Errors
    /// All broken rules at once, each with the path, the field and what was expected.
    pub fn check(&self, name: &Name) -> Result<(), SpecErrors> {
        let mut check = Check { errors: Vec::new() };
        check.supervisor(&Path::new(name.as_str()), self, 1);
        check.finish()
    }
}

/// Checks a child that is to be added below `parent`, among `siblings`.
pub(crate) fn added_child<'a>(
    parent: &Path,
    declared: &ChildDeclaration,
    rules: (AutoShutdown, usize),
    siblings: impl Iterator<Item = (&'a str, Restart)>,
) -> Result<(), SpecErrors> {
    let mut check = Check { errors: Vec::new() };
    let path = parent.join(declared.name.as_str());
    check.declared(&path, declared, rules.0);
    check.work(&path, &declared.form, rules.1 + 1);
    if !declared.spec.after.is_empty() {
        let known: HashMap<&str, Restart> = siblings.collect();
        check.edges(&path, &declared.spec, |name| known.get(name).copied());
    }
    check.finish()
}

/// Checks a whole tree, and what is declared of its root as a child.
pub(crate) fn tree(root: &ChildDeclaration) -> Result<(), SpecErrors> {
    let mut check = Check { errors: Vec::new() };
    let path = Path::new(root.name.as_str());
    check.child(&path, &root.spec, AutoShutdown::Never);
    check.no_heartbeat(&path, &root.spec);
    if !root.spec.after.is_empty() {
        check.wrong(&path, "after", "the root of a tree has no siblings to come after");
    }
    if root.spec.restart != Restart::Permanent || root.spec.limit.is_some() {
        let message =
            "there is nobody above the root of a tree to restart it; put it below another supervisor";
        check.wrong(&path, "restart", message);
    }
    check.work(&path, &root.form, 1);
    check.finish()
}

struct Check {
    errors: Vec<SpecError>,
}

impl Check {
    fn finish(self) -> Result<(), SpecErrors> {
        if self.errors.is_empty() { Ok(()) } else { Err(SpecErrors(self.errors)) }
    }

    fn wrong(&mut self, path: &Path, field: &'static str, message: impl Into<String>) {
        self.errors.push(SpecError { path: path.clone(), field, message: message.into() });
    }

    fn supervisor(&mut self, path: &Path, spec: &SupervisorSpec, depth: usize) {
        if depth > MAX_DEPTH {
            self.wrong(path, "children", format!("supervisors are nested deeper than {MAX_DEPTH} levels"));
            return;
        }
        if let Some(limit) = &spec.intensity {
            self.limit(path, "intensity", limit);
        }
        if spec.children.len() > MAX_CHILDREN {
            let count = spec.children.len();
            self.wrong(
                path,
                "children",
                format!("{count} children are too many: at most {MAX_CHILDREN}, or a group"),
            );
        }
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (i, declared) in spec.children.iter().enumerate() {
            let name = declared.name.as_str();
            if let Some(before) = first.insert(name, i) {
                let (before, now) = (before + 1, i + 1);
                let message = format!(
                    "the name {name:?} is used twice: by child {before} and by child {now} of this supervisor"
                );
                self.wrong(path, "children", message);
            }
        }
        let restarts: HashMap<&str, Restart> =
            spec.children.iter().map(|child| (child.name.as_str(), child.spec.restart)).collect();
        for declared in &spec.children {
            let path = path.join(declared.name.as_str());
            self.declared(&path, declared, spec.auto_shutdown);
            self.edges(&path, &declared.spec, |name| restarts.get(name).copied());
            self.work(&path, &declared.form, depth + 1);
        }
        if let Err(cycle) = start_order(&spec.children) {
            let names: Vec<_> =
                cycle.iter().chain(cycle.first()).map(|i| spec.children[*i].name.as_str()).collect();
            self.wrong(
                path,
                "after",
                format!("children wait for each other in a circle: {}", names.join(" after ")),
            );
        }
    }

    fn work(&mut self, path: &Path, work: &ChildForm, depth: usize) {
        match work {
            ChildForm::Leaf => {}
            ChildForm::Supervisor(spec) => self.supervisor(path, spec, depth),
            ChildForm::Group(group) => self.group(path, group),
        }
    }

    fn group(&mut self, path: &Path, group: &GroupSpec) {
        if let Some(limit) = &group.intensity {
            self.limit(path, "intensity", limit);
        }
        self.child(path, &group.template, AutoShutdown::Never);
        if !group.template.after.is_empty() {
            self.wrong(
                path,
                "after",
                "members of a dynamic group have no order, so none can come after another",
            );
        }
        if group.max_members == 0 {
            self.wrong(path, "max_members", "0 members would make the group useless; expected at least 1");
        }
    }

    fn declared(&mut self, path: &Path, declared: &ChildDeclaration, auto_shutdown: AutoShutdown) {
        self.child(path, &declared.spec, auto_shutdown);
        match &declared.form {
            ChildForm::Leaf => {}
            ChildForm::Group(_) => self.no_heartbeat(path, &declared.spec),
            ChildForm::Supervisor(spec) => {
                self.no_heartbeat(path, &declared.spec);
                if spec.end_when_done && declared.spec.restart == Restart::Permanent {
                    let message = "a permanent supervisor that ends when all is done would do all of it again and again; \
                                   expected transient or temporary";
                    self.wrong(path, "end_when_done", message);
                }
            }
        }
    }

    /// What only children that run something themselves can do.
    fn no_heartbeat(&mut self, path: &Path, spec: &ChildSpec) {
        if spec.heartbeat.is_some() {
            self.wrong(path, "heartbeat", "a supervisor gives no heartbeat; its children may");
        }
        if spec.ready == Ready::Reported {
            self.wrong(
                path,
                "ready",
                "a supervisor is ready when its children are; it has nothing to report itself",
            );
        }
    }

    fn child(&mut self, path: &Path, spec: &ChildSpec, auto_shutdown: AutoShutdown) {
        if spec.once && spec.restart != Restart::Temporary {
            self.wrong(path, "restart", "what can be made only once cannot be restarted; expected temporary");
        }
        if let Some(limit) = &spec.limit {
            self.limit(path, "limit", limit);
        }
        if let Some(backoff) = &spec.backoff {
            if backoff.from.is_zero() {
                self.wrong(path, "backoff.from", "it is zero; expected more, or no backoff at all");
            }
            if backoff.from > backoff.to {
                let (from, to) = (backoff.from, backoff.to);
                self.wrong(path, "backoff.to", format!("{to:?} is less than `from`, {from:?}"));
            }
        }
        if spec.start_within.is_zero() {
            self.wrong(path, "start_within", "it is zero, so no start could be in time; expected more");
        }
        if spec.heartbeat == Some(Duration::ZERO) {
            self.wrong(path, "heartbeat", "it is zero, so no heartbeat could be in time; expected more");
        }
        if spec.significant {
            if spec.restart == Restart::Permanent {
                let message =
                    "a permanent child cannot be significant: it is always restarted, so it never ends";
                self.wrong(path, "significant", message);
            }
            if auto_shutdown == AutoShutdown::Never {
                let message =
                    "a significant child means nothing to a supervisor whose auto_shutdown is never";
                self.wrong(path, "significant", message);
            }
        }
    }

    fn edges(&mut self, path: &Path, spec: &ChildSpec, restart_of: impl Fn(&str) -> Option<Restart>) {
        for edge in &spec.after {
            let target = edge.child.as_str();
            if target == path.name() {
                self.wrong(path, "after", "a child cannot come after itself");
            } else {
                match (restart_of(target), edge.condition) {
                    (None, _) => {
                        self.wrong(path, "after", format!("there is no sibling called {target:?}"));
                    }
                    (Some(Restart::Permanent), Condition::Completed) => {
                        let message = format!(
                            "{target:?} is permanent, so it never completes; expected transient or temporary"
                        );
                        self.wrong(path, "after", message);
                    }
                    (Some(_), _) => {}
                }
            }
        }
    }

    fn limit(&mut self, path: &Path, field: &'static str, limit: &Limit) {
        if limit.restarts > Limit::MAX_RESTARTS && limit.restarts != Limit::UNLIMITED {
            let (got, most) = (limit.restarts, Limit::MAX_RESTARTS);
            self.wrong(
                path,
                field,
                format!("{got} restarts are too many to count; at most {most}, or unlimited"),
            );
        }
        if limit.period.is_zero() {
            self.wrong(path, field, "the period is zero; expected more");
        }
    }
}
