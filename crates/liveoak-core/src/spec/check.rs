//! All rules about specs, applied to a whole tree, or to a child before it is added. Source: OTP rows C8 and C9.

use super::error::{SpecError, SpecErrors, SpecProblem as Problem};
use super::order::circles;
use super::{
    AutoShutdown, ChildDeclaration, ChildForm, ChildSpec, Condition, GroupSpec, Limit, Ready, Restart,
    SupervisorSpec,
};
use crate::Path;
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

/// The deepest nesting of supervisors. Far beyond any sensible tree; bounds recursion.
const MAX_DEPTH: usize = 64;

/// The most children that one supervisor may have, declared and added together. Each is looked at when another starts
/// or stops; more of a kind are members of a group, which has a bound of its own. A declaration with more is a spec
/// error, and one more at run time is refused as [`Refusal::Full`](crate::Refusal::Full).
pub const MAX_CHILDREN: usize = 10_000;

impl ChildDeclaration {
    /// Applies all rules to the tree whose root is declared here. [`Machine::new`](crate::Machine::new) does the same and
    /// takes no tree that fails; call it to know the errors before.
    ///
    /// # Errors
    /// All broken rules at once, each with the path, the field and what was expected.
    pub fn check(&self) -> Result<(), SpecErrors> {
        let mut check = Check { errors: Vec::new() };
        let path = Path::new(self.name.as_str());
        check.child(&path, &self.spec, AutoShutdown::Never);
        check.not_a_leaf(&path, &self.spec);
        if !self.spec.after.is_empty() {
            check.refuse(&path, "after", "the root of a tree has no siblings to come after");
        }
        if self.spec.restart != Restart::Permanent || self.spec.limit.is_some() {
            let reason =
                "no supervisor is above the root of a tree to restart it; put it below another supervisor";
            check.refuse(&path, "restart", reason);
        }
        check.form(&path, &self.form, 1);
        check.finish()
    }
}

/// Checks a child that is to be added below `parent`, among `siblings`. `rules` are the parent's `auto_shutdown` and
/// depth.
pub(crate) fn added_child<'a>(
    parent: &Path,
    declared: &ChildDeclaration,
    rules: (AutoShutdown, usize),
    siblings: impl Iterator<Item = (&'a str, Restart)>,
) -> Result<(), SpecErrors> {
    let mut check = Check { errors: Vec::new() };
    let path = parent.join(declared.name.as_str());
    check.declared(&path, declared, rules.0);
    check.form(&path, &declared.form, rules.1 + 1);
    if !declared.spec.after.is_empty() {
        let known: HashMap<&str, Restart> = siblings.collect();
        check.edges(&path, &declared.spec, |name| known.get(name).copied());
    }
    check.finish()
}

struct Check {
    errors: Vec<SpecError>,
}

impl Check {
    fn finish(self) -> Result<(), SpecErrors> {
        if self.errors.is_empty() { Ok(()) } else { Err(SpecErrors(self.errors)) }
    }

    fn wrong(&mut self, path: &Path, field: &'static str, problem: Problem) {
        self.errors.push(SpecError { path: path.clone(), field, problem });
    }

    fn refuse(&mut self, path: &Path, field: &'static str, reason: impl Into<Cow<'static, str>>) {
        self.wrong(path, field, Problem::Refused(reason.into()));
    }

    fn supervisor(&mut self, path: &Path, spec: &SupervisorSpec, depth: usize) {
        if depth > MAX_DEPTH {
            self.refuse(path, "children", format!("supervisors are nested deeper than {MAX_DEPTH} levels"));
            return;
        }
        if let Some(limit) = &spec.intensity {
            self.limit(path, "intensity", limit);
        }
        if spec.children.len() > MAX_CHILDREN {
            let count = spec.children.len();
            let reason = format!("{count} children are too many: at most {MAX_CHILDREN}, or a group");
            self.refuse(path, "children", reason);
        }
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (i, declared) in spec.children.iter().enumerate() {
            if let Some(before) = first.insert(declared.name.as_str(), i) {
                let (name, before, now) = (&declared.name, before + 1, i + 1);
                let reason = format!(
                    "the name {name:?} is used twice: by child {before} and by child {now} of this supervisor"
                );
                self.refuse(path, "children", reason);
            }
        }
        let restarts: HashMap<&str, Restart> =
            spec.children.iter().map(|child| (child.name.as_str(), child.spec.restart)).collect();
        for declared in &spec.children {
            let path = path.join(declared.name.as_str());
            self.declared(&path, declared, spec.auto_shutdown);
            self.edges(&path, &declared.spec, |name| restarts.get(name).copied());
            self.form(&path, &declared.form, depth + 1);
        }
        for circle in circles(&spec.children) {
            let children = circle.iter().map(|i| spec.children[*i].name.clone()).collect();
            self.wrong(path, "after", Problem::Circle(children));
        }
    }

    fn form(&mut self, path: &Path, form: &ChildForm, depth: usize) {
        match form {
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
            let reason = "members of a dynamic group have no order, so none can come after another";
            self.refuse(path, "after", reason);
        }
        if group.max_members == 0 {
            let reason = "0 members would make the group useless; expected at least 1";
            self.refuse(path, "max_members", reason);
        }
    }

    fn declared(&mut self, path: &Path, declared: &ChildDeclaration, auto_shutdown: AutoShutdown) {
        self.child(path, &declared.spec, auto_shutdown);
        match &declared.form {
            ChildForm::Leaf => {}
            ChildForm::Group(_) => self.not_a_leaf(path, &declared.spec),
            ChildForm::Supervisor(spec) => {
                self.not_a_leaf(path, &declared.spec);
                if spec.end_when_done && declared.spec.restart == Restart::Permanent {
                    let reason = "a permanent supervisor that ends when all is done would do all of it again and again; \
                                  expected transient or temporary";
                    self.refuse(path, "end_when_done", reason);
                }
            }
        }
    }

    /// Refuses what only leaves can do.
    fn not_a_leaf(&mut self, path: &Path, spec: &ChildSpec) {
        if spec.heartbeat.is_some() {
            let reason = "a supervisor gives no heartbeat; its children may";
            self.refuse(path, "heartbeat", reason);
        }
        if spec.ready == Ready::Reported {
            let reason = "a supervisor is ready when its children are; it has nothing to report itself";
            self.refuse(path, "ready", reason);
        }
    }

    fn child(&mut self, path: &Path, spec: &ChildSpec, auto_shutdown: AutoShutdown) {
        if spec.once && spec.restart != Restart::Temporary {
            let reason = "what can be made only once cannot be restarted; expected temporary";
            self.refuse(path, "restart", reason);
        }
        if let Some(limit) = &spec.limit {
            self.limit(path, "limit", limit);
        }
        if let Some(backoff) = &spec.backoff {
            self.not_zero(
                path,
                "backoff.from",
                backoff.from,
                "it is zero; expected more, or no backoff at all",
            );
            if backoff.from > backoff.to {
                let (from, to) = (backoff.from, backoff.to);
                self.wrong(path, "backoff.to", Problem::BackoffFallsBelow { from, to });
            }
        }
        let reason = "it is zero, so no start could be in time; expected more";
        self.not_zero(path, "start_within", spec.start_within, reason);
        if let Some(period) = spec.heartbeat {
            let reason = "it is zero, so no heartbeat could be in time; expected more";
            self.not_zero(path, "heartbeat", period, reason);
        }
        if spec.significant {
            if spec.restart == Restart::Permanent {
                self.wrong(path, "significant", Problem::SignificantIsPermanent);
            }
            if auto_shutdown == AutoShutdown::Never {
                self.wrong(path, "significant", Problem::SignificantHasNoEffect);
            }
        }
    }

    fn edges(&mut self, path: &Path, spec: &ChildSpec, restart_of: impl Fn(&str) -> Option<Restart>) {
        for edge in &spec.after {
            let sibling = edge.child.clone();
            if sibling.as_str() == path.name() {
                self.wrong(path, "after", Problem::AfterItself);
                continue;
            }
            match (restart_of(sibling.as_str()), edge.condition) {
                (None, _) => self.wrong(path, "after", Problem::UnknownSibling(sibling)),
                (Some(Restart::Permanent), Condition::Completed) => {
                    self.wrong(path, "after", Problem::NeverCompletes(sibling));
                }
                (Some(_), _) => {}
            }
        }
    }

    fn limit(&mut self, path: &Path, field: &'static str, limit: &Limit) {
        if limit.restarts > Limit::MAX_RESTARTS && limit.restarts != Limit::UNLIMITED {
            let (got, most) = (limit.restarts, Limit::MAX_RESTARTS);
            self.refuse(
                path,
                field,
                format!("{got} restarts are too many to count; at most {most}, or unlimited"),
            );
        }
        self.not_zero(path, field, limit.period, "the period is zero; expected more");
    }

    fn not_zero(&mut self, path: &Path, field: &'static str, time: Duration, reason: &'static str) {
        if time.is_zero() {
            self.refuse(path, field, reason);
        }
    }
}
