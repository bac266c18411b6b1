//! The plan of a changed tree: what happens to each child when one declaration takes the place of another, and why.
//!
//! The plan is pure. It compares what was declared, and knows nothing of what runs. Children are the same if they have
//! the same path. What does not differ is kept, whatever happens around it.

use super::order::start_order;
use super::{
    ChildDeclaration, ChildForm, ChildSpec, Criticality, Description, GroupSpec, Limit, Role, SupervisorSpec,
};
use crate::{Backoff, Edge, GiveUp, Jitter, Need, Path, PollLimit, RestartCodes};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What happens to a child when the declaration of its tree changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanAction {
    /// The child is new: it starts.
    Start,
    /// The child is no longer declared: it stops and leaves the tree.
    Stop,
    /// The child stops, and starts as it is declared now.
    Restart,
    /// The child goes on running, under other rules.
    Change,
    /// Nothing happens.
    Keep,
}

impl PlanAction {
    /// Returns the action as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Change => "change",
            Self::Keep => "keep",
        }
    }
}

impl fmt::Display for PlanAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step of the plan of a changed tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanStep {
    /// The child. A child that starts, stops or restarts stands for all children below it.
    pub path: Path,
    /// What happens to it.
    pub step: PlanAction,
    /// Why, in plain words: everything that differs.
    pub reason: String,
}

impl fmt::Display for PlanStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.step, self.path, self.reason)
    }
}

/// What differs between two bodies of a leaf, or between the closures of two groups. Each difference is a sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyDifference {
    /// What counts from the next attempt on, without a restart.
    pub in_place: Vec<String>,
    /// What needs a restart.
    pub restart: Vec<String>,
}

/// Returns the plan by which `new` takes the place of `old`. `body` says how the bodies of a leaf or a group differ, by its
/// path; for bodies that cannot be compared it returns nothing.
///
/// The steps of a supervisor are: its own; the children that stop, in the reverse of their old start order; the other
/// children in their new start order, each followed by the steps of the children below it. To do the plan, go through
/// the steps from first to last. Children that restart and depend on each other stop first, in the reverse of their
/// order, and then start in their order. So while a child runs, what it depends on runs too, except during
/// an ordinary restart of that sibling.
#[must_use]
pub fn plan(
    old: &ChildDeclaration,
    new: &ChildDeclaration,
    body: &dyn Fn(&Path) -> BodyDifference,
) -> Vec<PlanStep> {
    let (old, new) = (&*old.resolved(), &*new.resolved());
    let path = Path::new(old.name.as_str());
    if old.name != new.name {
        let reason = format!("the name of the tree differs: `{}`, now `{}`", old.name, new.name);
        return vec![PlanStep { path, step: PlanAction::Restart, reason }];
    }
    let mut steps = Vec::new();
    compare(path, old, new, body, &mut steps);
    steps
}

/// Adds the steps of a child that both trees declare, and of the children below it.
fn compare(
    path: Path,
    old: &ChildDeclaration,
    new: &ChildDeclaration,
    body: &dyn Fn(&Path) -> BodyDifference,
    steps: &mut Vec<PlanStep>,
) {
    let mut found = BodyDifference::default();
    compare_specs(&old.spec, &new.spec, "", &mut found);
    match (&old.form, &new.form) {
        // Another kind of code has other defaults, which say nothing more.
        (ChildForm::Leaf, ChildForm::Leaf) if old.spec.body != new.spec.body => {
            found = body(&path);
            if found.restart.is_empty() {
                found.restart.push(format!("it was a {}, and is a {} now", old.spec.body, new.spec.body));
            }
        }
        (ChildForm::Leaf, ChildForm::Leaf) => add(&mut found, body(&path)),
        (ChildForm::Supervisor(old), ChildForm::Supervisor(new)) => compare_rules(old, new, &mut found),
        (ChildForm::Group(old), ChildForm::Group(new)) => {
            compare_groups(old, new, &mut found);
            add(&mut found, body(&path));
        }
        // A child of another form has other defaults. They are no further difference.
        (old, new) => {
            found = BodyDifference::default();
            found.restart.push(format!("it was {}, and is {} now", form(old), form(new)));
        }
    }
    let restarts = !found.restart.is_empty();
    let reasons: Vec<String> = found.restart.into_iter().chain(found.in_place).collect();
    let step = match (restarts, reasons.is_empty()) {
        (true, _) => PlanAction::Restart,
        (false, false) => PlanAction::Change,
        (false, true) => PlanAction::Keep,
    };
    let reason = if reasons.is_empty() { "nothing differs".to_owned() } else { reasons.join("; ") };
    steps.push(PlanStep { path: path.clone(), step, reason });
    if let (ChildForm::Supervisor(old), ChildForm::Supervisor(new)) = (&old.form, &new.form)
        && !restarts
    {
        compare_children(&path, old, new, body, steps);
    }
}

fn add(found: &mut BodyDifference, more: BodyDifference) {
    found.in_place.extend(more.in_place);
    found.restart.extend(more.restart);
}

const fn form(form: &ChildForm) -> &'static str {
    match form {
        ChildForm::Leaf => "a child without children",
        ChildForm::Supervisor(_) => "a supervisor",
        ChildForm::Group(_) => "a group",
    }
}

/// Adds the steps of the children of a supervisor that both trees declare.
fn compare_children(
    above: &Path,
    old: &SupervisorSpec,
    new: &SupervisorSpec,
    body: &dyn Fn(&Path) -> BodyDifference,
    steps: &mut Vec<PlanStep>,
) {
    let by_name = |spec: &SupervisorSpec| -> HashMap<String, usize> {
        let names = spec.children.iter().map(|child| child.name.as_str().to_owned());
        names.zip(0..).collect()
    };
    let (before, now) = (by_name(old), by_name(new));
    for child in in_start_order(old).into_iter().rev().filter(|child| !now.contains_key(child.name.as_str()))
    {
        let reason = "it is no longer declared".to_owned();
        steps.push(PlanStep { path: above.join(child.name.as_str()), step: PlanAction::Stop, reason });
    }
    for child in in_start_order(new) {
        let path = above.join(child.name.as_str());
        match before.get(child.name.as_str()) {
            Some(at) => compare(path, &old.children[*at], child, body, steps),
            None => {
                let manual = if child.spec.manual { ", and starts only when it is asked for" } else { "" };
                let reason = format!("it is new{manual}");
                steps.push(PlanStep { path, step: PlanAction::Start, reason });
            }
        }
    }
}

/// Returns the children of a supervisor in start order. The check of the specs has refused cycles.
fn in_start_order(spec: &SupervisorSpec) -> Vec<&ChildDeclaration> {
    let order = start_order(&spec.children).unwrap_or_default();
    order.into_iter().map(|at| &spec.children[at]).collect()
}

/// Notes a difference: `what` was `old`, and is `new`.
fn note<T: PartialEq>(found: &mut Vec<String>, what: &str, old: &T, new: &T, shown: impl Fn(&T) -> String) {
    if old != new {
        found.push(format!("{what} differs: {}, now {}", shown(old), shown(new)));
    }
}

/// Lists the values, or says that there are none.
fn listed<T>(values: &[T], shown: impl Fn(&T) -> String) -> String {
    let texts: Vec<String> = values.iter().map(shown).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn shown_edge(edge: &Edge) -> String {
    format!("{} {}", edge.child, edge.condition)
}

fn shown_name(name: &Option<crate::Name>) -> String {
    name.as_ref().map_or("none".to_owned(), ToString::to_string)
}

fn shown_need(need: &Need) -> String {
    format!("{} (grace {})", need.child, shown_time(&need.grace))
}

fn shown_poll_limit(limit: &Option<PollLimit>) -> String {
    let shown =
        |limit: &PollLimit| format!("{}, then {}", shown_time(&limit.longest), limit.when_stuck.as_str());
    limit.as_ref().map_or("none".to_owned(), shown)
}

fn shown_codes(codes: &Option<Box<RestartCodes>>) -> String {
    let shown = |codes: &RestartCodes| format!("{:?}, success {:?}", codes.codes, codes.success);
    codes.as_deref().map_or("none".to_owned(), shown)
}

fn shown_time_or_none(time: &Option<Duration>) -> String {
    time.as_ref().map_or("none".to_owned(), shown_time)
}

/// Notes how two specs differ. `of` stands in front of the name of each field.
fn compare_specs(old: &ChildSpec, new: &ChildSpec, of: &str, found: &mut BodyDifference) {
    // Every field is named, so that a new one is not forgotten.
    let ChildSpec {
        restart,
        backoff,
        limit,
        start_within,
        stop_within,
        unready_for,
        kill_wait,
        significant,
        after,
        needs,
        manual,
        replica_of,
        keep,
        history,
        description,
        // `compare_attempts` compares them.
        body: _,
        ready: _,
        heartbeat: _,
        poll_limit: _,
        checks: _,
        reports_health: _,
        run_within: _,
        restart_codes: _,
        once: _,
        keep_error: _,
        version: _,
        // A child that stands at another place is the same child.
        declared_at: _,
        // Where a value comes from is no difference, and what is written says nothing about how the child runs.
        sources: _,
        written: _,
    } = new;
    let name = |field: &str| format!("`{of}{field}`");
    let changed = &mut found.in_place;
    note(changed, &name("restart"), &old.restart, restart, ToString::to_string);
    note(changed, &name("backoff"), &old.backoff, backoff, shown_backoff);
    note(changed, &name("limit"), &old.limit, limit, shown_limit);
    note(changed, &name("start_within"), &old.start_within, start_within, shown_time);
    note(changed, &name("stop_within"), &old.stop_within, stop_within, shown_time);
    note(changed, &name("unready_for"), &old.unready_for, unready_for, shown_time);
    note(changed, &name("kill_wait"), &old.kill_wait, kill_wait, shown_time);
    note(changed, &name("significant"), &old.significant, significant, ToString::to_string);
    note(changed, &name("after"), &old.after, after, |edges| listed(edges, shown_edge));
    note(changed, &name("needs"), &old.needs, needs, |needs| listed(needs, shown_need));
    note(changed, &name("manual"), &old.manual, manual, ToString::to_string);
    note(changed, &name("replica_of"), &old.replica_of, replica_of, shown_name);
    note(changed, &name("keep"), &old.keep, keep, ToString::to_string);
    note_description(changed, of, old.description.as_deref(), description.as_deref());
    note(changed, &name("history"), &old.history, history, ToString::to_string);
    compare_attempts(old, new, of, &mut found.restart);
}

/// Notes the differences that need a restart: what an attempt is, and how it is watched.
fn compare_attempts(old: &ChildSpec, new: &ChildSpec, of: &str, restart: &mut Vec<String>) {
    let name = |field: &str| format!("`{of}{field}`");
    let time = shown_time_or_none;
    note(restart, &name("body"), &old.body, &new.body, ToString::to_string);
    note(restart, &name("ready"), &old.ready, &new.ready, |ready| format!("{ready:?}"));
    note(restart, &name("heartbeat"), &old.heartbeat, &new.heartbeat, time);
    note(restart, &name("poll_limit"), &old.poll_limit, &new.poll_limit, shown_poll_limit);
    note(restart, &name("checks"), &old.checks, &new.checks, |checks| {
        let checks = checks.as_deref().unwrap_or_default();
        listed(checks, |check| format!("{} every {}", check.name, shown_time(&check.every)))
    });
    note(restart, &name("run_within"), &old.run_within, &new.run_within, time);
    note(restart, &name("restart_codes"), &old.restart_codes, &new.restart_codes, shown_codes);
    note(restart, &name("reports_health"), &old.reports_health, &new.reports_health, ToString::to_string);
    // A version may hold what must not be shown.
    restart.extend((old.version != new.version).then(|| format!("{} differs", name("version"))));
    note(restart, &name("once"), &old.once, &new.once, ToString::to_string);
    note(restart, &name("keep_error"), &old.keep_error, &new.keep_error, ToString::to_string);
}

/// Notes how two descriptions differ.
fn note_description(found: &mut Vec<String>, of: &str, old: Option<&Description>, new: Option<&Description>) {
    let nothing = Description::default();
    let old = old.unwrap_or(&nothing);
    // Every field is named, so that a new one is not forgotten.
    let Description { title, tags, role, criticality } = new.unwrap_or(&nothing);
    let name = |field: &str| format!("`{of}{field}`");
    let text = |text: &Option<Arc<str>>| text.as_ref().map_or("none".to_owned(), ToString::to_string);
    note(found, &name("title"), &old.title, title, text);
    note(found, &name("tags"), &old.tags, tags, |tags| {
        if tags.is_empty() { "none".to_owned() } else { tags.join(", ") }
    });
    note(found, &name("role"), &old.role, role, |role| role.map_or("none", Role::as_str).to_owned());
    let word = |criticality: &Option<Criticality>| criticality.map_or("none", Criticality::as_str).to_owned();
    note(found, &name("criticality"), &old.criticality, criticality, word);
}

/// Notes how the rules of two supervisors differ, apart from their children.
fn compare_rules(old: &SupervisorSpec, new: &SupervisorSpec, found: &mut BodyDifference) {
    let SupervisorSpec {
        strategy,
        intensity,
        order,
        first_start,
        auto_shutdown,
        end_when_done,
        dedicated_runtime,
        max_starting,
        defaults,
        children: _,
    } = new;
    let changed = &mut found.in_place;
    note(changed, "`strategy`", &old.strategy, strategy, ToString::to_string);
    note(changed, "`intensity`", &old.intensity, intensity, shown_limit);
    note(changed, "`order`", &old.order, order, ToString::to_string);
    note(changed, "`first_start`", &old.first_start, first_start, ToString::to_string);
    note(changed, "`auto_shutdown`", &old.auto_shutdown, auto_shutdown, ToString::to_string);
    // Their effect on existing children is noted at each of these children.
    if old.defaults.as_deref().copied().unwrap_or_default()
        != defaults.as_deref().copied().unwrap_or_default()
    {
        changed.push("`defaults` differ".to_owned());
    }
    note(changed, "`max_starting`", &old.max_starting, max_starting, shown_count);
    note(changed, "`end_when_done`", &old.end_when_done, end_when_done, ToString::to_string);
    let order = |spec: &SupervisorSpec, other: &SupervisorSpec| -> Vec<String> {
        let stays = |child: &&ChildDeclaration| other.children.iter().any(|other| other.name == child.name);
        in_start_order(spec).into_iter().filter(stays).map(|child| child.name.to_string()).collect()
    };
    note(changed, "the order of its children", &order(old, new), &order(new, old), |names| names.join(", "));
    note(
        &mut found.restart,
        "`dedicated_runtime`",
        &old.dedicated_runtime,
        dedicated_runtime,
        ToString::to_string,
    );
}

/// Notes how two groups differ. The spec of the members counts for members that start from now on.
fn compare_groups(old: &GroupSpec, new: &GroupSpec, found: &mut BodyDifference) {
    let GroupSpec { template, intensity, max_members, max_starting, dedicated_runtime } = new;
    let mut members = BodyDifference::default();
    compare_specs(&old.template, template, "template.", &mut members);
    found.in_place.extend(members.in_place);
    found.restart.extend(members.restart);
    note(&mut found.in_place, "`intensity`", &old.intensity, intensity, shown_limit);
    note(&mut found.in_place, "`max_members`", &old.max_members, max_members, ToString::to_string);
    note(&mut found.in_place, "`max_starting`", &old.max_starting, max_starting, shown_count);
    note(
        &mut found.restart,
        "`dedicated_runtime`",
        &old.dedicated_runtime,
        dedicated_runtime,
        ToString::to_string,
    );
}

fn shown_count(count: &Option<u32>) -> String {
    count.map_or("no limit".to_owned(), |count| count.to_string())
}

fn shown_time(time: &Duration) -> String {
    if *time == Duration::MAX { "no limit".to_owned() } else { format!("{time:?}") }
}

fn shown_backoff(backoff: &Option<Backoff>) -> String {
    backoff.as_ref().map_or("none".to_owned(), |backoff| {
        let Backoff { from, to, reset_after, jitter } = backoff;
        let jitter = if *jitter == Jitter::default() { String::new() } else { format!("jitter {jitter}, ") };
        format!("{from:?} to {to:?}, {jitter}reset after {reset_after:?}")
    })
}

fn shown_limit(limit: &Option<Limit>) -> String {
    limit.as_ref().map_or("none".to_owned(), |limit| {
        let Limit { restarts, period, give_up, .. } = limit;
        let give_up = match give_up {
            GiveUp::Quarantine { retry_after: Some(after) } => format!("{give_up} and retry after {after:?}"),
            GiveUp::Quarantine { retry_after: None } | GiveUp::Escalate => give_up.to_string(),
        };
        match *restarts {
            Limit::UNLIMITED => "unlimited".to_owned(),
            _ => format!("{restarts} in {period:?}, then {give_up}"),
        }
    })
}
