//! Children that are not `Send`, on dedicated runtimes of one thread.

use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Log = Arc<Mutex<Vec<String>>>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn one_thread(children: impl IntoIterator<Item = Child>) -> Supervisor {
    Supervisor::new("ui").dedicated_runtime(DedicatedRuntime::one_thread("ui-thread")).children(children)
}

/// Returns a child that holds an `Rc` while it waits, and notes its thread.
fn local(name: &str, log: &Log) -> Child {
    let log = Arc::clone(log);
    Child::local(name, move |ctx: Ctx| {
        let log = Arc::clone(&log);
        async move {
            let shared = Rc::new(Cell::new(0));
            let theirs = Rc::clone(&shared);
            let helper = tokio::task::spawn_local(async move { theirs.set(theirs.get() + 1) });
            helper.await.unwrap();
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            log.lock().unwrap().push(format!("{} {thread} {}", ctx.path().name(), shared.get()));
            ctx.stopping().await;
            drop(shared);
        }
    })
}

#[test]
fn children_that_are_not_send_share_the_thread_of_their_runtime_with_other_children() {
    runtime().block_on(async {
        let log = Log::default();
        let theirs = Arc::clone(&log);
        let plain = Child::task("plain", move |ctx: Ctx| {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            theirs.lock().unwrap().push(format!("plain {thread}"));
            async move { ctx.stopping().await }
        });
        let nested = Supervisor::new("in").child(local("deep", &log));
        let children = [local("a", &log), local("b", &log), plain, nested.into()];
        let tree = Supervisor::new("t").child(one_thread(children)).start().await.unwrap();
        let seen = |count: usize| {
            let log = Arc::clone(&log);
            testing_eventually(move || log.lock().unwrap().len() >= count)
        };
        seen(4).await;
        let mut noted = log.lock().unwrap().clone();
        noted.sort();
        assert_eq!(noted, ["a ui-thread 1", "b ui-thread 1", "deep ui-thread 1", "plain ui-thread"]);
        tree.restart_child("/t/ui/a").await.unwrap();
        tree.add_child("/t/ui/in", local("added", &log)).await.unwrap();
        seen(6).await;
        // The runtime is a new one after a restart of its supervisor.
        tree.restart_child("/t/ui").await.unwrap();
        seen(10).await;
        assert!(tree.stop().await.is_clean());
    });
}

async fn testing_eventually(condition: impl Fn() -> bool) {
    testing::eventually("the children have noted their threads", condition).await;
}

#[test]
fn a_child_that_is_not_send_fails_panics_and_is_killed_like_a_task() {
    runtime().block_on(async {
        let body = |ctx: Ctx| async move {
            let held = Rc::new(());
            match ctx.attempt().0 {
                1 => return Err("one".to_owned()),
                2 => panic!("meant by the test"),
                _ => std::future::pending::<()>().await,
            }
            drop(held);
            Ok(())
        };
        let child = Child::local("a", body).backoff(None).stop_within(Duration::from_millis(20));
        let tree = Supervisor::new("t").child(one_thread([child])).start().await.unwrap();
        tree.wait_for("/t/ui/a", |view| view.attempt.0 == 3).await.unwrap();
        let last = tree.snapshot().get("/t/ui/a").unwrap().last_exit.clone().unwrap();
        assert!(last.to_string().starts_with("panicked: meant by the test"), "{last}");
        let report = tree.stop().await;
        let stages: Vec<&str> = report.forced().map(|entry| entry.stage.as_str()).collect();
        assert_eq!(stages, ["killed"]);
    });
}

#[test]
fn a_child_that_is_not_send_without_a_runtime_of_one_thread_above_it_is_refused_with_advice() {
    paused(async {
        let log = Log::default();
        let several = || DedicatedRuntime::new("several", 1);
        for tree in [
            Supervisor::new("t").child(local("a", &log)),
            Supervisor::new("t").dedicated_runtime(several()).child(local("a", &log)),
            Supervisor::new("t").child(
                one_thread([])
                    .child(Supervisor::new("in").dedicated_runtime(several()).child(local("a", &log))),
            ),
        ] {
            let refused = tree.begin().unwrap_err().to_string();
            assert!(refused.contains("/a") && refused.contains("DedicatedRuntime::one_thread"), "{refused}");
        }
    });
    runtime().block_on(async {
        let log = Log::default();
        let tree = Supervisor::new("t").child(one_thread([])).start().await.unwrap();
        let refused = tree.begin_add_child("/t", local("a", &log)).unwrap_err();
        assert!(matches!(refused.refusal(), Refusal::Invalid(_)), "{refused}");
        // The child comes back, and can run where it is allowed.
        tree.add_child("/t/ui", refused.into_value().unwrap()).await.unwrap();
        tree.add_child("/t", one_thread([local("b", &log)]).restart(Restart::Temporary)).await.unwrap_err();
        tree.stop().await;
    });
}

#[test]
fn what_a_child_that_is_not_send_holds_is_dropped_on_its_thread_before_the_stop_ends() {
    struct Tells(Rc<()>, Log);
    impl Drop for Tells {
        fn drop(&mut self) {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            self.1.lock().unwrap().push(format!("{thread} {}", Rc::strong_count(&self.0)));
        }
    }
    runtime().block_on(async {
        let log = Log::default();
        let theirs = Arc::clone(&log);
        let child = Child::local("a", move |ctx: Ctx| {
            let log = Arc::clone(&theirs);
            async move {
                let held = Tells(Rc::new(()), Arc::clone(&log));
                let helper = Tells(Rc::clone(&held.0), log);
                ctx.ready();
                // Nothing awaits this task, and it never ends.
                drop(tokio::task::spawn_local(async move {
                    let _helper = helper;
                    std::future::pending::<()>().await;
                }));
                std::future::pending::<()>().await;
                drop(held);
            }
        });
        let tree = Supervisor::new("t")
            .child(one_thread([child.reports_ready().stop_within(Duration::from_millis(20))]))
            .start()
            .await
            .unwrap();
        tree.stop().await;
        let told = log.lock().unwrap().clone();
        assert_eq!(told, ["ui-thread 2", "ui-thread 1"]);
    });
}
