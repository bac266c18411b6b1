//! A child that gives commands about itself, its supervisors or its tree. If it waited for the answer, it would wait
//! for itself.

use liveoak_runtime::testing::{LeakCheck, paused};
use liveoak_runtime::{
    Child, ChildHandle, Ctx, Exit, Group, NotReady, Outcome, Refusal, StopReport, Subtask, Supervisor, Tree,
};
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::time::{Instant, timeout};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The answers that the child got, as text, and how long each took.
type Told = Arc<Mutex<Vec<(String, Duration)>>>;

/// Runs a tree `/t/inner/own` whose leaf calls `body` in its first attempt. Returns the answers that the leaf got, the
/// report of the stop, and how long it took until the tree had stopped.
async fn told_by<F, Fut, T>(body: F) -> (Vec<(String, Duration)>, Arc<StopReport>, Duration)
where
    F: Fn(Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = T> + Send + 'static,
    T: std::fmt::Debug + Send,
{
    let told = Told::default();
    let told_here = Arc::clone(&told);
    let body = Arc::new(body);
    let own = Child::task("own", move |ctx: Ctx| {
        let (body, told) = (Arc::clone(&body), Arc::clone(&told_here));
        async move {
            if ctx.attempt().0 == 1 {
                let began = Instant::now();
                let answer = format!("{:?}", body(ctx.clone()).await);
                told.lock().expect("told").push((answer, began.elapsed()));
            }
            ctx.stopping().await;
        }
    });
    let inner = Supervisor::new("inner").child(own);
    let began = Instant::now();
    let tree = Supervisor::new("t").child(inner).start().await.expect("a tree");
    tokio::time::sleep(100 * MS).await;
    let report = tree.stop().await;
    let told = told.lock().expect("told").clone();
    (told, report, began.elapsed())
}

fn refused_immediately<F, Fut, T>(body: F)
where
    F: Fn(Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = T> + Send + 'static,
    T: std::fmt::Debug + Send,
{
    paused(async {
        let (told, report, took) = told_by(body).await;
        let (answer, after) = told.first().expect("it was told something");
        assert!(answer.contains("WouldWaitForItself { begun: true }"), "{answer}");
        assert_eq!(*after, Duration::ZERO);
        assert!(report.is_clean() && took < SECOND, "{took:?} {report:?}");
    });
}

#[test]
fn a_child_can_stop_its_tree_but_cannot_wait_for_the_stop() {
    refused_immediately(|ctx: Ctx| async move { ctx.tree().stop().await });
}

#[test]
fn a_child_cannot_wait_for_the_stop_restart_or_removal_of_itself_or_its_supervisor() {
    refused_immediately(|ctx: Ctx| async move { ctx.tree().stop_child(ctx.path()).await });
    refused_immediately(|ctx: Ctx| async move { ctx.tree().restart_child(ctx.path()).await });
    refused_immediately(|ctx: Ctx| async move { ctx.tree().remove_child(ctx.path()).await });
    refused_immediately(|ctx: Ctx| async move { ctx.tree().stop_child("/t/inner").await });
    refused_immediately(|ctx: Ctx| async move { ctx.tree().restart_child("/t/inner").await });
    refused_immediately(|ctx: Ctx| async move { ctx.tree().remove_child("/t/inner").await });
    refused_immediately(|ctx: Ctx| async move { ctx.tree().restart_child("/t").await });
}

#[test]
fn a_wait_by_a_subtask_counts_as_a_wait_by_its_attempt() {
    refused_immediately(|ctx: Ctx| async move {
        let tree = ctx.tree();
        let subtask: Subtask<_> = ctx.spawn(async move { tree.stop().await });
        subtask.await
    });
}

#[test]
fn a_child_cannot_wait_for_the_end_of_its_tree() {
    paused(async {
        let (told, ..) = told_by(|ctx: Ctx| async move { ctx.tree().join().await }).await;
        assert!(told[0].0.contains("WouldWaitForItself { begun: false }"), "{told:?}");
    });
}

#[test]
fn a_child_that_kills_its_tree_is_killed_and_does_not_wait() {
    paused(async {
        let killer = Child::task("killer", |ctx: Ctx| async move { drop(ctx.tree().kill().await) });
        let tree = Supervisor::new("t").child(killer).start().await.expect("a tree");
        let began = Instant::now();
        tree.join().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    });
}

#[test]
fn a_child_may_wait_for_its_own_stop_in_unless_stopping_and_is_stopped_in_its_turn() {
    paused(async {
        let leak_check = LeakCheck::new();
        let later = leak_check.puppet("later").stopping_after(SECOND);
        let seen = Told::default();
        let told = Arc::clone(&seen);
        let first = Child::task("first", move |ctx: Ctx| {
            let told = Arc::clone(&told);
            async move {
                let began = Instant::now();
                let answer = ctx.unless_stopping(ctx.tree().stop()).await;
                told.lock().expect("told").push((format!("{answer:?}"), began.elapsed()));
            }
        });
        let tree = Supervisor::new("t").child(first).child(later.child()).begin().expect("a tree");
        let ended = tree.join().await;
        assert!(ended.report.is_clean());
        // The child was asked after the end of the child that was started later.
        assert_eq!(*seen.lock().expect("told"), [("None".to_owned(), SECOND)]);
    });
}

#[test]
fn a_child_that_is_not_ready_cannot_wait_for_the_start_of_a_later_child() {
    paused(async {
        let body = |ctx: Ctx| async move {
            let added = ctx.tree().add_child("/t", Child::task("helper", idle)).await.map_err(Refusal::from);
            assert!(matches!(added, Err(Refusal::WouldWaitForItself { begun: true })), "{added:?}");
            let ready = ctx.tree().ready().await;
            let refused = matches!(ready, Err(NotReady::Refused(Refusal::WouldWaitForItself { .. })));
            assert!(refused, "{ready:?}");
            ctx.ready();
            assert!(ctx.tree().ready().await.is_ok(), "what is ready may wait for the others");
            ctx.stopping().await;
        };
        let main = Child::task("main", body).reports_ready();
        let tree = Supervisor::new("t").child(main).start().await.expect("a tree");
        let helper = tree.snapshot().get("/t/helper").map(|child| child.state.as_str());
        assert_eq!(helper, Some("running"), "the command was carried out");
        assert!(tree.snapshot().get("/t/main").is_some_and(|main| main.attempt.0 == 1));
    });
}

async fn idle(ctx: Ctx) {
    ctx.stopping().await;
}

#[test]
fn a_child_may_wait_for_children_that_do_not_depend_on_it() {
    paused(async {
        let (told, ..) = told_by(|ctx: Ctx| async move {
            let tree = ctx.tree();
            tree.add_child("/t", Child::task("other", idle)).await?;
            tree.restart_child("/t/other").await?;
            tree.stop_child("/t/other").await?;
            tree.start_child("/t/other").await?;
            tree.remove_child("/t/other").await
        })
        .await;
        assert!(told[0].0.starts_with("Ok(Removed("), "{told:?}");
    });
}

#[test]
fn a_thread_child_can_stop_its_tree_but_cannot_wait_for_the_stop() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let told = Told::default();
        let told_here = Arc::clone(&told);
        let body = move |ctx: Ctx| {
            let answer = tokio::runtime::Handle::current().block_on(ctx.tree().stop());
            told_here.lock().expect("told").push((format!("{answer:?}"), Duration::ZERO));
        };
        let tree = Supervisor::new("t").child(Child::thread("work", body)).start().await.expect("a tree");
        let report = tree.join().await.report;
        assert!(report.is_clean(), "{report:?}");
        assert!(told.lock().expect("told")[0].0.contains("WouldWaitForItself"));
    });
}

#[test]
fn a_child_without_a_stop_deadline_that_stops_its_tree_ends() {
    paused(async {
        let own = Child::task("own", |ctx: Ctx| async move { drop(ctx.tree().stop().await) });
        let root = Supervisor::new("t").stop_within(Duration::MAX);
        let tree = root.child(own.stop_within(Duration::MAX)).start().await.expect("a tree");
        assert!(timeout(SECOND, tree.join()).await.is_ok());
    });
}

#[test]
fn a_member_may_wait_for_another_member_but_not_for_its_group() {
    paused(async {
        let told = Told::default();
        let told_here = Arc::clone(&told);
        let body = move |ctx: Ctx, own: bool| {
            let told = Arc::clone(&told_here);
            async move {
                if own {
                    let tree = ctx.tree();
                    let other = tree.stop_child("/t/g/1").await;
                    assert!(matches!(other, Ok(Outcome::Removed(_) | Outcome::Stopped(_))), "{other:?}");
                    let answer = tree.stop_child("/t/g").await;
                    told.lock().expect("told").push((format!("{answer:?}"), Duration::ZERO));
                }
                ctx.stopping().await;
            }
        };
        let group = Group::new("g", body);
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.expect("a tree");
        let name = |text| liveoak_runtime::Name::new(text).expect("a name");
        members.spawn_named(name("1"), false).expect("a member");
        members.spawn_named(name("own"), true).expect("a member");
        tokio::time::sleep(MS).await;
        assert!(told.lock().expect("told")[0].0.contains("WouldWaitForItself"), "{told:?}");
        assert!(tree.stop().await.is_clean());
    });
}

#[test]
fn every_begin_method_returns_immediately_and_can_apply_to_the_caller() {
    paused(async {
        let (told, report, _) = told_by(|ctx: Ctx| async move {
            let tree = ctx.tree();
            let added: Result<ChildHandle, _> = tree.begin_add_child("/t", Child::task("other", idle));
            assert!(added.is_ok(), "{added:?}");
            let twice = tree.begin_add_child("/t", Child::task("other", idle)).map_err(Refusal::from);
            assert!(matches!(twice, Err(Refusal::AlreadyExists { .. })), "{twice:?}");
            let nobody = tree.begin_stop_child("/t/nobody");
            assert!(matches!(nobody, Err(Refusal::NotFound)), "{nobody:?}");
            let running = tree.begin_start_child("/t/other");
            assert!(matches!(running, Err(Refusal::NotDown { .. })), "{running:?}");
            tree.begin_restart_child("/t/other")?;
            tree.begin_remove_child("/t/other")?;
            tree.begin_restart_child(ctx.path())
        })
        .await;
        assert_eq!(told[0].0, "Ok(())");
        assert!(report.is_clean());
        let paths: Vec<_> = report.entries.iter().map(|entry| entry.path.to_string()).collect();
        assert!(paths.contains(&"/t/inner/own".to_owned()) && !paths.contains(&"/t/other".to_owned()));
    });
}

#[test]
fn a_child_of_an_inner_tree_cannot_wait_for_the_attempt_that_has_begun_the_tree() {
    paused(async {
        let (told, report, took) = told_by(|ctx: Ctx| async move {
            let told = Told::default();
            let (outer, told_here) = (ctx.tree(), Arc::clone(&told));
            let inner = Child::task("deep", move |ctx: Ctx| {
                let (outer, told) = (outer.clone(), Arc::clone(&told_here));
                async move {
                    let answer = outer.stop().await;
                    told.lock().expect("told").push((format!("{answer:?}"), Duration::ZERO));
                    ctx.stopping().await;
                }
            });
            let tree = Supervisor::new("below").child(inner).start().await.expect("a tree");
            ctx.stopping().await;
            tree.stop().await;
            let told = told.lock().expect("told").clone();
            told[0].0.clone()
        })
        .await;
        assert!(told[0].0.contains("WouldWaitForItself"), "{told:?}");
        assert!(report.is_clean() && took < SECOND, "{took:?} {report:?}");
    });
}

#[test]
fn a_wait_for_the_tree_inside_one_of_its_children_fails_immediately_with_a_reason() {
    paused(async {
        static TREE: OnceLock<Tree> = OnceLock::new();
        let own = Child::task("own", |ctx: Ctx| async move {
            ctx.sleep(MS).await;
            drop(TREE.get().expect("the tree").stop().await);
        });
        let tree = Supervisor::new("t").child(own).start().await.expect("a tree");
        let tree = TREE.get_or_init(|| tree);
        let ended = timeout(SECOND, tree.join()).await.expect("at once");
        let exit = ended.report.entries.first().and_then(|entry| entry.exit.clone());
        assert!(
            matches!(&exit, Some(Exit::Panicked(panic)) if panic.message.contains("TreeHandle")),
            "{exit:?}"
        );
    });
}
