//! Where the value of a setting comes from when a child does not set it itself.
//!
//! A child takes each setting from the first of these that has it:
//!
//! 1. the child itself,
//! 2. the role of the child,
//! 3. the criticality of the child (only what happens when the limit is exceeded),
//! 4. the defaults of its supervisor, then those of the supervisors above, up to the root,
//! 5. the defaults of a file,
//! 6. the built-in defaults.
//!
//! A `limit` or a `backoff` is replaced as a whole. A limit without a `give_up` of its own takes it from the role, the
//! criticality or the file. The deadlines (`start_within`, `stop_within`, `kill_wait`) of defaults reach leaves and
//! members only, `unready_for` reaches leaves only.
//!
//! A default has no effect on a child that it does not fit (a limit on a temporary child, a start deadline on a child
//! that is ready at once). This is not an error.

use super::{
    CheckKind, CheckSpec, ChildDeclaration, ChildForm, ChildSpec, GiveUp, Jitter, Limit, MAX_DEPTH, Restart,
    Role, SupervisorSpec,
};
use crate::Backoff;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where the value of a setting comes from. The greater of two decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The default of the library.
    #[default]
    BuiltIn,
    /// The default of a file, where it differs from that of the library.
    File,
    /// The defaults of a supervisor above.
    Defaults,
    /// The criticality of the child.
    Criticality,
    /// The role of the child.
    Role,
    /// The child itself.
    Own,
}

impl Source {
    /// Returns the source as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::File => "file",
            Self::Defaults => "defaults",
            Self::Criticality => "criticality",
            Self::Role => "role",
            Self::Own => "own",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where the settings of a child come from. All values of this type are equal: two children with the same settings are
/// the same, wherever the settings come from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources {
    /// Of `restart`.
    pub restart: Source,
    /// Of `backoff`.
    pub backoff: Source,
    /// Of `limit`, without its `give_up`, which has a source of its own.
    pub limit: Source,
    /// Of `start_within`.
    pub start_within: Source,
    /// Of `stop_within`.
    pub stop_within: Source,
    /// Of `kill_wait`.
    pub kill_wait: Source,
    /// Of `unready_for`.
    pub unready_for: Source,
}

impl PartialEq for Sources {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Sources {}

/// Settings that all children below a supervisor inherit until they set them themselves, or have a role that does, or
/// nearer defaults do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// When the children are restarted.
    pub restart: Option<Restart>,
    /// The delays before restarts; `Some(None)` is no delay.
    pub backoff: Option<Option<Backoff>>,
    /// The limit of each child alone.
    pub limit: Option<Limit>,
    /// How long a leaf that reports its readiness may take to become ready.
    pub start_within: Option<Duration>,
    /// How long a leaf may take to stop.
    pub stop_within: Option<Duration>,
    /// How long a leaf may take to end after a kill.
    pub kill_wait: Option<Duration>,
    /// How long a leaf is not ready any more before it is asked to stop.
    pub unready_for: Option<Duration>,
}

impl Defaults {
    /// Returns defaults that set nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            restart: None,
            backoff: None,
            limit: None,
            start_within: None,
            stop_within: None,
            kill_wait: None,
            unready_for: None,
        }
    }

    /// Sets when the children are restarted.
    #[must_use]
    pub const fn restart(mut self, restart: Restart) -> Self {
        self.restart = Some(restart);
        self
    }

    /// Sets the delays before restarts; `None` restarts immediately.
    #[must_use]
    pub fn backoff(mut self, backoff: impl Into<Option<Backoff>>) -> Self {
        self.backoff = Some(backoff.into());
        self
    }

    /// Sets the limit of each child alone.
    #[must_use]
    pub const fn limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets how long a task, thread, service, program or member may take to become ready.
    #[must_use]
    pub const fn start_within(mut self, within: Duration) -> Self {
        self.start_within = Some(within);
        self
    }

    /// Sets how long a task, thread, service, program or member may take to stop.
    #[must_use]
    pub const fn stop_within(mut self, within: Duration) -> Self {
        self.stop_within = Some(within);
        self
    }

    /// Sets how long a task, thread, service, program or member may take to end after a kill.
    #[must_use]
    pub const fn kill_wait(mut self, wait: Duration) -> Self {
        self.kill_wait = Some(wait);
        self
    }

    /// Sets how long a task, thread, service or program is not ready any more before it is asked to stop. A child
    /// whose time to stop is not longer than this is asked at once; this is no error.
    #[must_use]
    pub const fn unready_for(mut self, time: Duration) -> Self {
        self.unready_for = Some(time);
        self
    }

    /// Returns these defaults, with those of a supervisor above for what they do not set.
    #[must_use]
    pub fn or(self, above: Self) -> Self {
        Self {
            restart: self.restart.or(above.restart),
            backoff: self.backoff.or(above.backoff),
            limit: self.limit.or(above.limit),
            start_within: self.start_within.or(above.start_within),
            stop_within: self.stop_within.or(above.stop_within),
            kill_wait: self.kill_wait.or(above.kill_wait),
            unready_for: self.unready_for.or(above.unready_for),
        }
    }

    /// Returns what is wrong with the values: the field, and the reason.
    pub(super) fn problems(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let zero = |time: Option<Duration>| time == Some(Duration::ZERO);
        let backoff = self.backoff.flatten();
        let limit = self.limit;
        let too_many =
            |limit: Limit| limit.restarts > Limit::MAX_RESTARTS && limit.restarts != Limit::UNLIMITED;
        [
            (
                zero(self.start_within),
                "defaults.start_within",
                "it is zero, so no start could be in time; expected more",
            ),
            (
                zero(self.kill_wait),
                "defaults.kill_wait",
                "it is zero, so no killed attempt could end in time; expected more",
            ),
            (
                backoff.is_some_and(|backoff| backoff.from.is_zero()),
                "defaults.backoff.from",
                "it is zero; expected more, or no backoff at all",
            ),
            (
                backoff.is_some_and(|backoff| backoff.from > backoff.to),
                "defaults.backoff.to",
                "it is less than `from`; expected at least as much",
            ),
            (
                limit.is_some_and(|limit| limit.period.is_zero()),
                "defaults.limit",
                "the period is zero; expected more",
            ),
            (
                limit.is_some_and(too_many),
                "defaults.limit",
                "these are too many restarts to count; at most 65536, or unlimited",
            ),
            (
                zero(limit.and_then(|limit| limit.give_up.retry_after())),
                "defaults.limit.retry_after",
                "it is zero, so the child would be tried again at once; expected more, or no `retry_after`",
            ),
        ]
        .into_iter()
        .filter_map(|(broken, field, reason)| broken.then_some((field, reason)))
    }
}

/// The settings that a role presets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// When the child is restarted.
    pub restart: Restart,
    /// The delays before restarts.
    pub backoff: Backoff,
    /// The limit of the child. Only that of a sidecar says what happens when it is exceeded.
    pub limit: Limit,
    /// How often a readiness or liveness check is tried, unless the check sets it itself.
    pub check_every: Duration,
    /// How many tries in a row must fail until such a check fails.
    pub check_failures: u32,
}

impl Role {
    /// Returns what the role presets.
    ///
    /// | role | restart | backoff | limit | checks |
    /// |---|---|---|---|---|
    /// | service | permanent | 100 ms to 30 s | 10 in 1 min | every 10 s, 3 failures |
    /// | worker | permanent | 500 ms to 1 min | 10 in 5 min | every 30 s, 3 failures |
    /// | job | transient | 1 s to 5 min | 5 in 1 h | every 30 s, 3 failures |
    /// | sidecar | permanent | 500 ms to 30 s | 10 in 1 min, then quarantine, with a trial after 1 min | every 10 s, 5 failures |
    /// | supervisor | permanent | 500 ms to 1 min | 5 in 5 min | none |
    #[must_use]
    pub const fn preset(self) -> Preset {
        let (restart, backoff, limit, checks) = match self {
            Self::Service => (Restart::Permanent, (100, 30_000), (10, 60), (10, 3)),
            Self::Worker => (Restart::Permanent, (500, 60_000), (10, 300), (30, 3)),
            Self::Job => (Restart::Transient, (1_000, 300_000), (5, 3_600), (30, 3)),
            Self::Sidecar => (Restart::Permanent, (500, 30_000), (10, 60), (10, 5)),
            Self::Supervisor => (Restart::Permanent, (500, 60_000), (5, 300), (10, 3)),
        };
        let limit = Limit::new(limit.0, Duration::from_secs(limit.1));
        let trial = GiveUp::Quarantine { retry_after: Some(Duration::from_secs(60)) };
        Preset {
            restart,
            backoff: Backoff {
                from: Duration::from_millis(backoff.0),
                to: Duration::from_millis(backoff.1),
                reset_after: Backoff::RESET_AFTER,
                jitter: Jitter::Full,
            },
            limit: if matches!(self, Self::Sidecar) { limit.on_exceeded(trial) } else { limit },
            check_every: Duration::from_secs(checks.0),
            check_failures: checks.1,
        }
    }
}

/// Sets a setting to `value`, if `from` is nearer to the child than the source of its present value.
fn fill<T>(setting: &mut T, source: &mut Source, value: Option<T>, from: Source) {
    if let Some(value) = value
        && from > *source
    {
        (*setting, *source) = (value, from);
    }
}

/// What a child finds above it when its settings are resolved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Above {
    /// The defaults of its supervisor, merged with those of the supervisors above.
    pub defaults: Defaults,
    /// `true` if its supervisor has an intensity, so that the child needs no limit of its own.
    pub has_intensity: bool,
    /// What happens by default in the file that declares the child when it exceeds its limit; `None` if no file does.
    pub give_up_of_file: Option<GiveUp>,
}

impl ChildSpec {
    /// Fills the settings that the child does not set itself, by the order at the top of `spec/defaults.rs`. A second
    /// call with the same values changes nothing.
    pub fn resolve(&mut self, above: &Above, is_leaf: bool) {
        let Sources { restart, backoff, limit, start_within, stop_within, kill_wait, unready_for } =
            &mut self.sources;
        let preset = self.description.as_ref().and_then(|description| description.role).map(Role::preset);
        if let Some(Preset { restart: rule, backoff: delays, limit: bound, check_every, check_failures }) =
            preset
        {
            fill(&mut self.restart, restart, Some(rule), Source::Role);
            fill(&mut self.backoff, backoff, Some(Some(delays)), Source::Role);
            fill_limit(&mut self.limit, limit, Some(bound), Source::Role);
            resolve_checks(&mut self.checks, check_every, check_failures);
        }
        let defaults = &above.defaults;
        fill(&mut self.restart, restart, defaults.restart, Source::Defaults);
        fill(&mut self.backoff, backoff, defaults.backoff, Source::Defaults);
        fill_limit(&mut self.limit, limit, defaults.limit, Source::Defaults);
        if is_leaf {
            fill(&mut self.start_within, start_within, defaults.start_within, Source::Defaults);
            fill(&mut self.stop_within, stop_within, defaults.stop_within, Source::Defaults);
            fill(&mut self.kill_wait, kill_wait, defaults.kill_wait, Source::Defaults);
            fill(&mut self.unready_for, unready_for, defaults.unready_for, Source::Defaults);
            // An inherited time that has no effect is no error.
            if *unready_for == Source::Defaults && self.unready_for >= self.stop_within {
                (self.unready_for, *unready_for) = (Duration::ZERO, Source::BuiltIn);
            }
        }
        self.resolve_give_up(above);
    }

    /// Fills what happens when the limit is exceeded.
    fn resolve_give_up(&mut self, above: &Above) {
        let description = self.description.as_deref();
        let role = description.and_then(|description| description.role).map(|role| role.preset().limit);
        let of_role = role.filter(|limit| limit.give_up_source == Source::Own).map(|limit| limit.give_up);
        let criticality = description.and_then(|description| description.criticality);
        let of_criticality = criticality.map(super::Criticality::give_up);
        if self.limit.is_none() && !above.has_intensity && of_criticality.or(above.give_up_of_file).is_some()
        {
            self.limit = Some(Limit::DEFAULT_OF_A_CHILD);
        }
        let Some(limit) = &mut self.limit else { return };
        let (give_up, source) = (&mut limit.give_up, &mut limit.give_up_source);
        fill(give_up, source, of_role, Source::Role);
        fill(give_up, source, of_criticality, Source::Criticality);
        fill(give_up, source, above.give_up_of_file, Source::File);
    }
}

/// Fills a limit as a whole. If the limit has a `give_up`, that has the same source as the limit.
fn fill_limit(limit: &mut Option<Limit>, source: &mut Source, value: Option<Limit>, from: Source) {
    let value = value.map(|value| Some(Limit { give_up_source: value.give_up_source.min(from), ..value }));
    fill(limit, source, value, from);
}

/// Fills `every` and `failures` of the checks that do not set them. A role sets nothing of a startup check.
fn resolve_checks(checks: &mut Option<Arc<[CheckSpec]>>, every: Duration, failures: u32) {
    let is_open = |check: &CheckSpec| {
        let sources = [check.sources.every, check.sources.failures];
        check.kind != CheckKind::Startup && sources.iter().any(|source| *source < Source::Role)
    };
    if !checks.iter().flat_map(|checks| checks.iter()).any(is_open) {
        return;
    }
    let resolved = checks.iter().flat_map(|checks| checks.iter()).cloned().map(|mut check| {
        if check.kind != CheckKind::Startup {
            fill(&mut check.every, &mut check.sources.every, Some(every), Source::Role);
            fill(&mut check.failures, &mut check.sources.failures, Some(failures), Source::Role);
        }
        check
    });
    *checks = Some(resolved.collect());
}

impl ChildDeclaration {
    /// Returns the tree whose root is declared here, with the settings that its children do not set themselves. The root
    /// itself inherits nothing.
    #[must_use]
    pub fn resolved(&self) -> Cow<'_, Self> {
        if !self.needs_resolving() {
            return Cow::Borrowed(self);
        }
        let mut resolved = self.clone();
        resolved.resolve_below(Defaults::default());
        Cow::Owned(resolved)
    }

    /// Returns the child and all children below it with the settings that they do not set themselves.
    pub(crate) fn resolved_below(&self, above: &Above) -> Cow<'_, Self> {
        if above.defaults == Defaults::default() && !self.needs_resolving() {
            return Cow::Borrowed(self);
        }
        let mut resolved = self.clone();
        resolved.resolve(above);
        Cow::Owned(resolved)
    }

    /// Returns `true` if a child has a role or a criticality, or a supervisor has defaults. A tree that is nested too deeply
    /// is left as it is, because the check refuses it.
    fn needs_resolving(&self) -> bool {
        let mut found = false;
        let mut open = vec![(self, 1)];
        while let Some((child, depth)) = open.pop() {
            found |= child.spec.description.is_some();
            match &child.form {
                ChildForm::Supervisor(spec) => {
                    if depth > MAX_DEPTH {
                        return false;
                    }
                    found |= spec.defaults.is_some();
                    open.extend(spec.children.iter().map(|child| (child, depth + 1)));
                }
                ChildForm::Group(group) => found |= group.template.description.is_some(),
                ChildForm::Leaf => {}
            }
        }
        found
    }

    fn resolve(&mut self, above: &Above) {
        self.spec.resolve(above, self.form == ChildForm::Leaf);
        self.resolve_below(above.defaults);
    }

    fn resolve_below(&mut self, above: Defaults) {
        match &mut self.form {
            ChildForm::Leaf => {}
            ChildForm::Supervisor(spec) => {
                let above = spec.above(above);
                spec.children.iter_mut().for_each(|child| child.resolve(&above));
            }
            ChildForm::Group(group) => {
                let has_intensity = group.intensity.is_some();
                // All members are asked together, so they have no time to be unready before.
                let defaults = Defaults { unready_for: None, ..above };
                let above = Above { defaults, has_intensity, give_up_of_file: None };
                group.template.resolve(&above, true);
            }
        }
    }
}

impl SupervisorSpec {
    /// Returns what the children of the supervisor find above them; `above` are the defaults of the supervisors above it.
    pub(crate) fn above(&self, above: Defaults) -> Above {
        let own = self.defaults.as_deref().copied().unwrap_or_default();
        Above { defaults: own.or(above), has_intensity: self.intensity.is_some(), give_up_of_file: None }
    }
}
