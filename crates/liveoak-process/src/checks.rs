//! Checks of a program while it runs: each asks a [`Probe`].

use crate::child::Program;
use crate::environment::Environment;
use crate::probe::{Probe, ProbeKind};
use liveoak_runtime::{Check, CheckKind, CheckSpec, Child, ChildSpec, Ctx, Source};
use std::sync::Arc;

impl Program {
    /// Adds a readiness check: while `probe` fails, the program runs but is not ready; see [`Child::readiness`]. A delay or log
    /// probe cannot be asked again, so the start refuses it. `check` says how often and how long the probe is asked, so an
    /// `every` of the probe, or a `timeout` other than that of the check, is refused too.
    #[must_use]
    pub fn readiness(self, check: Check, probe: Probe) -> Self {
        self.asked(CheckKind::Readiness, check, probe)
    }

    /// Adds a liveness check: when `probe` has failed as often in a row as it may, the program is stopped, which counts as a
    /// failure; see [`Child::liveness`]. The same probes are refused as for readiness.
    #[must_use]
    pub fn liveness(self, check: Check, probe: Probe) -> Self {
        self.asked(CheckKind::Liveness, check, probe)
    }

    fn asked(self, kind: CheckKind, check: Check, probe: Probe) -> Self {
        let spec = check.spec(kind, self.spec.checks());
        self.check(spec, probe)
    }

    /// Adds a check of any kind.
    #[must_use]
    pub fn check(mut self, spec: CheckSpec, probe: Probe) -> Self {
        self.spec.add_check(spec);
        self.checks.push(probe);
        self
    }
}

/// Adds checks to a child, each with its probe. `environment` returns the environment of an attempt.
pub(crate) fn with_checks(
    child: Child,
    checks: &[CheckSpec],
    probes: impl Iterator<Item = Probe>,
    environment: Arc<impl Fn(&Ctx) -> Environment + Send + Sync + 'static>,
) -> Child {
    checks.iter().cloned().zip(probes).fold(child, |child, (check, probe)| {
        let (environment, probe) = (Arc::clone(&environment), probe.timeout(check.timeout));
        child.check(check, move |ctx| {
            // Only a command needs the environment of the program.
            let is_command = matches!(probe.kind(), ProbeKind::Command(_));
            let run = if is_command { probe.start_in(environment(&ctx)) } else { probe.start() };
            async move { run.check().await }
        })
    })
}

/// Notes which settings of a program and of its probes have no effect. The start refuses them.
pub(crate) fn refuse_without_effect(spec: &mut ChildSpec, ready: Option<&Probe>, checks: &[Probe]) {
    let mut refused = Vec::new();
    if let Some(probe) = ready.filter(|probe| !probe.is_repeated()) {
        let reason = "a delay or log probe waits for one event and is not tried repeatedly, so this has no effect; expected \
                      no `every` and no `timeout`";
        refused.extend(probe.is_every_written().then_some(("ready.every", reason)));
        refused.extend(probe.is_timeout_written().then_some(("ready.timeout", reason)));
    }
    for (check, probe) in spec.checks().iter().zip(checks) {
        let reason = "a delay or log probe waits for one event of the start, so it cannot be asked again; expected another \
                      probe";
        refused.extend((!probe.is_repeated()).then_some(("checks", reason)));
        let reason = "the check says how often its probe is asked; the `every` of the probe has no effect";
        refused.extend(probe.is_every_written().then_some(("checks.every", reason)));
        let reason = "the check says how long a try may take; the `timeout` of the probe has no effect";
        let other = probe.is_timeout_written() && probe.time_limit() != check.timeout;
        refused.extend(other.then_some(("checks.timeout", reason)));
    }
    let has_startup_check = spec.checks().iter().any(|check| check.kind == CheckKind::Startup);
    let is_own = spec.sources.start_within == Source::Own;
    if is_own && ready.is_none() && !has_startup_check && spec.after.is_empty() && spec.needs.is_empty() {
        let reason = "the program is ready as soon as it runs and comes after no sibling, so a start deadline has no effect; \
                      expected a probe, or no deadline";
        refused.push(("start_within", reason));
    }
    spec.written.refused.extend(refused);
}
