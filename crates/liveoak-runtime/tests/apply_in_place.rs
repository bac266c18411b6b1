//! Rules that another declaration changes while children run, wait, stop or are given up on.

use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn state(tree: &TreeHandle, path: &str) -> &'static str {
    tree.snapshot().get(path).map_or("gone", |view| view.state.as_str())
}

fn count(tree: &TreeHandle, word: &str) -> usize {
    tree.snapshot().nodes().filter(|view| view.state.as_str() == word).count()
}

async fn apply(tree: &TreeHandle, new: Supervisor) -> ApplyReport {
    let report = tree.apply(new).unwrap().run().await.unwrap();
    assert!(report.is_complete(), "{report}");
    report
}

/// Returns a child that is ready when the gate is open.
fn gated(name: &str, gate: &watch::Receiver<bool>) -> Child {
    let gate = gate.clone();
    Child::task(name, move |ctx: Ctx| {
        let mut gate = gate.clone();
        async move {
            let _ = gate.wait_for(|open| *open).await;
            ctx.ready();
            ctx.stopping().await;
        }
    })
    .reports_ready()
}

#[test]
fn children_that_wait_for_a_place_start_as_soon_as_there_are_more_places() {
    paused(async {
        let (open, gate) = watch::channel(false);
        let tree = |places: u32| {
            let children = ["a", "b", "c", "d"].map(|name| gated(name, &gate));
            Supervisor::new("t").order(Order::Edges).max_starting(places).children(children)
        };
        let handle = tree(1).begin().unwrap();
        tokio::task::yield_now().await;
        assert_eq!((count(&handle, "starting"), count(&handle, "waiting")), (2, 3), "with the root");
        apply(&handle, tree(3)).await;
        assert_eq!((count(&handle, "starting"), count(&handle, "waiting")), (4, 1));
        apply(&handle, tree(2)).await;
        assert_eq!((count(&handle, "starting"), count(&handle, "waiting")), (4, 1), "what starts goes on");
        open.send_replace(true);
        handle.ready().await.unwrap();
        assert_eq!(count(&handle, "running"), 5);
    });
}

#[test]
fn members_that_wait_for_a_place_start_when_their_group_has_no_bound_any_more() {
    paused(async {
        let (open, gate) = watch::channel(false);
        let group = || {
            let gate = gate.clone();
            let body = move |ctx: Ctx, (): ()| {
                let mut gate = gate.clone();
                async move {
                    let _ = gate.wait_for(|open| *open).await;
                    ctx.ready();
                    ctx.stopping().await;
                }
            };
            Group::new("g", body).reports_ready(60 * SECOND)
        };
        let first = group().max_starting(1);
        let members = first.handle();
        let tree = Supervisor::new("t").child(first).start().await.unwrap();
        for _ in 0..3 {
            members.spawn(()).unwrap();
        }
        assert_eq!((count(&tree, "starting"), count(&tree, "waiting")), (1, 2));
        apply(&tree, Supervisor::new("t").child(group())).await;
        assert_eq!((count(&tree, "starting"), count(&tree, "waiting")), (3, 0));
        apply(&tree, Supervisor::new("t").child(group().max_starting(4))).await;
        for _ in 0..3 {
            members.spawn(()).unwrap();
        }
        assert_eq!((count(&tree, "starting"), count(&tree, "waiting")), (4, 2));
        open.send_replace(true);
        tree.wait_for("/t/g", |group| {
            group.children.iter().all(|member| member.state == ChildState::Running)
        })
        .await
        .unwrap();
    });
}

struct Slow(Arc<Mutex<Option<Instant>>>);

impl Service for Slow {
    async fn init(&mut self, _: &Ctx) -> Result<Init, BoxError> {
        Ok(Init::Ready)
    }

    async fn run(&mut self, _: &Ctx) -> Result<(), BoxError> {
        std::future::pending().await
    }

    async fn stop(&mut self, _: &Ctx) -> Result<(), BoxError> {
        *self.0.lock().unwrap() = Some(Instant::now());
        Ok(())
    }
}

#[test]
fn a_service_has_half_of_the_time_to_stop_that_is_declared_now() {
    paused(async {
        let hook = Arc::new(Mutex::new(None));
        let tree = |within: Duration| {
            let hook = Arc::clone(&hook);
            let slow = Child::service("slow", move || Slow(Arc::clone(&hook)));
            Supervisor::new("t").child(slow.stop_within(within))
        };
        let handle = tree(60 * SECOND).start().await.unwrap();
        let report = apply(&handle, tree(4 * SECOND)).await;
        assert_eq!(report.to_string(), "done: change /t/slow\n");
        let asked = Instant::now();
        handle.stop_child("/t/slow").await.unwrap();
        assert_eq!(hook.lock().unwrap().unwrap().duration_since(asked), 2 * SECOND);
    });
}

#[test]
fn a_child_that_was_given_up_on_is_tried_again_when_its_new_limit_says_so() {
    paused(async {
        let (mend, mended) = watch::channel(false);
        let tree = |give_up: GiveUp| {
            let mended = mended.clone();
            let body = move |ctx: Ctx| {
                let mended = *mended.borrow();
                async move {
                    if mended {
                        ctx.stopping().await;
                        return Ok(());
                    }
                    Err("broken")
                }
            };
            let limit = Limit::new(1, 60 * SECOND).on_exceeded(give_up);
            Supervisor::new("t").child(Child::task("weak", body).backoff(None).limit(limit))
        };
        let handle = tree(GiveUp::QUARANTINE).start().await.unwrap();
        handle.wait_for("/t/weak", |weak| weak.state.as_str() == "quarantined").await.unwrap();
        mend.send_replace(true);
        tokio::time::sleep(3600 * SECOND).await;
        assert_eq!(state(&handle, "/t/weak"), "quarantined");
        let before = Instant::now();
        apply(&handle, tree(GiveUp::Quarantine { retry_after: Some(300 * SECOND) })).await;
        assert_eq!(state(&handle, "/t/weak"), "quarantined", "rules alone start nothing at once");
        handle.wait_for("/t/weak", |weak| weak.state == ChildState::Running).await.unwrap();
        assert_eq!(before.elapsed(), 300 * SECOND);
    });
}

#[test]
fn replicas_start_side_by_side_and_stop_together() {
    paused(async {
        let replica = |number: usize| {
            let body = |ctx: Ctx| async move {
                ctx.sleep(3 * SECOND).await;
                ctx.ready();
                ctx.stopping().await;
                tokio::time::sleep(2 * SECOND).await;
            };
            Child::task(format!("web.{number}"), body)
                .reports_ready()
                .map_spec(|spec| ChildSpec { replica_of: Some(Name::new("web").unwrap()), ..spec })
        };
        let tree = |replicas: usize| Supervisor::new("t").children((1..=replicas).map(replica));
        let handle = tree(1).start().await.unwrap();
        let before = Instant::now();
        apply(&handle, tree(5)).await;
        assert_eq!((before.elapsed(), count(&handle, "running")), (3 * SECOND, 6));
        let before = Instant::now();
        apply(&handle, tree(1)).await;
        assert_eq!((before.elapsed(), count(&handle, "running")), (2 * SECOND, 2));
    });
}

#[test]
fn a_later_plan_takes_over_the_starts_of_an_earlier_one_and_the_same_plan_waits_for_them() {
    paused(async {
        let slow = |name: &str| {
            Child::task(name, |ctx: Ctx| async move {
                ctx.sleep(SECOND).await;
                ctx.ready();
                ctx.stopping().await;
            })
            .reports_ready()
        };
        let tree = |names: &[&str]| Supervisor::new("t").children(names.iter().map(|name| slow(name)));
        let handle = tree(&["a"]).start().await.unwrap();
        let (one, two) = (handle.apply(tree(&["a", "b"])).unwrap(), handle.apply(tree(&["a", "c"])).unwrap());
        let (one, two) = tokio::join!(one.run(), two.run());
        assert_eq!(one.unwrap().to_string(), "not done: start /t/b\n");
        assert_eq!(two.unwrap().to_string(), "done: stop /t/b\ndone: start /t/c\n");
        assert_eq!(
            ["a", "b", "c"].map(|name| state(&handle, &format!("/t/{name}"))),
            ["running", "gone", "running"]
        );
        let before = Instant::now();
        let again = [(); 2].map(|()| handle.apply(tree(&["a", "c", "d"])).unwrap());
        let [one, two] = again.map(ApplyPlan::run);
        let (one, two) = tokio::join!(one, two);
        assert_eq!(one.unwrap().to_string(), "done: start /t/d\n");
        assert_eq!((two.unwrap().to_string(), before.elapsed()), (String::new(), SECOND), "it has waited");
    });
}

#[test]
fn a_stop_of_the_tree_ends_a_plan_and_a_plan_for_a_tree_that_stops_is_refused() {
    paused(async {
        let never = || Child::task("new", |ctx: Ctx| async move { ctx.stopping().await }).reports_ready();
        let idle = || Child::task("old", |ctx: Ctx| async move { ctx.stopping().await });
        let handle = Supervisor::new("t").child(idle()).start().await.unwrap();
        let plan = handle.apply(Supervisor::new("t").child(idle()).child(never())).unwrap();
        let late = handle.apply(Supervisor::new("t")).unwrap();
        let running = tokio::spawn(plan.run());
        tokio::time::sleep(SECOND).await;
        handle.stop().await;
        let report = running.await.unwrap().unwrap();
        assert_eq!(report.to_string(), "not done: start /t/new\n");
        assert!(matches!(late.run().await, Err(Refusal::TreeEnded)));
        assert!(matches!(handle.apply(Supervisor::new("t")), Err(ApplyError::Refused(Refusal::TreeEnded))));
    });
}
