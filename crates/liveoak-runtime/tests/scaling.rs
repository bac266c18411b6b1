//! The number of members of a group, changed while it runs; the name of each test is the rule.

use liveoak_runtime::testing::paused;
use liveoak_runtime::{
    ChildState, Ctx, Exit, Group, GroupHandle, Outcome, PlanAction, Refusal, StepResult, Supervisor, Tree,
};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Starts `/t/pool` with this many members. Each is ready after a second, and takes a second to stop.
async fn pool(members: u32) -> (Tree, GroupHandle<Arc<u32>>) {
    let work = |ctx: Ctx, _: Arc<u32>| async move {
        tokio::time::sleep(SECOND).await;
        ctx.ready();
        ctx.stopping().await;
        tokio::time::sleep(SECOND).await;
    };
    let group = Group::new("pool", work).reports_ready(9 * SECOND).max_members(6);
    let pool = group.handle();
    let tree = Supervisor::new("t").child(group).start().await.unwrap();
    pool.scale(members, || Arc::new(0)).await.unwrap();
    (tree, pool)
}

fn names(pool: &GroupHandle<Arc<u32>>) -> Vec<String> {
    let name = |member: &liveoak_runtime::ChildHandle| member.path().unwrap().name().to_owned();
    pool.members().unwrap().iter().map(name).collect()
}

fn paths(results: &[StepResult]) -> Vec<&str> {
    results.iter().map(|result| result.path.name()).collect()
}

#[test]
fn a_group_gets_the_wanted_number_of_members_and_the_answer_comes_when_they_are_ready_or_gone() {
    paused(async {
        let (tree, pool) = pool(0).await;
        let began = tree.now();
        let mut number = 0;
        let started = pool.scale(4, || {
            number += 1;
            Arc::new(number)
        });
        let started = started.await.unwrap();
        assert!(started.iter().all(|step| matches!(step.result, Ok(Outcome::Ready { .. }))), "{started:?}");
        assert_eq!((started.len(), number, tree.now().since(began)), (4, 4, SECOND), "side by side");
        let before = names(&pool);
        assert_eq!(paths(&started), before);
        let stopped = pool.scale(1, || unreachable!("no member is added")).await.unwrap();
        assert!(stopped.iter().all(|step| matches!(step.result, Ok(Outcome::Removed(_)))), "{stopped:?}");
        assert_eq!(tree.now().since(began), 2 * SECOND, "side by side");
        let last_first: Vec<&str> = before[1..].iter().rev().map(String::as_str).collect();
        assert_eq!(paths(&stopped), last_first, "those that came last stop first");
        assert_eq!(names(&pool), before[..1], "the others are not touched");
        assert!(pool.scale(1, || unreachable!("no member is added")).await.unwrap().is_empty());
        tree.stop().await;
    });
}

#[test]
fn a_plan_shows_what_would_be_done_and_changes_nothing() {
    paused(async {
        let (tree, pool) = pool(3).await;
        let before = names(&pool);
        let plan = pool.plan_scale(2).unwrap();
        let shown: Vec<_> =
            plan.steps().iter().map(|step| (step.step, step.path.name().to_owned())).collect();
        let kept = |at: usize| (PlanAction::Keep, before[at].clone());
        assert_eq!(shown, [(PlanAction::Stop, before[2].clone()), kept(0), kept(1)]);
        assert!(plan.to_string().starts_with(&format!("stop /t/pool/{}: it came last", before[2])), "{plan}");
        assert_eq!(names(&pool), before);
        // A plan does what it says, although the group has changed.
        pool.scale(4, || Arc::new(0)).await.unwrap();
        assert_eq!(paths(&plan.run(|| Arc::new(0)).await), [before[2].as_str()]);
        assert_eq!(names(&pool).len(), 3);
        let up = pool.plan_scale(5).unwrap();
        assert_eq!(up.to_string().matches("start /t/pool: a new member").count(), 2, "{up}");
        assert!(!up.is_empty() && pool.plan_scale(3).unwrap().is_empty());
        tree.stop().await;
    });
}

#[test]
fn members_that_are_down_count_and_leave_first_and_a_paused_one_that_runs_is_like_any_other() {
    paused(async {
        let (tree, pool) = pool(4).await;
        let members = pool.members().unwrap();
        let before = names(&pool);
        members[0].quarantine().await.unwrap();
        members[1].pause().await.unwrap();
        assert!(pool.plan_scale(4).unwrap().is_empty(), "a quarantined member counts");
        let stopped = pool.scale(2, || unreachable!("no member is added")).await.unwrap();
        assert_eq!(paths(&stopped), [before[0].as_str(), before[3].as_str()]);
        assert!(stopped.iter().all(|step| step.result.is_ok()), "{stopped:?}");
        assert_eq!(names(&pool), before[1..3]);
        assert!(members[1].view().is_some_and(|view| view.paused && view.state == ChildState::Running));
        tree.stop().await;
    });
}

#[test]
fn a_size_that_cannot_be_is_refused_and_so_is_any_in_a_group_that_stops_or_has_ended() {
    paused(async {
        let (tree, pool) = pool(1).await;
        assert!(matches!(pool.plan_scale(7), Err(Refusal::Full { max: 6 })));
        tree.begin_stop();
        for members in [0, 1, 3] {
            let refused = pool.scale(members, || Arc::new(0)).await;
            assert!(matches!(refused, Err(Refusal::SupervisorDown)), "{refused:?}");
        }
        tree.join().await;
        assert!(matches!(pool.plan_scale(1), Err(Refusal::TreeEnded | Refusal::SupervisorDown)));
    });
}

#[test]
fn a_start_that_fails_is_told_and_the_other_steps_are_done() {
    paused(async {
        let work = |ctx: Ctx, n: Arc<u32>| async move {
            if *n == 1 {
                return Exit::failed("no port is free");
            }
            ctx.ready();
            ctx.stopping().await;
            Exit::Stopped
        };
        let group = Group::new("pool", work).reports_ready(9 * SECOND);
        let pool = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        let mut next = 0..;
        let results = pool.scale(3, || Arc::new(next.next().unwrap())).await.unwrap();
        let failed: Vec<bool> = results.iter().map(|step| step.result.is_err()).collect();
        assert_eq!(failed, [false, true, false], "{results:?}");
        let failure = &results[1].result;
        assert!(matches!(failure, Err(Refusal::Failed(exit)) if exit.to_string().contains("no port")));
        assert_eq!(names(&pool).len(), 2, "a member whose first start failed has left the group");
        tree.stop().await;
    });
}

#[test]
fn a_member_that_scales_its_group_down_is_stopped_but_does_not_wait_for_itself() {
    paused(async {
        let (told, tells) = tokio::sync::oneshot::channel();
        let told = std::sync::Mutex::new(Some(told));
        let handle: Arc<std::sync::OnceLock<GroupHandle<Arc<u32>>>> = Arc::default();
        let own = Arc::clone(&handle);
        let work = move |ctx: Ctx, _: Arc<u32>| {
            let (pool, told) = (own.get().cloned(), told.lock().unwrap().take());
            async move {
                if let (Some(pool), Some(told)) = (pool, told) {
                    let results = pool.scale(0, || Arc::new(0)).await.unwrap();
                    let _ = told.send(results.into_iter().map(|step| step.result).collect::<Vec<_>>());
                }
                ctx.stopping().await;
            }
        };
        let group = Group::new("pool", work);
        let pool = handle.get_or_init(|| group.handle()).clone();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        let member = pool.spawn(Arc::new(0)).unwrap();
        let results = tells.await.unwrap();
        assert!(matches!(results[..], [Err(Refusal::WouldWaitForItself { begun: true })]), "{results:?}");
        assert!(member.exited().await.is_ok() || member.view().is_none());
        assert!(names(&pool).is_empty());
        tree.stop().await;
    });
}
