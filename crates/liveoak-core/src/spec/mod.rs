//! What is declared: plain data, with the defaults of every field.
//!
//! [`ChildDeclaration::check`] applies all rules to a whole tree. [`Machine::new`](crate::Machine::new) calls it, and
//! [`Machine::add_child`](crate::Machine::add_child) applies the same rules to an added child. Both refuse specs that
//! break a rule. So the machine works on checked specs only, and checks nothing again.
//!
//! - [`give_up`]: what happens when a limit is exceeded
//! - [`words`]: the choices (restart, strategy, order, ...) and their words
//! - [`change`]: the plan of a changed tree
//! - [`check`]: the rules, and broken rules as data
//! - [`checks`]: the checks of a child
//! - [`defaults`]: what a child inherits, and what its role and its criticality preset
//! - [`description`]: title, tags, role and criticality of a child
//! - [`effect`]: settings that have no effect where they are written
//! - [`mode`]: named sets of children that shall run
//! - [`order`]: the order of start
//! - [`polls`]: how long a poll may take
//! - [`reach`]: whether an intensity can be exceeded at all

mod change;
mod check;
mod checks;
mod defaults;
mod description;
mod effect;
mod give_up;
mod mode;
mod order;
mod polls;
mod reach;
mod words;

pub use change::{BodyDifference, PlanAction, PlanStep, plan};
pub use check::{MAX_CHILDREN, MAX_DEPTH, SpecError, SpecErrors, SpecProblem};
pub(crate) use check::{ParentRules, Sibling, added_child};
pub use checks::{CheckKind, CheckSources, CheckSpec, MAX_CHECKS};
pub use defaults::{Above, Defaults, Preset, Source, Sources};
pub use description::{Description, MAX_TAG_BYTES, MAX_TAGS, MAX_TITLE_BYTES, tag_problem, title_problem};
pub use effect::Written;
pub use give_up::GiveUp;
pub use mode::Mode;
pub(crate) use mode::below;
pub use order::start_order;
pub use polls::{PollLimit, WhenStuck};
pub use reach::SpecWarning;
#[cfg(test)]
pub(crate) use reach::out_of_reach;
pub use words::{
    AutoShutdown, BodyKind, Condition, Criticality, FirstStart, Jitter, Order, Restart, Role, Strategy,
};

use crate::{Backoff, DeclaredAt, Name};
use std::sync::Arc;
use std::time::Duration;

/// The default of [`ChildSpec::kill_wait`]: how long a killed child may take to end before it is abandoned. Normally it
/// takes milliseconds.
pub const KILL_WAIT: Duration = Duration::from_secs(2);

/// How many restarts are allowed: of one child (`limit`), or of all children of a supervisor together (`intensity`).
///
/// Both are exceeded by more than `restarts` restarts within `period`. A `limit` is also exceeded by more than
/// `restarts` failures in a row, without a stable run (see [`Backoff`]) or a success between them. Otherwise a
/// backoff could delay failures so much that they never fit into the period. A start that a dependency prevented
/// counts neither as a restart nor as a failure.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Restarts allowed within the period: 0 to [`Limit::MAX_RESTARTS`], or [`Limit::UNLIMITED`].
    pub restarts: u32,
    /// The length of the sliding window, more than zero. A restart exactly this old still counts. The period does not
    /// matter for failures in a row.
    pub period: Duration,
    /// What happens when the limit is exceeded.
    pub give_up: GiveUp,
    /// Where `give_up` comes from. It does not count when limits are compared.
    pub give_up_source: Source,
}

impl PartialEq for Limit {
    fn eq(&self, other: &Self) -> bool {
        let of = |limit: &Self| (limit.restarts, limit.period, limit.give_up);
        of(self) == of(other)
    }
}

impl Eq for Limit {}

impl Limit {
    /// The largest limit. The window remembers one moment (8 bytes) for each restart, so it takes at most 512 KiB.
    pub const MAX_RESTARTS: u32 = 65_536;
    /// The value of `restarts` that means no limit.
    pub const UNLIMITED: u32 = u32::MAX;
    /// The limit of a child that has no limit, and whose supervisor has no intensity: ten restarts within a minute, or
    /// ten failures in a row. So a child that never has a stable run is given up on after exactly eleven failures. With
    /// the default backoff, if each start fails immediately, this takes about 40 s, and at most 81 s.
    pub const DEFAULT_OF_A_CHILD: Self = Self::new(10, Duration::from_secs(60));

    /// How many restarts a child may ask for itself ([`Exit::RestartRequested`](crate::Exit::RestartRequested)) without a
    /// charge: ten within a minute. Each further one within the minute counts as a failure.
    pub const OF_RESTART_REQUESTS: Self = Self::new(10, Duration::from_secs(60));

    /// Creates a limit of `restarts` within `period`; exceeding it escalates, unless the role or the criticality of the
    /// child, or the file that declares it, says something else.
    #[must_use]
    pub const fn new(restarts: u32, period: Duration) -> Self {
        Self { restarts, period, give_up: GiveUp::Escalate, give_up_source: Source::BuiltIn }
    }

    /// Sets what happens when the limit is exceeded.
    #[must_use]
    pub const fn on_exceeded(mut self, give_up: GiveUp) -> Self {
        self.give_up = give_up;
        self.give_up_source = Source::Own;
        self
    }

    /// Creates a limit that is never exceeded, neither within a period nor in a row.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self::new(Self::UNLIMITED, Duration::MAX)
    }
}

/// When a child that has started counts as ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ready {
    /// As soon as its attempt has started.
    #[default]
    AtOnce,
    /// When the driver reports it ([`Input::Ready`](crate::Input)): the child's `init` returned, the child called
    /// `ready`, or a probe succeeded.
    Reported,
}

/// A dependency on a sibling, which may be declared before or after the child. The child starts only when the conditions
/// of all its edges are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The sibling's name.
    pub child: Name,
    /// What the sibling must have reached.
    pub condition: Condition,
}

/// A dependency on a sibling that must also hold while the child runs. Each need has an [`Edge`] with
/// [`Condition::Ready`] in `after` too, so that the child starts only when the sibling is ready.
///
/// A need holds while the sibling is ready, has finished with success, or is not needed here. For a replica set, one of its
/// replicas must be ready. For a supervisor, each of its direct children that is to run must be ready or finished. When a
/// need has not held for longer than `grace`, the child is stopped. This stop is no failure: it counts against no limit.
/// The child starts again after its own backoff, when the need holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The sibling's name.
    pub child: Name,
    /// How long the child may run without the sibling. With zero it is stopped at once.
    pub grace: Duration,
}

impl Need {
    /// The default of `grace`: 5 s.
    pub const GRACE: Duration = Duration::from_secs(5);
}

/// What is declared of any child, whatever it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSpec {
    /// When the child is started again after it ended by itself.
    pub restart: Restart,
    /// The delay before a restart; with `None` there is none.
    pub backoff: Option<Backoff>,
    /// The limit of this child alone. If the child has no limit and its supervisor has no intensity,
    /// [`Limit::DEFAULT_OF_A_CHILD`] applies.
    pub limit: Option<Limit>,
    /// When the child counts as ready. Supervisors accept only `AtOnce`: they are ready when their children are.
    pub ready: Ready,
    /// How long the child may take to become ready; [`Duration::MAX`] sets no limit. In the first start of its
    /// supervisor with [`FirstStart::Fail`], this is also the longest total time that the child may wait for siblings that
    /// run but are not yet healthy (or have not yet completed), or that back off. When that time is used up, the start of
    /// the supervisor fails. A command to start the child is answered after the same time although the child still waits. For a
    /// supervisor with [`Duration::MAX`], these two times are 30 s.
    pub start_within: Duration,
    /// How long an attempt may run once it is ready; `None` sets no limit. When the time is over, the attempt is asked to
    /// stop, killed after its stop deadline, and has failed ([`Exit::RunTimeout`](crate::Exit::RunTimeout)). The time
    /// before readiness is bounded by `start_within`, as in systemd, where `RuntimeMaxSec=` counts from the same moment.
    pub run_within: Option<Duration>,
    /// The exit codes with which a program asks for its restart; `None` if it does not ask. Refused on temporary children.
    pub restart_codes: Option<Box<RestartCodes>>,
    /// What runs the child. It is shown to people and changes no behaviour.
    pub body: BodyKind,
    /// The longest time between two heartbeats of a ready child; `None` expects no heartbeat.
    pub heartbeat: Option<Duration>,
    /// How long one poll of the child may take. With `None`, the limit of the nearest supervisor above that has one
    /// applies; without such a supervisor there is no limit. The limit of a supervisor or a group is that of the children
    /// below it.
    pub poll_limit: Option<PollLimit>,
    /// The checks of the child; `None` if it has none. Supervisors have none.
    pub checks: Option<Arc<[CheckSpec]>>,
    /// `true` if the child reports its health itself ([`Input::Health`](crate::Input)). It is healthy until it reports
    /// something else. The health of a child that neither reports it nor has a readiness or liveness check is unknown.
    pub reports_health: bool,
    /// How long the child may take to stop when asked; zero kills immediately, [`Duration::MAX`] sets no limit. For a
    /// supervisor this is the budget of its whole subtree. In the first half of the budget the children are asked in
    /// order. At half of the budget all other children are asked. At nine tenths the remaining children are killed.
    /// At its end the children that still run are abandoned.
    pub stop_within: Duration,
    /// How long a ready child that others stop is not ready any more before it is asked to stop, so that others can turn
    /// away from it. This time is a part of `stop_within`, and shorter. There is no such time if the child is killed, has
    /// failed, or is not ready yet, and it ends when the plan of a supervisor asks all its children. For leaves only.
    pub unready_for: Duration,
    /// How long the child may take to end after a kill, until it is abandoned: more than zero; [`Duration::MAX`] sets no
    /// limit. The budgets of the supervisors above may end this wait earlier. For a supervisor this is the time from
    /// its kill until the children that still run are abandoned.
    pub kill_wait: Duration,
    /// `true` if the end of the child counts for its supervisor's [`AutoShutdown`].
    pub significant: bool,
    /// The dependencies that must hold before the child starts.
    pub after: Vec<Edge>,
    /// The dependencies that must also hold while the child runs. Refused on temporary children, on groups and their
    /// members, and on the root, because a child that is stopped for a need must be able to come back as it was.
    pub needs: Vec<Need>,
    /// `true` if the child does not start with its supervisor, but only when it is asked for: by a command, by a mode that names
    /// it, or by a sibling that comes after it. Down, it counts as done. Refused on the root, on members, and on a child that
    /// is added, because adding asks for its start.
    pub manual: bool,
    /// The replica set to which the child belongs. Siblings of one set are one place in the order of their supervisor: they
    /// start side by side, stop side by side, and none of them takes another down under rest-for-one. The replicas of a
    /// set are declared in succession and have the same `after`, and each `after` of a sibling names all of them or none.
    pub replica_of: Option<Name>,
    /// `true` if the child can have only one attempt, because its body cannot be made again. Such a child is temporary. A
    /// command that would start it again is refused, and a later start of its supervisor leaves it finished.
    pub once: bool,
    /// `true` if the exits of the child hold the error that the body returned, for downcasting. Otherwise they hold its
    /// text only, and the error is dropped when the attempt ends.
    pub keep_error: bool,
    /// `true` if the body of the child is kept after the child is over, so that a command can start the child again.
    /// Otherwise the body is let go when neither a supervisor nor a restart set can start the child again: the child is
    /// temporary and has finished, and each supervisor above it, except the root, is temporary. For a supervisor, this
    /// holds for the bodies of all children below it.
    pub keep: bool,
    /// How many of its last exits the tree keeps for people to see, from the first failure on: at most
    /// [`MAX_HISTORY`](crate::MAX_HISTORY); 0 keeps none. An exit is kept as text of at most
    /// [`MAX_EXIT_TEXT_BYTES`](crate::MAX_EXIT_TEXT_BYTES).
    pub history: u8,
    /// The version of the code of the child; `None` if it has none. Code of another version counts as changed when another
    /// declaration of the tree takes the place of this one; code without a version counts as unchanged.
    pub version: Option<Arc<str>>,
    /// Where the child was declared.
    pub declared_at: DeclaredAt,
    /// The title, the tags, the role and the criticality of the child; `None` if it has none of them.
    pub description: Option<Arc<Description>>,
    /// Where the settings above come from. A setting that comes from [`Source::BuiltIn`] may be replaced by one of the role
    /// or of the defaults of a supervisor above.
    pub sources: Sources,
    /// Which settings were written at the child itself. Those without effect are refused.
    pub written: Written,
}

impl Default for ChildSpec {
    /// Returns the defaults of a leaf: permanent, default backoff, ready at once (30 s if it reports readiness), no
    /// heartbeat, 5 s to stop, a history of 8 exits.
    fn default() -> Self {
        Self {
            restart: Restart::default(),
            backoff: Some(Backoff::default()),
            limit: None,
            ready: Ready::default(),
            start_within: Duration::from_secs(30),
            run_within: None,
            restart_codes: None,
            body: BodyKind::default(),
            heartbeat: None,
            poll_limit: None,
            checks: None,
            reports_health: false,
            stop_within: Duration::from_secs(5),
            unready_for: Duration::ZERO,
            kill_wait: KILL_WAIT,
            significant: false,
            after: Vec::new(),
            needs: Vec::new(),
            manual: false,
            replica_of: None,
            once: false,
            keep_error: false,
            keep: false,
            history: Self::HISTORY,
            version: None,
            declared_at: DeclaredAt::default(),
            description: None,
            sources: Sources::default(),
            written: Written::default(),
        }
    }
}

impl ChildSpec {
    /// The default of `history`.
    pub const HISTORY: u8 = 8;

    /// Returns how long an attempt must be ready without a break to be stable. Without a backoff, this is the default.
    pub(crate) fn reset_after(&self) -> Duration {
        self.backoff.map_or(Backoff::RESET_AFTER, |backoff| backoff.reset_after)
    }

    /// Returns the checks of the child.
    #[must_use]
    pub fn checks(&self) -> &[CheckSpec] {
        self.checks.as_deref().unwrap_or_default()
    }

    /// Returns the description, to be changed.
    pub fn describe(&mut self) -> &mut Description {
        Arc::make_mut(self.description.get_or_insert_default())
    }

    /// Returns the criticality, if one is written.
    #[must_use]
    pub fn criticality(&self) -> Option<Criticality> {
        self.description.as_ref()?.criticality
    }

    /// Sets the restart rule, as a setting of the child itself.
    pub const fn set_restart(&mut self, restart: Restart) {
        (self.restart, self.sources.restart) = (restart, Source::Own);
    }

    /// Sets the backoff, as a setting of the child itself.
    pub const fn set_backoff(&mut self, backoff: Option<Backoff>) {
        (self.backoff, self.sources.backoff) = (backoff, Source::Own);
    }

    /// Sets the limit, as a setting of the child itself.
    pub const fn set_limit(&mut self, limit: Limit) {
        (self.limit, self.sources.limit) = (Some(limit), Source::Own);
    }

    /// Sets the start deadline, as a setting of the child itself.
    pub const fn set_start_within(&mut self, within: Duration) {
        (self.start_within, self.sources.start_within) = (within, Source::Own);
    }

    /// Sets the stop deadline, as a setting of the child itself.
    pub const fn set_stop_within(&mut self, within: Duration) {
        (self.stop_within, self.sources.stop_within) = (within, Source::Own);
    }

    /// Sets the wait after a kill, as a setting of the child itself.
    pub const fn set_kill_wait(&mut self, wait: Duration) {
        (self.kill_wait, self.sources.kill_wait) = (wait, Source::Own);
    }

    /// Sets how long the child is not ready any more before it is asked to stop, as a setting of the child itself.
    pub const fn set_unready_for(&mut self, time: Duration) {
        (self.unready_for, self.sources.unready_for) = (time, Source::Own);
    }

    /// Adds a check.
    pub fn add_check(&mut self, check: CheckSpec) {
        self.checks = Some(self.checks().iter().cloned().chain([check]).collect());
    }

    /// Returns `true` if a leaf is ready as soon as it runs: it is never starting.
    #[inline]
    pub(crate) fn is_ready_at_once(&self) -> bool {
        self.ready == Ready::AtOnce && !self.has_check(true)
    }

    /// Returns `true` if the child has a check of one of these kinds.
    #[inline]
    pub(crate) fn has_check(&self, startup: bool) -> bool {
        self.checks().iter().any(|check| (check.kind == CheckKind::Startup) == startup)
    }

    /// Returns `true` if anything says how healthy the child is.
    #[inline]
    pub(crate) fn has_health(&self) -> bool {
        self.reports_health || self.has_check(false)
    }

    /// Returns the defaults of a supervisor. It has no deadlines, because its children have deadlines.
    #[must_use]
    pub fn of_supervisor() -> Self {
        Self {
            start_within: Duration::MAX,
            stop_within: Duration::MAX,
            body: BodyKind::Supervisor,
            ..Self::default()
        }
    }

    /// Returns the defaults of the root: the defaults of a supervisor, with 30 s for the stop of the whole tree.
    #[must_use]
    pub fn of_root() -> Self {
        Self { stop_within: Duration::from_secs(30), ..Self::of_supervisor() }
    }
}

/// The exit codes with which a program asks for its restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartCodes {
    /// These codes. The driver reports [`Exit::RestartRequested`](crate::Exit::RestartRequested) for them.
    pub codes: Vec<i32>,
    /// The codes that are a success. A code in both lists is refused.
    pub success: Vec<i32>,
}

/// A supervisor with declared children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupervisorSpec {
    /// Which children one restart takes down and starts again.
    pub strategy: Strategy,
    /// How many restarts of all children together are allowed within the period. Failures in a row do not count.
    /// With `None` each child has a limit of its own. An intensity is refused if all restartable children together cannot
    /// exceed it because of their backoffs. [`ChildDeclaration::warnings`] names the children that cannot exceed it
    /// alone.
    pub intensity: Option<Limit>,
    /// The order in which the children start; they stop in its reverse.
    pub order: Order,
    /// What follows when a child fails before the supervisor has been ready.
    pub first_start: FirstStart,
    /// When the supervisor ends with its significant children.
    pub auto_shutdown: AutoShutdown,
    /// `true` if the supervisor ends when each child below it has finished, is not needed, is quarantined, or waits for
    /// a quarantined sibling.
    pub end_when_done: bool,
    /// `true` if the children run on a dedicated runtime, which is made before the first child starts and closed after
    /// the last child has ended.
    pub dedicated_runtime: bool,
    /// How many children may be starting (begun, but not ready yet) at the same time: more than zero; `None` for any number.
    /// A further child waits for a place. Among children that wait, the one that has waited longest comes first.
    pub max_starting: Option<u32>,
    /// What the children below inherit until they set it themselves; `None` if nothing.
    pub defaults: Option<Arc<Defaults>>,
    /// The children, in declared order.
    pub children: Vec<ChildDeclaration>,
}

/// A dynamic group: any number of children from one template, one-for-one, stopped together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// The spec of every member.
    pub template: ChildSpec,
    /// How many restarts of all members together are allowed. With `None` each member has a limit of its own.
    pub intensity: Option<Limit>,
    /// The most members that the group may have at the same time; a further member is refused.
    pub max_members: u32,
    /// How many members may be starting at the same time, as in [`SupervisorSpec::max_starting`].
    pub max_starting: Option<u32>,
    /// `true` if the members run on a dedicated runtime, as in [`SupervisorSpec::dedicated_runtime`].
    pub dedicated_runtime: bool,
}

impl GroupSpec {
    /// The default of `max_members`: ten million.
    pub const DEFAULT_MAX_MEMBERS: u32 = 10_000_000;
}

impl Default for GroupSpec {
    fn default() -> Self {
        Self {
            template: ChildSpec::default(),
            intensity: None,
            max_members: Self::DEFAULT_MAX_MEMBERS,
            max_starting: None,
            dedicated_runtime: false,
        }
    }
}

/// The form of a child: what it consists of.
#[expect(clippy::large_enum_variant, reason = "declarations are few, and live only until the tree starts")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildForm {
    /// A child without children: a body that the driver runs.
    Leaf,
    /// A supervisor with declared children.
    Supervisor(SupervisorSpec),
    /// A dynamic group, whose members are made from one template.
    Group(GroupSpec),
}

impl Drop for ChildForm {
    /// Drops the declarations below without recursion, because a declaration may be nested far deeper than a tree.
    fn drop(&mut self) {
        let below = |form: &mut Self| match form {
            Self::Supervisor(spec) => std::mem::take(&mut spec.children),
            Self::Leaf | Self::Group(_) => Vec::new(),
        };
        let mut open = below(self);
        while let Some(mut child) = open.pop() {
            open.append(&mut below(&mut child.form));
        }
    }
}

/// One declared child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildDeclaration {
    /// The name, unique among its siblings.
    pub name: Name,
    /// How the child is supervised.
    pub spec: ChildSpec,
    /// What the child consists of.
    pub form: ChildForm,
}
