//! All rules about specs, applied to a whole tree, or to a child before it is added. A broken rule is data, so that a
//! caller that knows where each field was written can show the error there. Source: OTP rows C8 and C9.

use super::checks::MAX_CHECKS;
use super::order::cycles;
use super::reach::out_of_reach;
use super::{
    AutoShutdown, ChildDeclaration, ChildForm, ChildSpec, Condition, Edge, GroupSpec, Limit, Ready, Restart,
    RestartCodes, Role, SupervisorSpec,
};
use crate::{Backoff, MAX_HISTORY, Name, NameError, Path};
use SpecProblem as Problem;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

/// The deepest nesting of supervisors, including the root. It is far beyond any sensible tree, and bounds recursion.
pub const MAX_DEPTH: usize = 64;

/// The most children that one supervisor may have, declared and added together. A start or stop looks at every
/// sibling; for more children of one kind use a group. A declaration with more children is an error. A further child
/// that is added is refused as [`Refusal::Full`](crate::Refusal::Full).
pub const MAX_CHILDREN: usize = 10_000;

impl ChildDeclaration {
    /// Applies all rules to the tree whose root is declared here, with what its children inherit.
    /// [`Machine::new`](crate::Machine::new) refuses a tree with errors; call `check` to see them earlier.
    ///
    /// # Errors
    /// All broken rules, each with the path, the field and what was expected.
    pub fn check(&self) -> Result<(), SpecErrors> {
        self.resolved().check_resolved()
    }

    /// Applies all rules to a tree whose settings are [resolved](Self::resolved).
    pub(crate) fn check_resolved(&self) -> Result<(), SpecErrors> {
        let mut check = Check::default();
        let path = Path::new(self.name.as_str());
        let spec = &self.spec;
        check.check_child(&path, spec, AutoShutdown::Never);
        check.check_not_a_leaf(&path, spec);
        check.check_effect_on_root(&path, self);
        let reason = "the root of a tree has no siblings to come after";
        check.refuse_if(!spec.after.is_empty(), &path, "after", reason);
        check.refuse_if(
            !spec.needs.is_empty(),
            &path,
            "needs",
            "the root of a tree has no siblings that it could need",
        );
        let reason = "the root of a tree starts with the tree, so nothing could ask for its start";
        check.refuse_if(spec.manual, &path, "manual", reason);
        let reason = "the root of a tree has no supervisor above it that could restart it; put it below another supervisor";
        check.refuse_if(spec.replica_of.is_some(), &path, "replica_of", "the root of a tree is no replica");
        let may_restart = spec.restart != Restart::Permanent || spec.limit.is_some();
        check.refuse_if(may_restart, &path, "restart", reason);
        let role = spec.description.as_ref().and_then(|description| description.role);
        let reason = "a role presets how a child is restarted, and the root of a tree is never restarted";
        check.refuse_if(role.is_some(), &path, "role", reason);
        check.check_form(&path, &self.form, 1);
        check.finish()
    }
}

/// What the rules about an added child need to know of its supervisor.
#[derive(Clone, Copy)]
pub(crate) struct ParentRules {
    pub(crate) auto_shutdown: AutoShutdown,
    /// The level of the supervisor; the root has level 1.
    pub(crate) depth: usize,
    /// Whether the child of the root at or above the supervisor is temporary; `None` for the root itself.
    pub(crate) may_end: Option<bool>,
}

/// Checks a child that is to be added below `parent`. `rules` are those of `parent`.
pub(crate) fn added_child(
    parent: &Path,
    declared: &ChildDeclaration,
    rules: ParentRules,
    sibling_of: impl Fn(&str) -> Option<Sibling>,
) -> Result<(), SpecErrors> {
    let mut check = Check::default();
    let path = parent.join(declared.name.as_str());
    check.may_end = rules.may_end.unwrap_or(declared.spec.restart == Restart::Temporary);
    check.check_declared(&path, declared, rules.auto_shutdown);
    let reason = "a replica set is declared with its supervisor; a child that is added later cannot be part of a replica set";
    check.refuse_if(declared.spec.replica_of.is_some(), &path, "replica_of", reason);
    let reason =
        "a child that is added starts when it is added, so it cannot wait until it is asked for; declare it";
    check.refuse_if(declared.spec.manual, &path, "manual", reason);
    check.check_form(&path, &declared.form, rules.depth + 1);
    check.check_edges(&path, &declared.spec, sibling_of);
    check.finish()
}

/// What the rules about `after` need to know of a sibling.
#[derive(Clone, Copy)]
pub(crate) struct Sibling {
    restart: Restart,
    /// `true` if anything says how healthy it is.
    has_health: bool,
}

impl Sibling {
    pub(crate) fn new(spec: &ChildSpec, is_leaf: bool) -> Self {
        Self { restart: spec.restart, has_health: !is_leaf || spec.has_health() }
    }

    fn of(declared: &ChildDeclaration) -> Self {
        Self::new(&declared.spec, matches!(declared.form, ChildForm::Leaf))
    }
}

/// The errors found so far.
#[derive(Default)]
pub(super) struct Check {
    errors: Vec<SpecError>,
    /// The child of the root at or above the current child is temporary.
    may_end: bool,
}

impl Check {
    fn finish(self) -> Result<(), SpecErrors> {
        if self.errors.is_empty() { Ok(()) } else { Err(SpecErrors(self.errors)) }
    }

    fn push_error(&mut self, path: &Path, field: &'static str, problem: Problem) {
        self.errors.push(SpecError { path: path.clone(), field, problem });
    }

    fn refuse(&mut self, path: &Path, field: &'static str, reason: String) {
        self.push_error(path, field, Problem::Refused(reason.into()));
    }

    pub(super) fn refuse_if(&mut self, broken: bool, path: &Path, field: &'static str, reason: &'static str) {
        if broken {
            self.push_error(path, field, Problem::Refused(reason.into()));
        }
    }

    fn check_form(&mut self, path: &Path, form: &ChildForm, depth: usize) {
        match form {
            ChildForm::Leaf => {}
            ChildForm::Supervisor(spec) => self.check_supervisor(path, spec, depth),
            ChildForm::Group(group) => self.check_group(path, group),
        }
    }

    fn check_supervisor(&mut self, path: &Path, spec: &SupervisorSpec, depth: usize) {
        if depth > MAX_DEPTH {
            return self.push_error(path, "children", Problem::TooDeep { max: MAX_DEPTH });
        }
        for (field, reason) in spec.defaults.iter().flat_map(|defaults| defaults.problems()) {
            self.refuse_if(true, path, field, reason);
        }
        self.check_max_starting(path, spec);
        self.check_limit(path, "intensity", spec.intensity);
        if let (Some(intensity), Some(failures)) = (spec.intensity, out_of_reach(spec)) {
            self.push_error(path, "intensity", Problem::IntensityOutOfReach { intensity, failures });
        }
        let count = spec.children.len();
        if count > MAX_CHILDREN {
            let reason = format!("{count} children are too many: at most {MAX_CHILDREN}, or a group");
            self.refuse(path, "children", reason);
        }
        let mut known: HashMap<&str, (usize, Sibling)> = HashMap::new();
        for (declared, now) in spec.children.iter().zip(1..) {
            if let Some((before, _)) = known.insert(declared.name.as_str(), (now, Sibling::of(declared))) {
                let name = &declared.name;
                let reason = format!(
                    "the name {name:?} is used twice: by child {before} and by child {now} of this supervisor"
                );
                self.refuse(path, "children", reason);
            }
        }
        for declared in &spec.children {
            let path = path.join(declared.name.as_str());
            if depth == 1 {
                self.may_end = declared.spec.restart == Restart::Temporary;
            }
            self.check_declared(&path, declared, spec.auto_shutdown);
            self.check_edges(&path, &declared.spec, |name| Some(known.get(name)?.1));
            self.check_form(&path, &declared.form, depth + 1);
        }
        self.check_replicas(path, &spec.children);
        for cycle in cycles(&spec.children) {
            let children = cycle.iter().map(|i| spec.children[*i].name.clone()).collect();
            self.push_error(path, "after", Problem::Cycle(children));
        }
    }

    /// Refuses replica sets that cannot be one place in the order. With these rules, the start order keeps each set together.
    fn check_replicas(&mut self, path: &Path, children: &[ChildDeclaration]) {
        let mut sets: HashMap<&str, (usize, usize)> = HashMap::new();
        for (at, child) in children.iter().enumerate() {
            let Some(set) = &child.spec.replica_of else { continue };
            let (first, count) = sets.entry(set.as_str()).or_insert((at, 0));
            let (path, first) = (path.join(child.name.as_str()), *first..*first + *count);
            *count += 1;
            let reason =
                "the replicas of a set are declared in succession; another child is declared between them";
            self.refuse_if(first.end != at, &path, "replica_of", reason);
            let reason = "all replicas of a set have the same `after`";
            let differs = children[first.start].spec.after != child.spec.after;
            self.refuse_if(differs, &path, "replica_of", reason);
            let differs = children[first.start].spec.needs != child.spec.needs;
            self.refuse_if(differs, &path, "replica_of", "all replicas of a set have the same `needs`");
        }
        let set_of: HashMap<&Name, &str> = children
            .iter()
            .filter_map(|child| Some((&child.name, child.spec.replica_of.as_ref()?.as_str())))
            .collect();
        for child in children.iter().filter(|_| !sets.is_empty()) {
            let mut named: HashMap<&str, HashSet<&Name>> = HashMap::new();
            for Edge { child: sibling, .. } in &child.spec.after {
                if let Some(set) = set_of.get(sibling) {
                    named.entry(set).or_default().insert(sibling);
                }
            }
            let all_of = |set: &str| sets.get(set).map_or(0, |(_, count)| *count);
            let in_part = named.iter().any(|(set, named)| named.len() != all_of(set));
            let reason = "it names some replicas of a set and not the others; expected all of them or none";
            self.refuse_if(in_part, &path.join(child.name.as_str()), "after", reason);
        }
    }

    fn check_group(&mut self, path: &Path, group: &GroupSpec) {
        self.check_limit(path, "intensity", group.intensity);
        self.check_child(path, &group.template, AutoShutdown::Never);
        self.check_leaf(path, &group.template);
        let reason = "members of a dynamic group have no order, so none can come after another";
        self.refuse_if(!group.template.after.is_empty(), path, "after", reason);
        let reason = "members of a dynamic group have no siblings that they could need";
        self.refuse_if(!group.template.needs.is_empty(), path, "needs", reason);
        let reason = "a member starts when it is added, so it cannot wait until it is asked for";
        self.refuse_if(group.template.manual, path, "manual", reason);
        let reason = "members of a dynamic group have no order, so none is a replica";
        self.refuse_if(group.template.replica_of.is_some(), path, "replica_of", reason);
        let reason = "0 members would make the group useless; expected at least 1";
        self.refuse_if(group.max_members == 0, path, "max_members", reason);
        self.check_max_starting_of_group(path, group);
    }

    fn check_declared(&mut self, path: &Path, declared: &ChildDeclaration, auto_shutdown: AutoShutdown) {
        self.check_child(path, &declared.spec, auto_shutdown);
        let is_group = matches!(declared.form, ChildForm::Group(_));
        let reason = "a dynamic group that is stopped loses its members, so it cannot come back as it was; use `after`";
        // A temporary group is refused as a temporary child.
        let comes_back = declared.spec.restart != Restart::Temporary && !declared.spec.needs.is_empty();
        self.refuse_if(is_group && comes_back, path, "needs", reason);
        self.check_effect(path, declared, self.may_end);
        if declared.form == ChildForm::Leaf {
            self.check_leaf(path, &declared.spec);
        } else {
            self.check_not_a_leaf(path, &declared.spec);
        }
        if let ChildForm::Supervisor(spec) = &declared.form {
            let reason = "a permanent supervisor that ends when all children are done would be restarted again and again; \
                          expected transient or temporary";
            let repeats = spec.end_when_done && declared.spec.restart == Restart::Permanent;
            self.refuse_if(repeats, path, "end_when_done", reason);
        }
    }

    /// Refuses settings that only supervisors may have.
    fn check_leaf(&mut self, path: &Path, spec: &ChildSpec) {
        let role = spec.description.as_ref().and_then(|description| description.role);
        let reason = "only a child with children is a supervisor; expected service, worker, job or sidecar";
        self.refuse_if(role == Some(Role::Supervisor), path, "role", reason);
    }

    /// Refuses settings that only leaves may have.
    fn check_not_a_leaf(&mut self, path: &Path, spec: &ChildSpec) {
        let reason = "a supervisor gives no heartbeat; its children may";
        self.refuse_if(spec.heartbeat.is_some(), path, "heartbeat", reason);
        let reason = "a supervisor has no checks; its children may";
        self.refuse_if(spec.checks.is_some(), path, "checks", reason);
        let reason = "the health of a supervisor is that of its children; it has nothing to report itself";
        self.refuse_if(spec.reports_health, path, "reports_health", reason);
        let reason = "a supervisor is ready when its children are; it has nothing to report itself";
        self.refuse_if(spec.ready == Ready::Reported, path, "ready", reason);
    }

    fn check_child(&mut self, path: &Path, spec: &ChildSpec, auto_shutdown: AutoShutdown) {
        let reason = "a body that can be made only once cannot be restarted; expected temporary";
        self.refuse_if(spec.once && spec.restart != Restart::Temporary, path, "restart", reason);
        let temporary = spec.once || spec.restart == Restart::Temporary;
        let reason = "a temporary child does not start again after it was stopped for a need; expected permanent or transient";
        self.refuse_if(temporary && !spec.needs.is_empty(), path, "needs", reason);
        self.check_limit(path, "limit", spec.limit);
        if let Some(Backoff { from, to, .. }) = spec.backoff {
            let reason = "it is zero; expected more, or no backoff at all";
            self.refuse_if(from.is_zero(), path, "backoff.from", reason);
            if from > to {
                self.push_error(path, "backoff.to", Problem::BackoffToBelowFrom { from, to });
            }
        }
        let reason = "it is zero, so no start could be in time; expected more";
        self.refuse_if(spec.start_within.is_zero(), path, "start_within", reason);
        let reason = "it is zero, so no killed attempt could end in time; expected more";
        self.refuse_if(spec.kill_wait.is_zero(), path, "kill_wait", reason);
        self.check_restart_codes(path, spec);
        let reason = "it is zero, so no attempt could run; expected more";
        self.refuse_if(spec.run_within == Some(Duration::ZERO), path, "run_within", reason);
        let reason = "it is zero, so no heartbeat could be in time; expected more";
        self.refuse_if(spec.heartbeat == Some(Duration::ZERO), path, "heartbeat", reason);
        let reason = "it is zero, so no poll could be in time; expected more, or no limit";
        let is_zero = spec.poll_limit.is_some_and(|limit| limit.longest.is_zero());
        self.refuse_if(is_zero, path, "poll_limit", reason);
        self.check_checks(path, spec);
        for (field, reason) in spec.description.iter().flat_map(|description| description.problems()) {
            self.refuse(path, field, reason);
        }
        if spec.history > MAX_HISTORY {
            let reason = format!("{} exits are too many to keep; expected 0 to {MAX_HISTORY}", spec.history);
            self.refuse(path, "history", reason);
        }
        if spec.significant && spec.restart == Restart::Permanent {
            self.push_error(path, "significant", Problem::SignificantIsPermanent);
        }
        if spec.significant && auto_shutdown == AutoShutdown::Never {
            self.push_error(path, "significant", Problem::SignificantHasNoEffect);
        }
    }

    fn check_checks(&mut self, path: &Path, spec: &ChildSpec) {
        let checks = spec.checks();
        if checks.len() > MAX_CHECKS {
            let reason = format!("{} checks are too many: at most {MAX_CHECKS}", checks.len());
            return self.refuse(path, "checks", reason);
        }
        let mut names = HashSet::new();
        for check in checks {
            if !names.insert(&check.name) {
                let reason = format!("the name {:?} is used by two checks of this child", check.name);
                self.refuse(path, "checks", reason);
            }
            for (field, reason) in check.problems() {
                self.refuse(
                    path,
                    field,
                    format!("the {} check {:?}: {reason}", check.kind.as_str(), check.name),
                );
            }
        }
    }

    fn check_restart_codes(&mut self, path: &Path, spec: &ChildSpec) {
        let Some(RestartCodes { codes, success }) = spec.restart_codes.as_deref() else { return };
        let reason = "a temporary child is never restarted, so it cannot ask for a restart; expected permanent or transient";
        self.refuse_if(spec.restart == Restart::Temporary, path, "restart_codes", reason);
        self.refuse_if(
            codes.is_empty(),
            path,
            "restart_codes",
            "it is empty; expected at least one exit code",
        );
        for code in codes.iter().filter(|code| success.contains(code)) {
            let reason =
                format!("the exit code {code} is also a success; expected it in one of the two lists");
            self.refuse(path, "restart_codes", reason);
        }
    }

    fn check_edges(&mut self, path: &Path, spec: &ChildSpec, sibling_of: impl Fn(&str) -> Option<Sibling>) {
        self.check_needs(path, spec);
        for Edge { child: sibling, condition } in &spec.after {
            let problem = match (sibling_of(sibling.as_str()), condition) {
                _ if sibling.as_str() == path.name() => Problem::AfterItself,
                (None, _) => Problem::UnknownSibling(sibling.clone()),
                (Some(Sibling { restart: Restart::Permanent, .. }), Condition::Completed) => {
                    Problem::NeverCompletes(sibling.clone())
                }
                (Some(Sibling { has_health: false, .. }), Condition::Healthy) => {
                    Problem::HasNoHealth(sibling.clone())
                }
                (Some(_), _) => continue,
            };
            self.push_error(path, "after", problem);
        }
    }

    /// Refuses needs without an `after` edge, and doubled ones. Edges to unknown siblings are errors of `after`.
    fn check_needs(&mut self, path: &Path, spec: &ChildSpec) {
        for (at, need) in spec.needs.iter().enumerate() {
            let name = &need.child;
            let is_edge = |edge: &Edge| edge.child == *name && edge.condition == Condition::Ready;
            if !spec.after.iter().any(is_edge) {
                let reason = format!("it needs {name}, but `after` does not wait until {name} is ready");
                self.refuse(path, "needs", reason);
            }
            if spec.needs[..at].iter().any(|other| other.child == *name) {
                self.refuse(path, "needs", format!("it names {name} twice; expected each sibling once"));
            }
        }
    }

    fn check_limit(&mut self, path: &Path, field: &'static str, limit: Option<Limit>) {
        let Some(limit) = limit else { return };
        let Limit { restarts, period, give_up, .. } = limit;
        if restarts > Limit::MAX_RESTARTS && restarts != Limit::UNLIMITED {
            let most = Limit::MAX_RESTARTS;
            let reason = format!("{restarts} restarts are too many to count; at most {most}, or unlimited");
            self.refuse(path, field, reason);
        }
        self.refuse_if(period.is_zero(), path, field, "the period is zero; expected more");
        let name = if field == "limit" { "limit.give_up" } else { "intensity.give_up" };
        self.check_give_up(path, name, limit);
        let reason =
            "it is zero, so the child would be tried again at once; expected more, or no `retry_after`";
        let field = if field == "limit" { "limit.retry_after" } else { "intensity.retry_after" };
        self.refuse_if(give_up.retry_after() == Some(Duration::ZERO), path, field, reason);
    }
}

/// One broken rule. It prints as `path: field: problem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The child (or supervisor) whose spec is wrong.
    pub path: Path,
    /// The name of the field in the spec. A field inside another field is `outer.inner`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: SpecProblem,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.path, self.field, self.problem)
    }
}

/// All errors in the specs of a tree. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecErrors(pub Vec<SpecError>);

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors: Vec<String> = self.0.iter().map(SpecError::to_string).collect();
        f.write_str(&errors.join("; "))
    }
}

impl std::error::Error for SpecErrors {}

/// What is wrong with one field, with the values for a message. It prints as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecProblem {
    /// The text cannot be a name.
    Name(NameError),
    /// `to` is less than `from`.
    BackoffToBelowFrom {
        /// The ceiling of the first delay.
        from: Duration,
        /// The ceiling of all delays.
        to: Duration,
    },
    /// The backoffs of the children keep the intensity from ever being exceeded.
    IntensityOutOfReach {
        /// The intensity.
        intensity: Limit,
        /// The least number of failures of all restartable children within the period, if each of them always fails
        /// immediately.
        failures: u64,
    },
    /// The child is significant and permanent, so it never ends.
    SignificantIsPermanent,
    /// The child is significant, and its supervisor's `auto_shutdown` is never.
    SignificantHasNoEffect,
    /// The child comes after itself.
    AfterItself,
    /// The child comes after this sibling, which does not exist.
    UnknownSibling(Name),
    /// The child waits until this sibling completes, which is permanent.
    NeverCompletes(Name),
    /// The child waits until this sibling is healthy, and nothing says how healthy it is.
    HasNoHealth(Name),
    /// Siblings wait for each other in a cycle: each sibling waits for the next, and the last for the first. Never
    /// empty.
    Cycle(Vec<Name>),
    /// The supervisors are nested too deep.
    TooDeep {
        /// The deepest nesting, the root included.
        max: usize,
    },
    /// Any other refusal, as text.
    Refused(Cow<'static, str>),
}

impl fmt::Display for SpecProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SignificantIsPermanent => {
                "a permanent child cannot be significant: it is always restarted, so it never ends"
            }
            Self::SignificantHasNoEffect => {
                "a significant child has no effect under a supervisor whose auto_shutdown is never"
            }
            Self::AfterItself => "a child cannot come after itself",
            Self::Refused(reason) => reason,
            Self::Name(error) => return error.fmt(f),
            Self::BackoffToBelowFrom { from, to } => {
                return write!(f, "`to` is {to:?}, which is less than `from`, {from:?}");
            }
            Self::IntensityOutOfReach { intensity: Limit { restarts, period, .. }, failures } => {
                return write!(
                    f,
                    "the backoffs of the children keep it from ever being exceeded: if all of them always fail \
                     immediately, there may be only {failures} restarts within {period:?}, and {restarts} are allowed; \
                     expected fewer restarts, a longer period, or a limit for each child instead"
                );
            }
            Self::UnknownSibling(name) => return write!(f, "there is no sibling called {name:?}"),
            Self::NeverCompletes(name) => {
                let expected = "expected transient or temporary";
                return write!(f, "{name:?} is permanent, so it never completes; {expected}");
            }
            Self::HasNoHealth(name) => {
                return write!(
                    f,
                    "{name:?} has no health: it has neither a readiness nor a liveness check, and does not declare that it \
                     reports its health; expected one of these, or the condition `ready`"
                );
            }
            Self::Cycle(children) => return cycle(children, f),
            Self::TooDeep { max } => return write!(f, "supervisors are nested deeper than {max} levels"),
        })
    }
}

/// How many names of a cycle are written at its beginning and at its end.
const MAX_OF_CIRCLE: usize = 12;

/// Writes "children wait for each other in a cycle: a after b after a". The middle of a long cycle is left out.
fn cycle(children: &[Name], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let names: Vec<&str> = children.iter().chain(children.first()).map(Name::as_str).collect();
    f.write_str("children wait for each other in a cycle: ")?;
    if names.len() <= 2 * MAX_OF_CIRCLE {
        return f.write_str(&names.join(" after "));
    }
    let (head, tail) = (&names[..MAX_OF_CIRCLE], &names[names.len() - MAX_OF_CIRCLE..]);
    let left_out = names.len() - 2 * MAX_OF_CIRCLE;
    write!(f, "{} after ({left_out} more) after {}", head.join(" after "), tail.join(" after "))
}
