//! What the builders say of a child: title, tags, role and criticality; and what children inherit.

use liveoak_runtime::testing::paused;
use liveoak_runtime::{
    Backoff, Check, Child, Criticality, Ctx, Defaults, EventOrLost, GiveUp, Group, Limit, Name, Restart,
    Role, Source, StartError, Supervisor,
};
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

async fn idle(ctx: Ctx) {
    ctx.stopping().await;
}

#[test]
fn a_child_s_own_settings_override_its_role_whatever_the_order_of_the_calls() {
    paused(async {
        let first = Child::task("first", idle).role(Role::Job).restart(Restart::Permanent);
        let last = Child::task("last", idle).restart(Restart::Permanent).role(Role::Job);
        let tree = Supervisor::new("t").child(first).child(last).start().await.expect("it starts");
        for path in ["/t/first", "/t/last"] {
            let view = tree.child(path).expect("a child").view().expect("it is there");
            assert_eq!(view.spec.restart, Restart::Permanent);
            assert_eq!(view.spec.backoff, Some(Role::Job.preset().backoff));
            let sources = view.spec.sources;
            assert_eq!((sources.restart, sources.backoff), (Source::Own, Source::Role));
        }
    });
}

#[test]
fn a_check_of_a_child_with_a_role_keeps_its_interval_and_takes_the_failures_of_the_role() {
    paused(async {
        let child = Child::task("a", idle)
            .role(Role::Sidecar)
            .liveness(Check::every(2 * S), |_| async { Ok::<_, String>(()) });
        let tree = Supervisor::new("t").child(child).start().await.expect("it starts");
        let spec = tree.child("/t/a").expect("a child").view().expect("it is there").spec;
        assert_eq!((spec.checks()[0].every, spec.checks()[0].failures), (2 * S, 5));
    });
}

#[test]
fn the_children_of_a_supervisor_with_defaults_inherit_them_also_when_they_are_added_or_spawned() {
    paused(async {
        let defaults = Defaults::new()
            .restart(Restart::Transient)
            .backoff(Backoff::constant(S))
            .limit(Limit::new(2, S).on_exceeded(GiveUp::QUARANTINE))
            .stop_within(7 * S)
            .start_within(8 * S)
            .kill_wait(9 * S);
        let group = Group::new("g", |ctx: Ctx, (): ()| idle(ctx));
        let members = group.handle();
        let inner = Supervisor::new("inner").child(Child::task("a", idle));
        let tree = Supervisor::new("t")
            .defaults(defaults)
            .child(inner)
            .child(group)
            .start()
            .await
            .expect("it starts");
        tree.add_child("/t/inner", Child::task("b", idle)).await.expect("it is added");
        members.spawn_named(Name::new("m").expect("a name"), ()).expect("room");
        for path in ["/t/inner/a", "/t/inner/b", "/t/g/m"] {
            let spec = tree.child(path).expect("a child").view().expect("it is there").spec;
            assert_eq!(
                (spec.restart, spec.backoff),
                (Restart::Transient, Some(Backoff::constant(S))),
                "{path}"
            );
            assert_eq!(spec.limit, Some(Limit::new(2, S).on_exceeded(GiveUp::QUARANTINE)), "{path}");
            assert_eq!(
                (spec.stop_within, spec.start_within, spec.kill_wait),
                (7 * S, 8 * S, 9 * S),
                "{path}"
            );
        }
    });
}

#[test]
fn a_child_that_runs_once_and_a_temporary_group_stay_temporary_below_defaults_and_with_a_role() {
    paused(async {
        let once = Child::once("once", |ctx: Ctx| idle(ctx)).role(Role::Service);
        let group = Group::temporary("g", |ctx: Ctx, (): ()| idle(ctx)).role(Role::Worker);
        let members = group.handle();
        let defaults = Defaults::new().restart(Restart::Permanent);
        let tree = Supervisor::new("t")
            .defaults(defaults)
            .child(once)
            .child(group)
            .start()
            .await
            .expect("it starts");
        members.spawn_named(Name::new("m").expect("a name"), ()).expect("room");
        for path in ["/t/once", "/t/g/m"] {
            let view = tree.child(path).expect("a child").view().expect("it is there");
            assert_eq!(view.restart, Restart::Temporary, "{path}");
        }
    });
}

#[test]
fn titles_tags_roles_and_criticalities_are_in_views_and_events() {
    paused(async {
        let api = Child::task("api", idle)
            .title("Orders API")
            .tag("edge")
            .tags(["eu", "blue"])
            .role(Role::Worker)
            .criticality(Criticality::High);
        let tree = Supervisor::new("t").title("Shop").child(api).start().await.expect("it starts");
        let (_, mut events) = tree.watch();
        tree.restart_child("/t/api").await.expect("it restarts");
        let Some(EventOrLost::Event(event)) = events.next().await else { panic!("no event") };
        let description = event.description.as_deref().expect("a description");
        assert_eq!((event.path.as_str(), description.title.as_deref()), ("/t/api", Some("Orders API")));
        assert_eq!((description.tags.len(), description.role), (3, Some(Role::Worker)));
        let now = tree.snapshot();
        assert_eq!(now.get("/t").expect("the root").title(), Some("Shop"));
        let api = now.get("/t/api").expect("a child");
        assert_eq!((api.title(), api.criticality()), (Some("Orders API"), Some(Criticality::High)));
        assert_eq!(api.role(), Some(Role::Worker));
        assert_eq!(api.tags().iter().map(|tag| &**tag).collect::<Vec<_>>(), ["edge", "eu", "blue"]);
    });
}

#[test]
fn a_wrong_title_tag_or_role_is_an_error_when_the_tree_starts() {
    paused(async {
        let wrong = Child::task("a", idle).title("").tag("a b").role(Role::Supervisor);
        let error = Supervisor::new("t").child(wrong).start().await.expect_err("wrong");
        let StartError::Spec(errors) = error else { panic!("{error}") };
        let fields: Vec<&str> = errors.0.iter().map(|error| error.field).collect();
        assert_eq!(fields, ["title", "tags", "role"]);
    });
}
