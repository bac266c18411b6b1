//! What has no effect is refused: settings that were written at a child on which they can change nothing.
//!
//! A value alone does not show whether it was written: a temporary child has the default backoff like any other, and a
//! setting may come from defaults that apply to many children. So each setting that can be inherited has a [`Source`], and
//! builders note the others in [`Written`]. Only what was written at the child itself is refused here.
//!
//! | written | refused on |
//! |---|---|
//! | `backoff`, `limit` | a temporary child, a temporary member, the root |
//! | `start_within` | a leaf that is ready at once and comes after no sibling; such a group without a runtime |
//! | `keep` | a child that runs once; a child that can always be started again; the root |
//! | `keep_error` | a supervisor, a group |
//! | `unready_for` | a supervisor, a group, a member; a child whose `stop_within` is not longer |
//! | `max_starting` | a supervisor all of whose declared children are ready at once; such a group |
//! | what happens when a limit is exceeded | an unlimited limit |

use super::check::Check;
use super::{
    ChildDeclaration, ChildForm, ChildSpec, GroupSpec, Limit, Ready, Restart, Source, SupervisorSpec,
};
use crate::Path;

/// Which settings of a [`ChildSpec`] were written at the child itself, and what only a builder can refuse. Everything that
/// was read from shared defaults is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// `true` if `keep` was written: the body of the child is kept.
    pub keep: bool,
    /// Settings that have no effect, each with its field and the reason, if the spec does not hold the setting: for
    /// example, the interval of a probe that is never repeated. The check of the specs refuses them.
    pub refused: Vec<(&'static str, &'static str)>,
}

/// What kind of child has a spec.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Leaf,
    Supervisor,
    Group { opens_runtime: bool },
}

impl Kind {
    const fn of(form: &ChildForm) -> Self {
        match form {
            ChildForm::Leaf => Self::Leaf,
            ChildForm::Supervisor(_) => Self::Supervisor,
            ChildForm::Group(group) => Self::Group { opens_runtime: group.dedicated_runtime },
        }
    }
}

/// Why no bound of zero is allowed.
const NO_PLACE: &str = "with 0 places nothing could ever start; expected at least 1";

/// Returns `true` if the start of such a child may take time.
fn may_wait(spec: &ChildSpec, kind: Kind) -> bool {
    let takes_time = match kind {
        Kind::Leaf => spec.ready == Ready::Reported || spec.has_check(true),
        Kind::Supervisor => true,
        Kind::Group { opens_runtime } => opens_runtime,
    };
    takes_time || !spec.after.is_empty() || !spec.needs.is_empty()
}

/// Returns `true` for a setting that was written at the child itself.
fn is_own(source: Source) -> bool {
    source == Source::Own
}

impl Check {
    /// Refuses what has no effect on a child. `may_end` says that nothing will start the child again once it has ended:
    /// it and all supervisors above it, except the root, are temporary, or such a supervisor is above it.
    pub(super) fn check_effect(&mut self, path: &Path, declared: &ChildDeclaration, may_end: bool) {
        let spec = &declared.spec;
        let kind = Kind::of(&declared.form);
        self.check_written(path, spec, kind);
        let reason = "the body of a child that runs once cannot be made again, so keeping it has no effect";
        self.refuse_if(spec.written.keep && spec.once, path, "keep", reason);
        let reason = "the child can be started again anyway, because it or the supervisor above it is not temporary; \
                      keeping what it has captured has no effect";
        self.refuse_if(spec.written.keep && !spec.once && !may_end, path, "keep", reason);
        let reason = "a supervisor or a group has no error of its own to keep; its children may";
        self.refuse_if(spec.keep_error && kind != Kind::Leaf, path, "keep_error", reason);
        self.check_unready_for(path, spec, kind);
        if let ChildForm::Group(group) = &declared.form {
            self.check_members(path, group);
        }
    }

    /// Refuses an `unready_for` that has no effect, or that leaves no time for the request to stop.
    fn check_unready_for(&mut self, path: &Path, spec: &ChildSpec, kind: Kind) {
        if spec.unready_for.is_zero() {
            return;
        }
        let reason =
            "a supervisor or a group stops its children, each by its own `unready_for`; it has none itself";
        self.refuse_if(kind != Kind::Leaf, path, "unready_for", reason);
        let reason = "it is not shorter than the time for the whole stop, so the child could never be asked to stop; \
                      expected less than `stop_within`";
        self.refuse_if(spec.unready_for >= spec.stop_within, path, "unready_for", reason);
    }

    /// Refuses what has no effect on the root. Nothing restarts it.
    pub(super) fn check_effect_on_root(&mut self, path: &Path, root: &ChildDeclaration) {
        let reason = "nothing restarts the root of a tree, so the delay before a restart has no effect";
        self.refuse_if(is_own(root.spec.sources.backoff), path, "backoff", reason);
        let reason = "a supervisor or a group has no error of its own to keep; its children may";
        self.refuse_if(root.spec.keep_error, path, "keep_error", reason);
        let reason = "the root of a tree ends with the tree, so keeping what it has captured has no effect";
        self.refuse_if(root.spec.written.keep, path, "keep", reason);
        self.check_unready_for(path, &root.spec, Kind::of(&root.form));
        if let ChildForm::Group(group) = &root.form {
            self.check_members(path, group);
        }
    }

    /// Refuses a bound on starts side by side under which nothing could start, or which changes nothing.
    pub(super) fn check_max_starting(&mut self, path: &Path, spec: &SupervisorSpec) {
        self.refuse_if(spec.max_starting == Some(0), path, "max_starting", NO_PLACE);
        let is_at_once = |child: &ChildDeclaration| match &child.form {
            ChildForm::Leaf => child.spec.is_ready_at_once(),
            ChildForm::Supervisor(_) => false,
            ChildForm::Group(group) => !group.dedicated_runtime,
        };
        let none_starts = !spec.children.is_empty() && spec.children.iter().all(is_at_once);
        let reason = "each child is ready as soon as it runs, so no start takes a place; expected children that report \
                      that they are ready, or no `max_starting`";
        self.refuse_if(spec.max_starting.is_some() && none_starts, path, "max_starting", reason);
    }

    /// Refuses such a bound of a group.
    pub(super) fn check_max_starting_of_group(&mut self, path: &Path, group: &GroupSpec) {
        self.refuse_if(group.max_starting == Some(0), path, "max_starting", NO_PLACE);
        let reason = "each member is ready as soon as it runs, so no start takes a place; expected members that report \
                      that they are ready, or no `max_starting`";
        let none_starts = group.template.is_ready_at_once();
        self.refuse_if(group.max_starting.is_some() && none_starts, path, "max_starting", reason);
    }

    /// Refuses what has no effect on the members of a group.
    fn check_members(&mut self, path: &Path, group: &GroupSpec) {
        self.check_written(path, &group.template, Kind::Leaf);
        let reason = "no sibling waits for a member, and all members are asked together; expected none";
        self.refuse_if(!group.template.unready_for.is_zero(), path, "unready_for", reason);
    }

    fn check_written(&mut self, path: &Path, spec: &ChildSpec, kind: Kind) {
        let temporary = spec.restart == Restart::Temporary;
        let reason = "a temporary child is never restarted, so the delay before a restart has no effect; expected no \
                      backoff here, or transient";
        self.refuse_if(is_own(spec.sources.backoff) && temporary, path, "backoff", reason);
        let reason = "a temporary child is never restarted, so a limit of restarts has no effect; expected no limit here, \
                      or transient";
        self.refuse_if(is_own(spec.sources.limit) && temporary, path, "limit", reason);
        let reason = "the child is ready as soon as it runs and comes after no sibling, so a start deadline has no effect; \
                      expected a child that reports that it is ready, or no deadline";
        self.refuse_if(
            is_own(spec.sources.start_within) && !may_wait(spec, kind),
            path,
            "start_within",
            reason,
        );
        for (field, reason) in &spec.written.refused {
            self.refuse_if(true, path, field, reason);
        }
    }

    /// Refuses a `give_up` of a limit that cannot be exceeded.
    pub(super) fn check_give_up(&mut self, path: &Path, field: &'static str, limit: Limit) {
        let reason = "an unlimited limit is never exceeded, so what happens then has no effect";
        let unlimited = limit.restarts == Limit::UNLIMITED && is_own(limit.give_up_source);
        self.refuse_if(unlimited, path, field, reason);
    }
}
