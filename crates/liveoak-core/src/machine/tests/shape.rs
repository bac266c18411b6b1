//! Short builders for specs.

use crate::{
    Backoff, CheckSpec, ChildDeclaration, ChildForm, ChildSpec, Condition, Edge, FirstStart, GroupSpec,
    Limit, Name, Order, Ready, Restart, Strategy, SupervisorSpec,
};
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Returns a permanent leaf without backoff that is ready at once and reports its health, and that a command can start again when it is over.
pub(super) fn leaf(text: &str) -> ChildDeclaration {
    let spec = ChildSpec { backoff: None, keep: true, reports_health: true, ..ChildSpec::default() };
    ChildDeclaration { name: name(text), spec, form: ChildForm::Leaf }
}

/// Returns a supervisor without a deadline for its start or stop, and without backoff.
pub(super) fn sup(text: &str, children: impl IntoIterator<Item = ChildDeclaration>) -> ChildDeclaration {
    let children = children.into_iter().collect();
    let spec = ChildSpec { backoff: None, ..ChildSpec::of_supervisor() };
    ChildDeclaration {
        name: name(text),
        spec,
        form: ChildForm::Supervisor(SupervisorSpec { children, ..SupervisorSpec::default() }),
    }
}

/// Returns a group whose members are like [`leaf`].
pub(super) fn group(text: &str) -> ChildDeclaration {
    let template = leaf("x").spec;
    let spec = ChildSpec { backoff: None, ..ChildSpec::of_supervisor() };
    let work = ChildForm::Group(GroupSpec { template, ..GroupSpec::default() });
    ChildDeclaration { name: name(text), spec, form: work }
}

/// Returns a backoff of up to `delay` that does not grow.
pub(super) fn backoff(delay: Duration) -> Backoff {
    Backoff { from: delay, to: delay, reset_after: Duration::MAX, ..Backoff::default() }
}

impl ChildDeclaration {
    /// Changes what is declared of the child.
    pub(super) fn with(mut self, change: impl FnOnce(&mut ChildSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Changes the rules of the supervisor.
    pub(super) fn rules(mut self, change: impl FnOnce(&mut SupervisorSpec)) -> Self {
        match &mut self.form {
            ChildForm::Supervisor(spec) => change(spec),
            ChildForm::Group(_) | ChildForm::Leaf => panic!("{} is not a supervisor", self.name),
        }
        self
    }

    /// Changes the rules of the group.
    pub(super) fn members(mut self, change: impl FnOnce(&mut GroupSpec)) -> Self {
        match &mut self.form {
            ChildForm::Group(spec) => change(spec),
            ChildForm::Supervisor(_) | ChildForm::Leaf => panic!("{} is not a group", self.name),
        }
        self
    }

    pub(super) fn restart(self, restart: Restart) -> Self {
        self.with(|child| child.restart = restart)
    }

    pub(super) fn transient(self) -> Self {
        self.restart(Restart::Transient)
    }

    pub(super) fn temporary(self) -> Self {
        self.restart(Restart::Temporary)
    }

    pub(super) fn significant(self) -> Self {
        self.with(|child| child.significant = true)
    }

    /// Makes the child ready only when the test reports it.
    pub(super) fn reports(self) -> Self {
        self.with(|child| child.ready = Ready::Reported)
    }

    /// Adds a check.
    pub(super) fn checked(self, check: CheckSpec) -> Self {
        self.with(|child| child.add_check(check))
    }

    pub(super) fn stop_within(self, within: Duration) -> Self {
        self.with(|child| child.stop_within = within)
    }

    pub(super) fn start_within(self, within: Duration) -> Self {
        self.with(|child| child.start_within = within)
    }

    /// Gives every restart a delay of more than zero and up to `delay`. (The driver's random number is not 0.)
    pub(super) fn delayed(self, delay: Duration) -> Self {
        self.with(|child| child.backoff = Some(backoff(delay)))
    }

    pub(super) fn limit(self, limit: Limit) -> Self {
        self.with(|child| child.limit = Some(limit))
    }

    /// Lets the child start only when it is asked for.
    pub(super) fn manual(self) -> Self {
        self.with(|child| child.manual = true)
    }

    /// Makes the child a replica of this set.
    pub(super) fn replica_of(self, set: &str) -> Self {
        self.with(|child| child.replica_of = Some(name(set)))
    }

    pub(super) fn after(self, other: &str, condition: Condition) -> Self {
        self.with(|child| child.after.push(Edge { child: name(other), condition }))
    }

    pub(super) fn strategy(self, strategy: Strategy) -> Self {
        self.rules(|rules| rules.strategy = strategy)
    }

    pub(super) fn intensity(self, restarts: u32, period: Duration) -> Self {
        self.rules(|rules| rules.intensity = Some(Limit::new(restarts, period)))
    }

    pub(super) fn edges(self) -> Self {
        self.rules(|rules| rules.order = Order::Edges)
    }

    /// Restarts a child that fails in the first start, instead of ending the supervisor.
    pub(super) fn retries(self) -> Self {
        self.rules(|rules| rules.first_start = FirstStart::Retry)
    }

    /// Gives the supervisor or group a dedicated runtime.
    pub(super) fn on_dedicated_runtime(mut self) -> Self {
        match &mut self.form {
            ChildForm::Supervisor(spec) => spec.dedicated_runtime = true,
            ChildForm::Group(spec) => spec.dedicated_runtime = true,
            ChildForm::Leaf => panic!("{} is not a supervisor", self.name),
        }
        self
    }
}
