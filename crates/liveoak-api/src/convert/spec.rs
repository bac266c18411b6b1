//! What is declared of a child, and the use of its limits.

use crate::{Limit, Spec, SpecBackoff, SpecCheck, SpecEdge, SpecNeed, Window, seconds};
use liveoak_runtime as lib;
use liveoak_runtime::{BodyKind, CheckKind, ChildSpec};
use std::time::Duration;

pub(super) fn window(of: lib::LimitUse, shared: bool) -> Window {
    Window { used: of.used, limit: of.limit, period_s: seconds(of.period), in_a_row: of.in_a_row, shared }
}

/// Returns a bound in seconds, or `None` if the value means that there is no bound.
fn bound(time: Duration) -> Option<f64> {
    (time != Duration::MAX).then(|| seconds(time))
}

pub(super) fn spec(of: &ChildSpec, strategy: Option<&'static str>) -> Spec {
    let limit = |limit: lib::Limit| Limit {
        restarts: (limit.restarts != lib::Limit::UNLIMITED).then_some(limit.restarts),
        period_s: seconds(limit.period.min(Duration::from_secs(u64::from(u32::MAX)))),
        give_up: limit.give_up.as_str().to_owned(),
        retry_after_s: match limit.give_up {
            lib::GiveUp::Quarantine { retry_after } => retry_after.map(seconds),
            lib::GiveUp::Escalate => None,
        },
    };
    let backoff = |backoff: lib::Backoff| SpecBackoff {
        from_s: seconds(backoff.from),
        to_s: seconds(backoff.to),
        jitter: backoff.jitter.as_str().to_owned(),
        reset_after_s: seconds(backoff.reset_after),
    };
    let edge = |edge: &lib::Edge| SpecEdge {
        child: edge.child.to_string(),
        condition: edge.condition.as_str().to_owned(),
    };
    let need = |need: &lib::Need| SpecNeed { child: need.child.to_string(), grace_s: seconds(need.grace) };
    let check = |check: &lib::CheckSpec| SpecCheck {
        check: check.name.to_string(),
        kind: check.kind.as_str().to_owned(),
        every_s: seconds(check.every),
        timeout_s: seconds(check.timeout),
        failures: check.failures,
        successes: check.successes,
    };
    Spec {
        kind: kind(of, strategy.is_some()).to_owned(),
        restart: of.restart.as_str().to_owned(),
        strategy: strategy.map(str::to_owned),
        backoff: of.backoff.map(backoff),
        limit: of.limit.map(limit),
        reports_ready: of.ready == lib::Ready::Reported,
        start_within_s: bound(of.start_within),
        stop_within_s: bound(of.stop_within),
        kill_wait_s: bound(of.kill_wait),
        unready_for_s: seconds(of.unready_for),
        run_within_s: of.run_within.map(seconds),
        heartbeat_s: of.heartbeat.map(seconds),
        after: of.after.iter().map(edge).collect(),
        needs: of.needs.iter().map(need).collect(),
        checks: of.checks().iter().map(check).collect(),
    }
}

/// Returns what runs a child.
pub(super) fn kind(spec: &ChildSpec, is_supervisor: bool) -> &'static str {
    match spec.body {
        BodyKind::Group => "group",
        _ if is_supervisor => "supervisor",
        body => body.as_str(),
    }
}

/// Returns `true` if anything says how healthy the child is while it runs.
pub(super) fn reports_health(spec: &ChildSpec) -> bool {
    spec.reports_health || spec.checks().iter().any(|check| check.kind != CheckKind::Startup)
}
