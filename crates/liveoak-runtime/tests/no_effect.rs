//! Settings without effect: the start refuses each of them at the child at which it was written.

use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

async fn idle(ctx: Ctx) {
    ctx.stopping().await;
}

/// The kinds of children, each with a name for the table below.
fn kinds() -> Vec<(&'static str, Child)> {
    let task = || Child::task("x", idle);
    let below = |restart| Supervisor::new("x").restart(restart).child(Child::task("y", idle));
    vec![
        ("permanent", task()),
        ("transient", task().restart(Restart::Transient)),
        ("temporary", task().restart(Restart::Temporary)),
        ("once", Child::once("x", idle)),
        ("thread", Child::thread("x", |ctx: Ctx| while !ctx.is_stopping() {})),
        ("reports ready", task().reports_ready()),
        ("after", task().after("other")),
        ("startup check", task().startup(Check::every(S), |_| async { Ok::<(), std::io::Error>(()) })),
        ("supervisor", below(Restart::Permanent).into()),
        ("temporary supervisor", below(Restart::Temporary).into()),
        ("group", Group::new("x", |ctx: Ctx, (): ()| idle(ctx)).into()),
        (
            "temporary group",
            Child::from(Group::new("x", |ctx: Ctx, (): ()| idle(ctx))).restart(Restart::Temporary),
        ),
        (
            "group with a runtime",
            Group::new("x", |ctx: Ctx, (): ()| idle(ctx))
                .dedicated_runtime(DedicatedRuntime::one_thread("x"))
                .into(),
        ),
    ]
}

type Setting<T> = fn(T) -> T;

/// Every setting of a [`Child`] that can be without effect, its field, and the kinds of children that refuse it.
fn settings() -> Vec<(&'static str, Setting<Child>, Vec<&'static str>)> {
    let not_temporary = || {
        kinds()
            .into_iter()
            .map(|(kind, _)| kind)
            .filter(|kind| !kind.starts_with("temporary"))
            .collect::<Vec<_>>()
    };
    let temporary = vec!["temporary", "once", "temporary supervisor", "temporary group"];
    let supervisors =
        vec!["supervisor", "temporary supervisor", "group", "temporary group", "group with a runtime"];
    let at_once = vec!["permanent", "transient", "temporary", "once", "thread", "group", "temporary group"];
    let needless =
        vec!["temporary", "once", "temporary supervisor", "group", "temporary group", "group with a runtime"];
    vec![
        ("backoff", |child| child.backoff(Backoff::default()), temporary.clone()),
        ("backoff", |child| child.backoff(None), temporary.clone()),
        ("limit", |child| child.limit(Limit::new(1, S)), temporary),
        ("start_within", |child| child.start_within(S), at_once),
        ("keep", Child::keep, not_temporary()),
        ("keep_error", Child::keep_error, supervisors.clone()),
        ("heartbeat", |child| child.heartbeat(S), supervisors.clone()),
        ("reports_health", Child::reports_health, supervisors.clone()),
        ("ready", Child::reports_ready, supervisors.clone()),
        (
            "checks",
            |child| child.liveness(Check::every(S), |_| async { Ok::<(), std::io::Error>(()) }),
            supervisors.clone(),
        ),
        ("runtime", |child| child.on_runtime(tokio::runtime::Handle::current()), supervisors.clone()),
        ("unready_for", |child| child.unready_for(S), supervisors.clone()),
        ("poll_limit", |child| child.watch_polls(PollLimit::new(S)), vec!["thread"]),
        ("needs", |child| child.needs("other"), needless),
        ("stop_within", |child| child.stop_within(S), Vec::new()),
        ("kill_wait", |child| child.kill_wait(S), Vec::new()),
        ("history", |child| child.history(1), Vec::new()),
        ("after", |child| child.after("other"), Vec::new()),
    ]
}

/// Returns the fields of the errors with which a start is refused.
fn refused(root: Supervisor) -> Vec<(String, &'static str)> {
    match root.begin() {
        Ok(_) => Vec::new(),
        Err(StartError::Spec(errors)) => {
            errors.0.into_iter().map(|error| (error.path.to_string(), error.field)).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

fn refused_at(child: impl Into<Child>) -> Vec<(String, &'static str)> {
    refused(Supervisor::new("t").child(Child::task("other", idle)).child(child))
}

#[test]
fn each_setting_is_refused_on_exactly_the_kinds_of_children_on_which_it_has_no_effect() {
    paused(async {
        for (field, set, expected) in settings() {
            for (kind, child) in kinds() {
                let found = refused_at(set(child));
                let wanted = if expected.contains(&kind) { vec![("/t/x".to_owned(), field)] } else { vec![] };
                assert_eq!(found, wanted, "{field} on {kind}");
            }
        }
    });
}

#[test]
fn a_setting_of_a_group_is_refused_if_its_members_are_temporary() {
    paused(async {
        let group = || Group::temporary("g", |ctx: Ctx, (): ()| idle(ctx));
        let settings: [(&str, Setting<Group<()>>); 6] = [
            ("restart", Group::transient),
            ("backoff", |group| group.backoff(None)),
            ("backoff", |group| group.backoff(Backoff::constant(S))),
            ("limit", |group| group.limit(Limit::new(1, S))),
            ("intensity", |group| group.intensity(Limit::new(1, S))),
            ("intensity.give_up", |group| {
                group.intensity(Limit::unlimited().on_exceeded(GiveUp::QUARANTINE))
            }),
        ];
        for (field, set) in settings {
            let found = refused_at(set(group()));
            assert!(found.contains(&("/t/g".to_owned(), field)), "{field}: {found:?}");
        }
        assert_eq!(refused_at(group().reports_ready(S).heartbeat(S).stop_within(S)), []);
        let restarted = Group::new("g", |ctx: Ctx, (): ()| idle(ctx)).transient().backoff(None);
        assert_eq!(refused_at(restarted.limit(Limit::new(1, S)).intensity(Limit::new(1, S))), []);
    });
}

#[test]
fn keep_is_refused_unless_the_child_of_the_root_at_or_above_the_child_is_temporary() {
    paused(async {
        let nested = |outer, inner: Restart| {
            let job = Child::task("job", idle).restart(inner).keep();
            refused_at(Supervisor::new("s").restart(outer).child(job))
        };
        let at_job = vec![("/t/s/job".to_owned(), "keep")];
        for inner in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            assert_eq!(nested(Restart::Temporary, inner), [], "{inner}");
            assert_eq!(nested(Restart::Transient, inner), at_job, "{inner}");
        }
        let sup = |restart| Supervisor::new("s").restart(restart).keep();
        assert_eq!(refused_at(sup(Restart::Permanent)), [("/t/s".to_owned(), "keep")]);
        assert_eq!(refused_at(sup(Restart::Temporary)), []);
    });
}

#[test]
fn an_added_child_is_refused_for_a_setting_without_effect_and_comes_back() {
    paused(async {
        let quiet = Supervisor::new("s").restart(Restart::Temporary).child(Child::task("a", idle));
        let tree = Supervisor::new("t").child(quiet).start().await.unwrap();
        let job = || Child::task("job", idle).restart(Restart::Temporary);
        let refused = tree.add_child("/t", job().backoff(None)).await.unwrap_err();
        let Refusal::Invalid(errors) = refused.refusal() else { panic!("{refused}") };
        assert_eq!(errors.0[0].field, "backoff");
        assert!(refused.into_value().is_some());
        let kept = Child::task("kept", idle).keep();
        assert!(tree.add_child("/t", kept).await.is_err());
        tree.add_child("/t/s", Child::task("kept", idle).keep()).await.unwrap();
        tree.stop().await;
    });
}

#[test]
fn a_setting_of_the_root_is_refused_if_only_a_supervisor_above_it_could_use_it() {
    paused(async {
        let root = || Supervisor::new("t").child(Child::task("a", idle));
        let at = |field| vec![("/t".to_owned(), field)];
        assert_eq!(refused(root().backoff(None)), at("backoff"));
        assert_eq!(refused(root().keep()), at("keep"));
        assert_eq!(refused(root().limit(Limit::new(1, S))), at("restart"));
        assert!(refused(root().significant()).contains(&("/t".to_owned(), "significant")));
        assert_eq!(refused(root().history(1).stop_within(S).kill_wait(S)), []);
    });
}

#[test]
fn what_happens_when_an_unlimited_limit_is_exceeded_is_refused() {
    paused(async {
        let never = Limit::unlimited().on_exceeded(GiveUp::QUARANTINE);
        assert_eq!(refused_at(Child::task("x", idle).limit(never)), [("/t/x".to_owned(), "limit.give_up")]);
        let root = Supervisor::new("t").child(Child::task("a", idle)).intensity(never);
        assert_eq!(refused(root), [("/t".to_owned(), "intensity.give_up")]);
        assert_eq!(refused_at(Child::task("x", idle).limit(Limit::unlimited())), []);
    });
}
