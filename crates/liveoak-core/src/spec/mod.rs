//! What is declared: plain data, with all defaults in one place.
//!
//! [`SupervisorSpec::check`] is the only gate; the [`Machine`](crate::Machine) takes nothing unchecked, and nothing
//! after the gate checks again.

mod check;
mod order;

pub use check::{MAX_CHILDREN, SpecError, SpecErrors};
pub(crate) use check::{added_child, tree};
pub use order::start_order;

use crate::{Backoff, Name};
use std::time::Duration;

/// When a child that ended by itself is started again. Source: OTP rows C19–C21.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// After a failure only.
    Transient,
    /// Never.
    Temporary,
}

/// Which children are restarted when one of them is to be. Source: OTP rows C29–C31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// That child.
    #[default]
    OneForOne,
    /// All children of the supervisor.
    OneForAll,
    /// That child and those that start after it.
    RestForOne,
}

/// In what order the children of a supervisor start; they stop in the reverse of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// One after another, as declared (moved behind what they come `after`), each when the one before is ready.
    #[default]
    Declared,
    /// Side by side: each child as soon as all its `after` edges hold.
    Edges,
}

/// Whether a supervisor ends when its significant children have. Source: OTP rows C45–C48.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoShutdown {
    /// It does not.
    #[default]
    Never,
    /// With the first significant child that ends by itself and is not restarted.
    AnySignificant,
    /// With the last one.
    AllSignificant,
}

/// What happens when a limit is exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GiveUp {
    /// The supervisor stops all its children and fails; its own supervisor decides what follows.
    #[default]
    Escalate,
    /// The failed child alone is given up on, visibly, until somebody starts it; the others go on.
    Quarantine,
}

/// How many restarts within how long are allowed. One more, and it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Restarts allowed within the period: 0 to [`Limit::MAX_RESTARTS`], or [`Limit::UNLIMITED`].
    pub restarts: u32,
    /// The sliding window; a restart exactly this old still counts. More than zero.
    pub period: Duration,
    /// What happens when it is exceeded.
    pub give_up: GiveUp,
}

impl Limit {
    /// The largest limit that is counted: the window remembers one moment (8 bytes) a restart, 512 KiB at most.
    pub const MAX_RESTARTS: u32 = 65_536;
    /// No limit at all.
    pub const UNLIMITED: u32 = u32::MAX;
    /// What each child may do when neither its supervisor's intensity nor its own limit was set: ten restarts
    /// within a minute. With the default backoff a child that fails at once is given up on after about 40 s.
    pub const DEFAULT_OF_A_CHILD: Self = Self::new(10, Duration::from_secs(60));

    /// `restarts` within `period`, else escalate.
    #[must_use]
    pub const fn new(restarts: u32, period: Duration) -> Self {
        Self { restarts, period, give_up: GiveUp::Escalate }
    }

    /// The same limit with another consequence.
    #[must_use]
    pub const fn on_exceeded(mut self, give_up: GiveUp) -> Self {
        self.give_up = give_up;
        self
    }

    /// No limit.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self::new(Self::UNLIMITED, Duration::MAX)
    }
}

/// When a started child counts as ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ready {
    /// As soon as its attempt was begun.
    #[default]
    AtOnce,
    /// When the driver says so ([`Input::Ready`](crate::Input)): the child's `init` returned, it said so
    /// itself, or a probe did.
    Reported,
}

/// What an `after` edge waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// The other child's attempt was begun.
    Started,
    /// The other child is ready (or has completed, or is not needed).
    #[default]
    Ready,
    /// The other child is ready and healthy.
    Healthy,
    /// The other child has ended with success for good, and not because others stopped it.
    Completed,
}

/// A child starts only when its edges hold. Siblings only; any order of declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The sibling's name.
    pub child: Name,
    /// What must be true of it.
    pub condition: Condition,
}

/// What is declared of any child, whatever it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSpec {
    /// When it is started again after ending by itself.
    pub restart: Restart,
    /// The delay before a restart; none means at once.
    pub backoff: Option<Backoff>,
    /// The limit of this child alone. When neither this nor the supervisor's intensity is given,
    /// [`Limit::DEFAULT_OF_A_CHILD`] holds.
    pub limit: Option<Limit>,
    /// When it counts as ready. Of no meaning for supervisors: they are ready when their children are.
    pub ready: Ready,
    /// How long it may take to become ready. And how long it waits, in all, for siblings that it comes after and that are
    /// ailing: ready but not healthy enough, or failed and not restarted yet (a supervisor for which nothing is said
    /// here: 30 s). [`Duration::MAX`]: as long as it likes.
    pub start_within: Duration,
    /// How long it may go without a heartbeat, once ready.
    pub heartbeat: Option<Duration>,
    /// How long it may take to stop when asked; zero kills at once, [`Duration::MAX`] never. For a supervisor
    /// this is the budget of its whole subtree: half of it is for orderly asking, at nine tenths whoever is
    /// left is killed, and at its end written off.
    pub stop_within: Duration,
    /// Whether its end counts for the supervisor's [`AutoShutdown`].
    pub significant: bool,
    /// What must hold before it starts.
    pub after: Vec<Edge>,
    /// Whether what it runs can be made only once. Of members of groups, and of children that are added; they are temporary,
    /// and a command that would start one again is refused.
    pub once: bool,
}

impl Default for ChildSpec {
    /// Permanent, default backoff, ready at once or within 30 s, no heartbeat, 5 s to stop.
    fn default() -> Self {
        Self {
            restart: Restart::default(),
            backoff: Some(Backoff::default()),
            limit: None,
            ready: Ready::default(),
            start_within: Duration::from_secs(30),
            heartbeat: None,
            stop_within: Duration::from_secs(5),
            significant: false,
            after: Vec::new(),
            once: false,
        }
    }
}

impl ChildSpec {
    /// The defaults of a child that is itself a supervisor: its children have deadlines of their own, so it has
    /// none for its start or stop.
    #[must_use]
    pub fn of_supervisor() -> Self {
        Self { start_within: Duration::MAX, stop_within: Duration::MAX, ..Self::default() }
    }

    /// The defaults of the root: a supervisor's, with 30 s for the stop of the whole tree.
    #[must_use]
    pub fn of_root() -> Self {
        Self { stop_within: Duration::from_secs(30), ..Self::of_supervisor() }
    }
}

/// A supervisor with declared children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupervisorSpec {
    /// Which children are restarted together.
    pub strategy: Strategy,
    /// How many restarts of its children, all together, are allowed. None: each child has a limit of its own.
    pub intensity: Option<Limit>,
    /// The order of start, and its reverse of stop.
    pub order: Order,
    /// Whether it ends with its significant children.
    pub auto_shutdown: AutoShutdown,
    /// Whether it ends when all its children have finished for good.
    pub end_when_done: bool,
    /// Whether the driver gives its children a place of their own to run (a runtime): it is begun before the
    /// first child and ended after the last.
    pub dedicated_runtime: bool,
    /// The children, in declared order.
    pub children: Vec<ChildDeclaration>,
}

/// A dynamic group: any number of children from one template, one-for-one, stopped together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// What is declared of every member.
    pub template: ChildSpec,
    /// How many restarts of its members, all together, are allowed. None: each has a limit of its own.
    pub intensity: Option<Limit>,
    /// The most members it may have at once; one more is refused.
    pub max_members: u32,
    /// See [`SupervisorSpec::place`].
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
            dedicated_runtime: false,
        }
    }
}

/// What a child does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildForm {
    /// Something that the driver runs.
    Leaf,
    /// It owns declared children.
    Supervisor(SupervisorSpec),
    /// It owns members made from one template.
    Group(GroupSpec),
}

/// One declared child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildDeclaration {
    /// Its name among its siblings.
    pub name: Name,
    /// What is declared of it as a child.
    pub spec: ChildSpec,
    /// What it does.
    pub form: ChildForm,
}
