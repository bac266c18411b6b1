//! Code that does not belong to a child: handles before the start, futures that end a run, scopes, tokens, runtimes that
//! exist already.

use liveoak_runtime::testing::{LeakCheck, Puppet, paused};
use liveoak_runtime::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn until_stopped(ctx: Ctx) {
    ctx.stopping().await;
}

fn idle(name: &str) -> Child {
    Child::task(name, until_stopped)
}

#[test]
fn a_handle_that_was_taken_before_the_start_reaches_the_tree_that_run_runs() {
    paused(async {
        let supervisor = Supervisor::new("t").child(idle("a"));
        let pending = supervisor.handle();
        assert_eq!(pending.get().unwrap_err(), NotBegun::NotYet);
        let early = pending.clone();
        let waits = tokio::spawn(async move {
            let tree = early.begun().await?;
            tree.ready().await.unwrap();
            let outcome = tree.restart_child("/t/a").await.unwrap();
            assert!(matches!(outcome, Outcome::Ready { attempt: Attempt(2), .. }));
            tree.begin_stop();
            Ok::<_, NotBegun>(())
        });
        tokio::task::yield_now().await;
        supervisor.run().await.unwrap();
        waits.await.unwrap().unwrap();
        assert!(pending.get().unwrap().join().await.is_ok(), "the tree has ended");
    });
}

#[test]
fn a_handle_of_a_tree_that_never_begins_says_so_and_ends_its_waits() {
    paused(async {
        let refused = Supervisor::new("t").child(idle("a/b"));
        let dropped = Supervisor::new("t");
        let nested = Supervisor::new("in").child(idle("a"));
        let handles = [refused.handle(), dropped.handle(), nested.handle()];
        let waits: Vec<_> = handles
            .iter()
            .cloned()
            .map(|handle| tokio::spawn(async move { handle.begun().await.map(drop) }))
            .collect();
        tokio::task::yield_now().await;
        assert!(refused.begin().is_err());
        drop(dropped);
        let tree = Supervisor::new("t").child(nested).start().await.unwrap();
        for (handle, wait) in handles.iter().zip(waits) {
            assert_eq!(wait.await.unwrap().unwrap_err(), NotBegun::Never);
            assert_eq!(handle.get().unwrap_err(), NotBegun::Never);
        }
        tree.stop().await;
    });
}

#[test]
fn run_until_stops_the_tree_gracefully_when_the_future_is_done_or_returns_when_the_tree_ends_before() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").stopping_after(s(2));
        let begun = tokio::time::Instant::now();
        Supervisor::new("t").child(a.child()).run_until(tokio::time::sleep(s(60))).await.unwrap();
        assert_eq!((begun.elapsed(), a.starts(), a.live()), (s(62), 1, 0));
        let done = Child::once("job", |_| async { Ok::<_, String>(()) });
        Supervisor::new("t").child(done).run_until(std::future::pending::<()>()).await.unwrap();
        let failing = Puppet::new("b");
        failing.fail("no disk");
        let child = failing.child().restart(Restart::Temporary);
        let error =
            Supervisor::new("t").child(child).run_until(std::future::pending::<u8>()).await.unwrap_err();
        assert!(matches!(error, Error::Failed(_)), "{error}");
        let wrong = Supervisor::new("a/b").run_until(async {}).await.unwrap_err();
        assert!(matches!(wrong, Error::Start(StartError::Spec(_))));
        leak_check.check().await;
    });
}

#[test]
fn a_future_that_is_done_at_once_stops_the_tree_during_its_start() {
    paused(async {
        let slow = Puppet::new("slow").slow_to_start();
        let ended = Supervisor::new("t").child(slow.child()).run_until(async {}).await;
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(slow.live(), 0);
    });
}

#[test]
fn code_in_the_scope_of_an_attempt_is_code_of_that_attempt_in_whatever_task_it_runs() {
    paused(async {
        let told = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&told);
        let body = move |ctx: Ctx| {
            let told = Arc::clone(&theirs);
            async move {
                let own = ctx.tree().child("/t/in/a").unwrap();
                let foreign = tokio::spawn(ctx.scope(async move {
                    let path = current().unwrap().path();
                    tokio::task::yield_now().await;
                    spawn("sibling", std::future::pending::<()>()).unwrap();
                    let refused = own.exited().await.unwrap_err();
                    (path, current().unwrap().path(), refused)
                }));
                let (path, later, refused) = foreign.await.unwrap();
                told.lock().unwrap().push(format!("{path} {later} {refused:?}"));
                let outside = tokio::spawn(async { current().is_none() });
                assert!(outside.await.unwrap());
                assert_eq!(ctx.in_scope(|| current().unwrap().path()), ctx.path());
                ctx.stopping().await;
            }
        };
        let inner = Supervisor::new("in").child(Child::task("a", body));
        let tree = Supervisor::new("t").child(inner).start().await.unwrap();
        tree.wait_for("/t/in/sibling", |_| true).await.unwrap();
        let refused = "/t/in/a /t/in/a WouldWaitForItself { begun: false }";
        assert_eq!(*told.lock().unwrap(), [refused]);
        assert!(current().is_none());
        tree.stop().await;
    });
}

#[test]
fn code_in_the_scope_of_a_tree_or_of_a_child_spawns_there_and_belongs_to_no_child() {
    paused(async {
        let other = Supervisor::new("other").child(idle("x")).start().await.unwrap();
        let group = Group::<()>::new("g", |ctx, ()| until_stopped(ctx));
        let inner = Supervisor::new("in").child(idle("a")).child(group);
        let tree = Supervisor::new("t").child(inner).start().await.unwrap();
        let spawn_here =
            || async { spawn("job", std::future::pending::<()>()).unwrap().path().unwrap().to_string() };
        assert!(matches!(spawn("job", async {}).unwrap_err().refusal(), Refusal::NotInATree));
        assert_eq!(tree.scope(spawn_here()).await, "/t/job");
        assert_eq!(tree.child("/t/in").unwrap().scope(spawn_here()).await, "/t/in/job");
        assert!(tree.child("/t/in/a").unwrap().scope(spawn_here()).await.starts_with("/t/in/job."));
        assert!(tree.child("/t/in/g").unwrap().scope(spawn_here()).await.starts_with("/t/in/job."));
        // The innermost scope counts, and the outer one is back after it.
        let nested = tree.scope(async {
            let inner = other.scope(spawn_here()).await;
            (inner, spawn_here().await)
        });
        let (inner, outer) = nested.await;
        assert!(inner == "/other/job" && outer.starts_with("/t/job."), "{inner} {outer}");
        let sync = tree.in_scope(|| spawn("sync", std::future::pending::<()>()).unwrap());
        assert_eq!(sync.path().unwrap().as_str(), "/t/sync");
        let panicked = tokio::spawn(tree.scope(async { panic!("meant by the test") })).await;
        assert!(panicked.unwrap_err().is_panic());
        assert!(matches!(spawn("job", async {}).unwrap_err().refusal(), Refusal::NotInATree));
        tree.stop().await;
        assert!(matches!(
            tree.scope(async { spawn("late", async {}) }).await.unwrap_err().refusal(),
            Refusal::SupervisorDown | Refusal::TreeEnded
        ));
        other.stop().await;
    });
}

#[test]
fn the_destructor_of_a_future_in_a_scope_runs_in_the_scope_too() {
    struct Tells(Arc<Mutex<Option<Path>>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = current().map(|ctx| ctx.path());
        }
    }
    paused(async {
        let told = Arc::new(Mutex::new(None));
        let theirs = Arc::clone(&told);
        let body = move |ctx: Ctx| {
            let tells = Tells(Arc::clone(&theirs));
            async move {
                let scoped = ctx.scope(async move {
                    let _tells = tells;
                    std::future::pending::<()>().await;
                });
                let foreign = tokio::spawn(scoped);
                tokio::task::yield_now().await;
                foreign.abort();
                ctx.stopping().await;
            }
        };
        let tree = Supervisor::new("t").child(Child::task("a", body)).start().await.unwrap();
        tokio::time::sleep(s(1)).await;
        assert_eq!(told.lock().unwrap().as_ref().map(Path::as_str), Some("/t/a"));
        tree.stop().await;
    });
}

#[test]
fn a_cancellation_token_is_cancelled_by_a_stop_a_kill_and_the_end_of_the_attempt_and_cancels_nothing_itself()
{
    paused(async {
        let leak_check = LeakCheck::new();
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&tokens);
        let body = move |ctx: Ctx| {
            let tokens = Arc::clone(&theirs);
            async move {
                let (first, second) = (ctx.cancellation_token(), ctx.cancellation_token());
                first.cancel();
                assert!(!second.is_cancelled() && !ctx.is_stopping());
                tokens.lock().unwrap().push(second.clone());
                match ctx.attempt().0 {
                    1 => return,
                    2 => std::future::pending::<()>().await,
                    _ => {}
                }
                second.cancelled().await;
                assert!(ctx.is_stopping() && ctx.cancellation_token().is_cancelled());
            }
        };
        let child = Child::task("a", body).backoff(None).stop_within(s(1));
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        tree.wait_for("/t/a", |view| view.attempt.0 == 2).await.unwrap();
        assert!(tokens.lock().unwrap()[0].is_cancelled(), "its body has ended");
        tokio::time::sleep(s(1)).await;
        tree.restart_child("/t/a").await.unwrap();
        assert!(tokens.lock().unwrap()[1].is_cancelled(), "it was killed");
        tokio::time::sleep(s(1)).await;
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
        assert!(tokens.lock().unwrap().iter().all(tokio_util::sync::CancellationToken::is_cancelled));
        leak_check.check().await;
    });
}

#[test]
fn a_child_on_a_given_runtime_runs_there_over_restarts_and_fails_when_that_runtime_is_gone() {
    let own = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("given")
        .enable_all()
        .build()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let given = own.handle().clone();
    runtime.block_on(async {
        let names = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&names);
        let body = move |ctx: Ctx| {
            let names = Arc::clone(&theirs);
            async move {
                names.lock().unwrap().push(std::thread::current().name().map(str::to_owned));
                ctx.stopping().await;
            }
        };
        let child = Child::task("a", body).on_runtime(given).backoff(None);
        let tree = Supervisor::new("t").child(child).child(idle("b")).start().await.unwrap();
        let a = tree.child("/t/a").unwrap();
        a.restart().await.unwrap();
        a.stop().await.unwrap();
        a.start().await.unwrap();
        let exited = a.exited();
        own.shutdown_background();
        assert!(exited.await.unwrap().exit.is_failure());
        let names = names.lock().unwrap().clone();
        assert!(!names.is_empty() && names.iter().all(|name| name.as_deref() == Some("given")), "{names:?}");
        // The tree gives up on it by the ordinary rules, and goes down.
        assert!(tree.join().await.exit.is_failure());
    });
}

#[test]
fn a_runtime_for_a_supervisor_or_a_group_by_on_runtime_is_refused_at_the_start() {
    paused(async {
        let here = tokio::runtime::Handle::current();
        for child in [
            Child::from(Supervisor::new("s")).on_runtime(here.clone()),
            Child::from(Group::<()>::new("s", |ctx, ()| until_stopped(ctx))).on_runtime(here.clone()),
            Child::local("s", until_stopped).on_runtime(here.clone()),
        ] {
            let tree = Supervisor::new("t").start().await.unwrap();
            let refused = tree.begin_add_child("/t", child).unwrap_err();
            assert!(refused.to_string().contains("runtime"), "{refused}");
            let again = Supervisor::new("t").child(refused.into_value().unwrap()).begin().unwrap_err();
            assert!(matches!(&again, StartError::Spec(errors) if errors.0[0].field == "runtime"), "{again}");
            tree.stop().await;
        }
    });
}
