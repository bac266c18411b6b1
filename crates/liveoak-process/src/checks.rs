//! Checks of a program while it runs: each asks a [`Probe`].

use crate::child::Program;
use crate::environment::Environment;
use crate::probe::{Probe, ProbeKind};
use liveoak_runtime::{Check, CheckKind, CheckSpec, Child, Ctx};
use std::sync::Arc;

impl Program {
    /// Adds a readiness check: while `probe` fails, the program runs but is not ready; see [`Child::readiness`]. A delay or log
    /// probe cannot be asked again, so as a check it always fails.
    #[must_use]
    pub fn readiness(self, check: Check, probe: Probe) -> Self {
        self.asked(CheckKind::Readiness, check, probe)
    }

    /// Adds a liveness check: when `probe` has failed as often in a row as it may, the program is stopped, which counts as a
    /// failure; see [`Child::liveness`]. A delay or log probe cannot be asked again, so as a check it always fails.
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
